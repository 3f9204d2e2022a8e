"""SWIFT: the model drafts for itself with some sub-layers left out, and searches on the fly which ones.

Xia et al., "SWIFT: On-the-Fly Self-Speculative Decoding for LLM Inference Acceleration", ICLR 2025, arXiv
2410.06916. Lossless.
"""

import time
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from methods.shared.draft import Draft
from methods.shared.drafter import Drafter
from methods.shared.drafting import MOST_DRAFTED, DraftingParams
from methods.shared.errors import MethodError
from methods.shared.ranges import at_least, each_at_least, one_of, within
from methods.shared.self_draft import GREEDY_WIDTHS, SAMPLED_WIDTHS, self_draft
from methods.shared.skip_search import SkipSearch, gaussian_process, odd_layers, plan_without
from models.batch import Batch
from models.counters import ATTENTION, FFN
from models.stack import Stack


@dataclass(frozen=True)
class SwiftParams(DraftingParams):
    """Parameters of SWIFT.

    Attributes
    ----------
    search : str
        on; off: the odd layers are skipped throughout; frozen: `skipped` throughout.
    skip_ratio : float
        Share of the searched sub-layers, those of all layers but the first and last, that a set skips.
    skipped : list of int or None
        For `frozen`; see `methods.shared.skip_search.plan_without`.
    bayes_interval, max_score, max_tolerance, max_iterations
        See `methods.shared.skip_search.SkipSearch`.
    context_window : int
        Newest tokens on which a set is scored: the share that it predicts like the full model.
    max_draft : int
        Tokens drafted at most.
    draft_threshold : float
        A draft ends with the first token whose probability is lower.
    widths : list of 4 ints or None
        Tokens proposed at each depth, by the draft's probability: > .95, > .8, > .5, else. None: 3, 5, 8, 10,
        and 1, 3, 5, 10 when sampling. All 1: a chain.
    max_tree_nodes : int or None
        Tokens verified at once, at most. None: no limit.
    """

    search: str = "on"
    skip_ratio: float = 0.45
    skipped: list[int] | None = None
    bayes_interval: int = 25
    max_score: float = 0.93
    max_tolerance: int = 300
    max_iterations: int = 1000
    context_window: int = 32
    max_draft: int = 25
    draft_threshold: float = 0.8
    widths: list[int] | None = None
    max_tree_nodes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, "search", "on", "off", "frozen")
        within(self, 0, 1, "skip_ratio", "draft_threshold", "max_score")
        at_least(self, 1, "context_window", "max_draft", most=MOST_DRAFTED)
        at_least(self, 1, "max_iterations", "max_tree_nodes")
        at_least(self, 0, "bayes_interval", "max_tolerance")
        if (self.skipped is not None) != (self.search == "frozen"):
            raise MethodError(f"search={self.search}, skipped={self.skipped}: frozen takes a set alone")
        each_at_least(self, 0, "skipped")
        each_at_least(self, 1, "widths", most=64)
        if self.widths is not None and len(self.widths) != 4:
            raise MethodError(f"widths={self.widths} must be four numbers")


class Swift(Drafter):
    """Draft with the chosen set, verify, score one more set on what was accepted last."""

    drawn = "#CC79A7 h"
    Params = SwiftParams
    params: SwiftParams

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        params, depth = self.params, len(stack.layers)
        if depth < 3:
            raise MethodError(f"swift needs at least 3 layers; this model has {depth}")
        variables = 2 * (depth - 2)
        chosen = odd_layers(depth) if params.skipped is None else sorted(params.skipped)
        if len(set(chosen) & set(range(variables))) < len(chosen):
            raise MethodError(f"skipped={chosen} must be different numbers from 0 to {variables - 1}")
        count, searching = int(variables * params.skip_ratio), params.search == "on"
        if searching and not count:
            raise MethodError(f"skip_ratio={params.skip_ratio} leaves out none of {variables} sub-layers")
        if searching and params.bayes_interval:
            gaussian_process()
        limits = (params.bayes_interval, params.max_score, params.max_tolerance, params.max_iterations)
        self.search = SkipSearch(variables, count, chosen, *limits, stopped=not searching)
        self.scratch = max(params.context_window, params.max_draft * max(params.widths or GREEDY_WIDTHS))

    def draft(self, batch: Batch, limit: int) -> Draft:
        window = self.params.context_window
        if not self.search.stopped and len(batch.outputs[0]) > window + 1:
            began = time.perf_counter()
            self.score_one(batch, window)
            self.search_s += time.perf_counter() - began
        params = self.params
        return self_draft(
            batch,
            plan_without(self.search.chosen, len(self.stack.layers)),
            min(params.max_draft, limit),
            threshold=params.draft_threshold,
            widths=params.widths or (GREEDY_WIDTHS if batch.sampler.greedy else SAMPLED_WIDTHS),
            max_nodes=params.max_tree_nodes,
            size=self.size,
        )

    def score_one(self, batch: Batch, window: int) -> None:
        """Score one more set by matchness: the share of the newest tokens that it predicts."""
        skipped, point = self.search.propose(batch.noise[0])
        ids, step = batch.reread_step(window)
        with self.stack.counters.purpose("searched"):
            state = self.stack.run(plan_without(skipped, len(self.stack.layers)), ids, step)
            predicted: Tensor = self.stack.head(state)[0].argmax(-1)
        wanted = batch.outputs[0][-window:]
        matched = sum(one == other for one, other in zip(predicted.tolist(), wanted, strict=True))
        self.search.report(skipped, point, matched / window)

    def columns(self, row: int) -> dict[str, Any]:
        tally = self.stack.counters.tally("drafted")
        runs = tally.runs[:, :, row].sum(-1).tolist()
        return {
            **super().columns(row),
            "search_s": self.search_s,
            "draft_attention_run": runs[ATTENTION],
            "draft_ffn_run": runs[FFN],
            # Each pass of the draft ends in the head.
            "draft_total": round(tally.head) * 2 * len(self.stack.layers),
        }

    def state(self) -> dict[str, Any]:
        return self.search.state()

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.search.load_state(state)
