"""The controls of FFN-SkipLLM: random and fixed sets of FFNs."""

import pytest
import torch

from exactness import assert_equal_up_to_near_ties
from methods import random_ffn as module
from methods.shared.draws import draw
from methods.shared.errors import MethodError
from models.sampling import Sampler, generator
from slow_layers import planned
from slow_sequence import cosine64, slow_sequence
from tiny import (
    DISTINCT,
    PROMPTS,
    batch_of,
    by_family,
    decode,
    decode_each,
    method_of,
    prompts_of,
    tiny_stack,
)

DEPTH, NEW = 6, 14
# Five of six FFNs are eligible.
ELIGIBLE = {"cold_start": 1, "cold_end": 6, "warmup_tokens": 2}
CALIBRATION = prompts_of((9, 5, 12, 7), seed=1)


def random_ffn(name, share, **params):
    return method_of("random_ffn", tiny_stack(name, layers=DEPTH), share=share, **{**ELIGIBLE, **params})


def static_ffn(name, count, **params):
    method = method_of("static_ffn", tiny_stack(name, layers=DEPTH), count=count, **{**ELIGIBLE, **params})
    calibrate(method)
    return method


def calibrate(method):
    """Two prompts at a time, as the runner does it: the next batch is made when the last one is done."""
    method.calibrate(batch_of(method.stack, CALIBRATION[i : i + 2], new=8) for i in (0, 2))


def skipped_by_layer(answer, row):
    return [
        attention - ffn
        for attention, ffn in zip(answer.attention_runs[row], answer.ffn_runs[row], strict=True)
    ]


@pytest.mark.parametrize(("share", "counts"), [(0.4, {2}), (0.5, {2, 3}), (0.05, {0, 1}), (1.0, {5})])
def test_random_skips_an_exact_count_of_eligible_ffns(monkeypatch, share, counts):
    """Between warm-up and end, every token skips floor or ceiling of share x eligible; the mean is exact."""
    method, drawn = random_ffn("llama", share), []
    draw = module.draw
    monkeypatch.setattr(module, "draw", lambda *arguments: drawn.append(draw(*arguments)) or drawn[-1])
    answer = decode(method, PROMPTS * 3, new=90, keys=[f"row {row}" for row in range(12)])
    assert len(drawn) == 12 * (89 - 2)
    assert {len(one) for one in drawn} == counts
    assert sum(map(len, drawn)) / len(drawn) == pytest.approx(5 * share, abs=0.06)
    assert set().union(*drawn) == set(range(1, 6))
    for row in range(12):
        mine = [sum(layer in one for one in drawn[row::12]) for layer in range(DEPTH)]
        assert skipped_by_layer(answer, row) == mine
        assert answer.skipped_steps[row] == sum(map(bool, drawn[row::12]))


def test_random_draws_belong_to_the_row():
    """The same sets whatever stands beside a row, or is sampled; other sets in another row."""
    method = random_ffn("llama", 0.4)
    prompts = [PROMPTS[0]] * 3
    together = decode(method, prompts, new=NEW, keys=["a", "b", "c"])
    turned = decode(method, prompts[1:], new=NEW, keys=["c", "a"])
    assert turned.ffn_runs == [together.ffn_runs[2], together.ffn_runs[0]]
    assert together.ffn_runs[0] != together.ffn_runs[1] != together.ffn_runs[2]

    greedy, sampled = (decode(method, new=NEW, sampler=Sampler(heat)) for heat in (0.0, 1.5))
    assert sampled.outputs != greedy.outputs and sampled.ffn_runs == greedy.ffn_runs


def mean_similarities(stack):
    """Mean cosine before and after every FFN over the full model's decode steps, in plain torch."""
    seen = [[] for _ in range(DEPTH)]
    for prompt in CALIBRATION:
        sequence = slow_sequence(stack.model)
        token, _ = sequence.next_token(sequence.read(prompt))
        for position in range(len(prompt), len(prompt) + 7):
            state = sequence.embed([token], [position])
            for layer in range(DEPTH):
                before = sequence.attention(layer, state, [position])
                state = before + sequence.ffn_output(layer, before, state)
                seen[layer].append(cosine64(before, state))
            token, _ = sequence.next_token(state)
    return [sum(values) / len(values) for values in seen]


