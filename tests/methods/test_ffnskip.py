"""FFN-SkipLLM against Algorithm 1 written slowly."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from exactness import assert_equal_up_to_near_ties
from methods import ffnskip
from models.numerics import cosine
from models.stack import Stack
from slow_decoding import ffn_skip_llm
from tiny import (
    DISTINCT,
    NAMES,
    PROMPTS,
    by_family,
    decode,
    decode_each,
    method_of,
    staggered_eos,
    tiny_model,
    tiny_stack,
)

NEW, DEPTH = 14, 6


@dataclass(frozen=True)
class Setting:
    """The method's parameters, and the same thing said to the slow algorithm."""

    params: dict[str, Any]
    cold: tuple[int, int] = (1, 6)
    warmup: int = 0


PLAIN = {"warmup_tokens": 0, "cold_start": 1, "cold_end": 6}
SETTINGS = {
    "span-all": Setting({**PLAIN}),
    "span-1": Setting({**PLAIN, "skip_span": 1}),
    "span-2": Setting({**PLAIN, "skip_span": 2}),
    "raw": Setting({**PLAIN, "similarity": "raw"}),
    "warmup-3": Setting({**PLAIN, "warmup_tokens": 3}, warmup=3),
    # auto: 8 % of 14 tokens, rounded up.
    "warmup-auto": Setting({**PLAIN, "warmup_tokens": "auto"}, warmup=2),
    "cold-float": Setting({**PLAIN, "cold_start": 0.34, "cold_end": 0.84, "skip_span": 1}, cold=(2, 5)),
    "cold-default": Setting({"warmup_tokens": 0}, cold=(1, 5)),
    "cold-none": Setting({**PLAIN, "cold_start": 0, "cold_end": 1.0}, cold=(0, 6)),
}


def slow(stack, setting, threshold, prompts=PROMPTS, new=NEW, **more):
    return ffn_skip_llm(
        stack.model,
        prompts,
        new=new,
        threshold=threshold,
        skip_span=setting.params.get("skip_span"),
        similarity=setting.params.get("similarity", "residual"),
        warmup=setting.warmup,
        cold=setting.cold,
        **more,
    )


def thresholds_of(stack, setting, shares, prompts=PROMPTS, new=NEW):
    """Between the similarities that the full model shows on one prompt, at these quantiles."""
    seen = sorted(set(slow(stack, setting, 2.0, prompts[:1], new)[0].similarities))
    places = [int(share * (len(seen) - 1)) for share in shares]
    return [(seen[place] + seen[place + 1]) / 2 for place in places]


def assert_same(cases):
    """Tokens by the exactness rule; work too, unless a near tie decided some of it."""
    assert_equal_up_to_near_ties(
        [
            (label, got.outputs[row], one.tokens, one.near)
            for label, got, wanted in cases
            for row, one in wanted
        ]
    )
    for label, got, wanted in cases:
        for row, one in wanted:
            if not any(one.near):
                assert got.ffn_runs[row] == one.ffn_runs, label
                assert got.skipped_steps[row] == one.skipped_steps, label
            if got.outputs[row] == one.tokens:
                assert got.attention_runs[row] == one.attention_runs, label


def skipped(answers):
    """FFNs not run, of all rows."""
    return sum(sum(one.attention_runs) - sum(one.ffn_runs) for one in answers)


def compare(stack, setting, prompts=PROMPTS, new=NEW, shares=(0.4, 0.8)):
    """Engine and slow algorithm at several thresholds, each row alone."""
    cases = []
    for threshold in thresholds_of(stack, setting, shares, prompts, new):
        wanted = slow(stack, setting, threshold, prompts, new)
        assert skipped(wanted) > 0, "this threshold has to skip something"
        got = decode_each(
            method_of("ffnskip", stack, threshold=threshold, **setting.params), prompts, new=new
        )
        cases.append((f"{stack.config.model_type} {setting} {threshold}", got, list(enumerate(wanted))))
    assert_same(cases)


CASES = [
    *(("llama", setting) for setting in SETTINGS),
    *(
        pytest.param(name, setting, marks=pytest.mark.slow)
        for name in DISTINCT[1:]
        for setting in ("span-all", "raw", "warmup-3")
    ),
    *((name, "span-1") for name in NAMES if name != "llama"),
]


@pytest.mark.parametrize(("name", "setting"), CASES)
def test_equals_the_slow_algorithm(name, setting):
    some = (PROMPTS[:3], NEW, (0.4, 0.8)) if name == "llama" else (PROMPTS[:2], NEW, (0.6,))
    compare(tiny_stack(name, layers=DEPTH), SETTINGS[setting], *some)


