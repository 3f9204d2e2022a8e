"""What every method has to keep, as a table: a new method adds its row, `test_contract.py` does the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Params = dict[str, Any]
NAN = float("nan")


@dataclass(frozen=True)
class Quantile:
    """A threshold that this share of what a method looks at, in the full model, lies below."""

    share: float


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes
    ----------
    off : sequence of parameters
        With which it is the full model, bit for bit.
    on : sequence of parameters
        With which it skips, or drafts, on a random model of six layers; a value may be a `Quantile`.
    refused : sequence of (key, value)
        Values out of range, refused at construction in one line that names the key and the value.
    unlike_full : bool
        What it says with `on` differs from what the full model says.
    """

    off: Sequence[Params] = ()
    on: Sequence[Params] = ()
    refused: Sequence[tuple[str, Any]] = ()
    unlike_full: bool = True


_TARGET = [("target_skip", -0.1), ("target_skip", 1.0), ("target_skip", NAN), ("target_unit", "layers")]
_ELIGIBLE = [
    *_TARGET,
    *(("warmup_tokens", value) for value in (-1, "some", NAN)),
    *(("cold_start", value) for value in (-1, -0.1, 1.5, NAN)),
    *(("cold_end", value) for value in (-2, 1.01, NAN)),
]
# Five of six FFNs are eligible.
_COLD = {"cold_start": 1, "cold_end": 6, "warmup_tokens": 2}
_EXIT = {"threshold": Quantile(0.6), "confidence": "saturation", "decay": "none", "min_exit_layer": 1}

TABLE: dict[str, Row] = {
    "full": Row(off=[{}], unlike_full=False),
    "hf_generate": Row(refused=[("cache", "quick")], unlike_full=False),
    "ffnskip": Row(
        off=[{"threshold": None, "target_skip": None}, {"threshold": -1, "warmup_tokens": 1000}],
        on=[{**_COLD, "threshold": Quantile(0.6)}, {**_COLD, "threshold": Quantile(0.4), "skip_span": 1}],
        refused=[
            *_ELIGIBLE,
            *(("threshold", NAN), ("threshold", -3), ("threshold", 1.5), ("skip_span", 0), ("skip_span", -3)),
            *(("similarity", "cosine"), ("batch_policy", "any")),
        ],
    ),
    "random_ffn": Row(
        off=[{"share": None, "target_skip": None}, {"share": 0}, {"share": 0.0}],
        on=[{**_COLD, "share": 0.5}],
        refused=[*_ELIGIBLE, ("share", -0.01), ("share", 1.01), ("share", NAN)],
    ),
    "static_ffn": Row(
        off=[{"count": None, "target_skip": None}, {"count": 0}],
        on=[{**_COLD, "count": 2}],
        refused=[*_ELIGIBLE, ("count", -1)],
    ),
    "early_exit": Row(
        off=[{"threshold": None, "target_skip": None}, {"threshold": 1.01, "decay": "free"}],
        on=[
            *({**_EXIT, "kv_policy": policy} for policy in ("propagate", "copy", "hole", "defer")),
            {**_EXIT, "confidence": "softmax"},
        ],
        refused=[
            *_TARGET,
            *(("confidence", "sure"), ("decay", "slow"), ("kv_policy", "none")),
            *(("check_every", 0), ("min_exit_layer", -1), ("tau", -0.5)),
        ],
    ),
    "skipdecode": Row(
        off=[{"min_layers": 6, "max_layers": 6}],
        on=[{"min_layers": 3}],
        refused=[*_TARGET, ("min_layers", 0), ("max_layers", 0), ("preset", "opt-13b")],
    ),
    "unified": Row(
        off=[{"target_speedup": 1.0}],
        on=[{"target_speedup": 2.0}],
        refused=[*_TARGET, ("target_speedup", 0.5), ("rule", "even")],
    ),
    "random_layer": Row(
        off=[{"share": 0.0}, {"share": None, "target_skip": None}],
        on=[{"share": 0.5}],
        refused=[*_TARGET, ("share", 1.5), ("share", NAN)],
    ),
    "drop_last": Row(
        off=[{"layers": 0}, {"layers": None, "target_skip": None}],
        on=[{"layers": 2}],
        refused=[*_TARGET, ("layers", -1)],
    ),
    "plan": Row(
        off=[{}, {"skip_layers": []}],
        on=[
            {"skip_layers": [2, 4]},
            {"skip_attention": "1-2"},
            {"skip_ffn": ["0", "3-4"], "skip_layers": 5},
        ],
        refused=[
            *(("skip_layers", value) for value in (-1, [-1], "7-", "9-7", "a", True, 1.5)),
            *(("skip_attention", {}), ("skip_ffn", [[1]])),
        ],
    ),
    "shortgpt": Row(
        off=[{"layers": 0}, {"layers": None, "target_skip": None}],
        on=[{"layers": 2}],
        refused=[*_TARGET, ("layers", -1)],
    ),
    "swift": Row(
        # Searches from the fifth token on, and drafts further than a random model would be sure of.
        on=[{"context_window": 4, "draft_threshold": 0.0, "max_draft": 5, "bayes_interval": 7}],
        refused=[
            *(("search", "maybe"), ("skip_ratio", 1.5), ("skip_ratio", NAN), ("context_window", 0)),
            *(("max_draft", 0), ("bayes_interval", -1), ("widths", [3, 5]), ("widths", [3, 5, 8, 0])),
        ],
        unlike_full=False,
    ),
    "prompt_lookup": Row(
        on=[{}, {"size": "cost"}],
        refused=[("max_ngram", 0), ("max_draft", 0)],
        unlike_full=False,
    ),
}