@pytest.mark.parametrize("name", DISTINCT)
@torch.inference_mode()
def test_static_skips_the_most_similar(name):
    wanted = mean_similarities(tiny_stack(name, layers=DEPTH))
    method = static_ffn(name, 2)
    assert method.similarity == pytest.approx(wanted[1:6], abs=1e-5)
    most = sorted(range(1, 6), key=lambda layer: -wanted[layer])[:2]
    answer = decode(method, new=NEW)
    for row in range(len(PROMPTS)):
        after_warm_up = NEW - 1 - 2
        assert skipped_by_layer(answer, row) == [
            after_warm_up if layer in most else 0 for layer in range(DEPTH)
        ]
        assert answer.skipped_steps[row] == after_warm_up


def compare_random_ffn(stack, prompts, new, **params):
    method, wanted = method_of("random_ffn", stack, **params), []
    for prompt in prompts:
        noise, skipped = generator(0, str(prompt), 0, purpose="method"), {}
        warmup = params["warmup_tokens"]
        for step in range(warmup, new):
            skipped[step] = draw(method.eligible, params["share"], noise)
        everything = set(range(len(stack.layers)))
        wanted.append(
            planned(
                stack.model,
                prompt,
                new,
                lambda step, layers=everything: layers,
                without_ffn=lambda step, skipped=skipped: skipped.get(step, set()),
            )
        )
    assert_same(decode_each(method, prompts, new=new), wanted)


def compare_static_ffn(method, prompts, new, warmup):
    everything = set(range(len(method.stack.layers)))
    similar = dict(zip(method.eligible, method.similarity, strict=True))
    most = set(sorted(similar, key=similar.__getitem__)[-method.params.count :])
    wanted = [
        planned(
            method.stack.model,
            prompt,
            new,
            lambda step: everything,
            without_ffn=lambda step: most if step >= warmup else set(),
        )
        for prompt in prompts
    ]
    assert_same(decode_each(method, prompts, new=new), wanted)


def assert_same(got, wanted):
    assert_equal_up_to_near_ties(
        [(f"row {row}", got.outputs[row], one.tokens, one.near) for row, one in enumerate(wanted)]
    )
    for row, one in enumerate(wanted):
        # What these two skip does not depend on what they compute.
        assert (got.attention_runs[row], got.ffn_runs[row]) == (one.runs, one.ffn_runs)
    assert sum(map(sum, got.ffn_runs)) < sum(map(sum, got.attention_runs))


@pytest.mark.parametrize("name", by_family([()]))
def test_both_controls_equal_their_definitions(name):
    stack = tiny_stack(name, layers=DEPTH)
    compare_random_ffn(stack, PROMPTS, NEW, share=0.5, **ELIGIBLE)
    compare_static_ffn(static_ffn(name, 2), PROMPTS, NEW, ELIGIBLE["warmup_tokens"])


@pytest.mark.slow
def test_both_controls_equal_their_definitions_on_real_models(real):
    compare_random_ffn(real.stack, real.prompts, 24, share=0.3, warmup_tokens=2)
    static = method_of("static_ffn", real.stack, count=6, warmup_tokens=2)
    static.calibrate(batch_of(real.stack, [prompt], new=6) for prompt in real.prompts[:2])
    compare_static_ffn(static, real.prompts, 24, 2)


def test_static_refuses_to_choose_from_nothing():
    """Answers of one token leave no decode step to measure: any set would be arbitrary."""
    method = method_of("static_ffn", tiny_stack("llama", layers=DEPTH), count=3, **ELIGIBLE)
    with pytest.raises(MethodError, match="no decode step"):
        method.calibrate([batch_of(method.stack, CALIBRATION, new=1)])