@pytest.mark.parametrize(("name", "policy"), by_family([("gather",), ("all",)], first="llama"))
def test_a_batch_whose_rows_end_at_different_steps(name, policy):
    """gather: each row as if it were alone. all: an FFN is skipped only when every row would skip it."""
    stack, setting = tiny_stack(name, layers=DEPTH), SETTINGS["span-2"]
    cases = []
    for threshold in thresholds_of(stack, setting, (0.2, 0.5)):
        unanimous = policy == "all"
        eos = staggered_eos([one.tokens for one in slow(stack, setting, threshold, unanimous=unanimous)])
        wanted = slow(stack, setting, threshold, eos=eos, unanimous=unanimous)
        method = method_of("ffnskip", stack, threshold=threshold, batch_policy=policy, **setting.params)
        got = decode(method, new=NEW, eos=eos)
        assert skipped(wanted) > 0 and len({len(one.tokens) for one in wanted}) > 1
        cases.append((f"{name} {policy} {threshold}", got, list(enumerate(wanted))))
        if policy == "gather":
            cases.append(("each alone", decode_each(method, new=NEW, eos=eos), list(enumerate(wanted))))
    assert_same(cases)


def test_unanimity_skips_less_than_each_row_alone():
    stack, setting = tiny_stack("llama", layers=DEPTH), SETTINGS["span-all"]
    (threshold,) = thresholds_of(stack, setting, (0.4,))
    each, every = (
        decode(method_of("ffnskip", stack, threshold=threshold, batch_policy=policy, **setting.params))
        for policy in ("gather", "all")
    )
    assert sum(map(sum, each.ffn_runs)) < sum(map(sum, every.ffn_runs)) < sum(map(sum, every.attention_runs))


def test_the_two_similarities_differ():
    """cos(FFN's input, its bare output) is not cos(residual before, residual after)."""
    stack, similar = tiny_stack("llama", layers=DEPTH), {}
    for name in ("span-all", "raw"):
        similar[name] = slow(stack, SETTINGS[name], 2.0)[0].similarities
    assert max(similar["raw"]) < 0.5 < min(similar["span-all"])
    (threshold,) = thresholds_of(stack, SETTINGS["raw"], (0.9,))
    residual, raw = (
        decode(method_of("ffnskip", stack, threshold=threshold, similarity=similarity, **PLAIN))
        for similarity in ("residual", "raw")
    )
    assert residual.ffn_runs != raw.ffn_runs


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("similarity", ["residual", "raw"])
def test_bfloat16_compares_what_the_similarity_names(monkeypatch, similarity, rows):
    """raw reads the FFN's bare output, before the residual add rounds most of it away."""
    stack = Stack(tiny_model("llama", torch.bfloat16, DEPTH), "fused")
    outputs, compared = [], []

    def recording(ffn):
        return lambda state: outputs.append(ffn(state)) or outputs[-1]

    for layer in stack.layers[1:]:
        monkeypatch.setattr(layer, "_fed", recording(layer._fed))
    monkeypatch.setattr(ffnskip, "cosine", lambda *pair: compared.append(pair) or cosine(*pair))
    method = method_of("ffnskip", stack, threshold=0.7, similarity=similarity, skip_span=1, **PLAIN)
    decode(method, PROMPTS[:rows])
    outputs = [output for output in outputs if output.shape[1] == 1]
    assert len(outputs) == len(compared) > 0
    for output, (before, after) in zip(outputs, compared, strict=True):
        assert torch.equal(after, output if similarity == "raw" else before + output)


@pytest.mark.slow
def test_smollm_equals_the_slow_algorithm(smollm, smollm_prompts):
    compare(
        smollm.stack,
        Setting({"skip_span": 2, "warmup_tokens": 3}, (4, 27), 3),
        smollm_prompts[:2],
        12,
        (0.6,),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "warmup"),
    [
        ({"warmup_tokens": 0}, 0),
        # auto: 8 % of 24 tokens, rounded up.
        ({"skip_span": 1}, 2),
        ({"skip_span": 2, "warmup_tokens": 3}, 3),
        ({"skip_span": 1, "similarity": "raw", "warmup_tokens": 0}, 0),
        ({**PLAIN, "skip_span": 1, "cold_end": 0.5}, 0),
    ],
    ids=["span-all", "span-1-auto", "span-2-warmup", "raw", "cold"],
)
def test_equals_the_slow_algorithm_on_real_models(real, params, warmup):
    depth = len(real.stack.layers)
    cold = (1, depth // 2) if "cold_end" in params else (round(0.15 * depth), round(0.9 * depth))
    compare(real.stack, Setting(params, cold, warmup), real.prompts, 24, (0.5, 0.8))
