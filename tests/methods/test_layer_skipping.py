"""Early exit, SkipDecode, Unified and the layer controls against their definitions written slowly."""

import math
from itertools import pairwise

import pytest
import torch

from exactness import assert_equal_up_to_near_ties, assert_rounded
from methods.shared.confidence import decayed
from methods.shared.draws import draw
from methods.shared.errors import MethodError
from methods.skipdecode import PRESETS
from methods.unified import balanced, official
from models.sampling import generator
from slow_layers import early_exit, planned
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


def stack_of(name):
    return tiny_stack(name, layers=DEPTH)


def assert_same(got, wanted, label):
    """Tokens by the exactness rule; work too, where no near tie decided any of it."""
    assert_equal_up_to_near_ties(
        [(label, got.outputs[row], one.tokens, one.near) for row, one in enumerate(wanted)]
    )
    for row, one in enumerate(wanted):
        if not any(one.near):
            assert (got.attention_runs[row], got.ffn_runs[row]) == (one.runs, one.ffn_runs), label


CONFIDENCES, POLICIES = ("softmax", "saturation"), ("propagate", "copy", "hole", "defer")
DECAYS = ("none", "calm", "free")


def compare_early_exit(stack, prompts, new, first, confidence, kv_policy, shares, decays):
    """Engine and slow algorithm at thresholds between two confidences that really occur: no decision is a
    matter of rounding."""
    depth = len(stack.layers)
    how = {"exits": range(first, depth - 1), "confidence": confidence, "kv_policy": kv_policy}
    seen = sorted(early_exit(stack.model, prompts[0], new, needed=lambda step: 2.0, **how).confidences)
    for share in shares:
        place = int(share * (len(seen) - 1))
        threshold = sum(seen[place : place + 2]) / 2
        for decay in decays:

            def needed(step, threshold=threshold, decay=decay):
                return decayed(threshold, decay, 4.0, step, new)

            wanted = [early_exit(stack.model, prompt, new, needed=needed, **how) for prompt in prompts]
            params = {"threshold": threshold, "confidence": confidence, "kv_policy": kv_policy}
            method = method_of("early_exit", stack, min_exit_layer=first, decay=decay, **params)
            got = decode_each(method, prompts, new=new)
            assert_same(got, wanted, f"{stack.config.model_type} {params} {decay}")
            exits = [layer for want in wanted for layer in want.exits]
            assert decay != "none" or min(exits) < depth - 1
            if not any(wanted[-1].near):
                left = sum(layer < depth - 1 for layer in wanted[-1].exits)
                assert method.columns(0) == {"exit_layers": wanted[-1].exits, "skipped_steps": left}


@pytest.mark.parametrize(
    ("name", "kv_policy", "confidence"),
    by_family(
        ((kv_policy, confidence) for kv_policy in POLICIES for confidence in CONFIDENCES), first="llama"
    ),
)
def test_early_exit_equals_its_definition(name, kv_policy, confidence):
    stack = stack_of(name)
    if kv_policy == "copy" and not stack.uniform_kv:
        pytest.skip("layers turn their keys differently: refused, by a test below")
    # Decays know nothing of a family.
    shares, decays = ((0.5, 0.8), DECAYS) if name == "llama" else ((0.7,), ("none",))
    prompts = PROMPTS[:3] if name == "llama" else PROMPTS[:2]
    compare_early_exit(stack, prompts, NEW, 2, confidence, kv_policy, shares, decays)


@pytest.mark.slow
def test_smollm_early_exit_equals_its_definition(smollm, smollm_prompts):
    compare_early_exit(smollm.stack, smollm_prompts[:2], 12, 15, "saturation", "defer", (0.8,), ("calm",))


@pytest.mark.slow
@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("kv_policy", POLICIES)
def test_early_exit_equals_its_definition_on_real_models(real, kv_policy, confidence):
    if kv_policy == "copy" and not real.stack.uniform_kv:
        pytest.skip("layers turn their keys differently")
    half = len(real.stack.layers) // 2
    compare_early_exit(real.stack, real.prompts, 24, half, confidence, kv_policy, (0.8,), ("calm",))


def test_check_every_tests_every_so_many_layers():
    stack = stack_of("llama")
    method = method_of("early_exit", stack, threshold=0.0, decay="none", min_exit_layer=1, check_every=3)
    decode(method, PROMPTS[:1], new=6)
    assert method.exits == range(1, 5, 3)
    assert method.columns(0)["exit_layers"] == [1] * 5


def test_the_decaying_thresholds_at_both_ends():
    """CALM begins at .9 lambda + .1, clipped to 1, FREE at lambda; both end near .9 lambda."""
    assert decayed(0.8, "calm", 4.0, 0, 100) == pytest.approx(0.82)
    assert decayed(1.0, "calm", 4.0, 0, 100) == 1.0
    assert decayed(0.8, "calm", 4.0, 100, 100) == pytest.approx(0.72 + 0.1 * math.exp(-4))
    assert decayed(0.8, "free", 4.0, 0, 100) == pytest.approx(0.8)
    assert decayed(0.8, "free", 4.0, 100, 100) == pytest.approx(0.72 + 0.08 * math.exp(-4))
    assert decayed(0.8, "none", 4.0, 50, 100) == 0.8


def test_what_each_policy_leaves_in_the_cache():
    """propagate: W_K of the norm of the exit state; copy: the exit layer's tensors; hole: nothing, noted."""
    for name, policy in ((name, policy) for name in DISTINCT for policy in ("propagate", "copy", "hole")):
        stack, slot = stack_of(name), len(PROMPTS[0])
        params = {"threshold": 0.0, "decay": "none", "min_exit_layer": 2, "kv_policy": policy}
        method = method_of("early_exit", stack, **params)
        batch = batch_of(stack, PROMPTS[:1])
        with torch.inference_mode():
            method.begin(batch)
            batch.accept(method.prefill(batch), fed=0)
            for key in stack.cache.keys:
                key[:, :, slot].zero_()
            ids, step = batch.decode_step()
            state = method.forward(ids, step)
            keys = [key[0, :, slot].clone() for key in stack.cache.keys]
            assert all(bool(key.any()) for key in keys[:3])
            for layer in stack.layers[3:]:
                if policy == "propagate":
                    layer.write_kv(state, step)
                    assert torch.equal(keys[layer.index], stack.cache.keys[layer.index][0, :, slot])
                elif policy == "copy":
                    assert torch.equal(keys[layer.index], keys[2])
                else:
                    assert not keys[layer.index].any()
                    assert not stack.cache.valid[layer.index, 0, slot]


@pytest.mark.parametrize("name", DISTINCT)
def test_defer_holds_the_full_models_keys_and_values_after_a_flush(name):
    """Every token leaves but the last, which takes all of them along: nothing is missing or inexact."""
    stack, given = stack_of(name), prompts_of((7,), seed=3)[0]
    caches = []
    for method in (
        method_of("early_exit", stack, threshold=0.0, decay="none", min_exit_layer=2, kv_policy="defer"),
        method_of("full", stack),
    ):
        batch = batch_of(stack, PROMPTS[:1])
        with torch.inference_mode():
            method.begin(batch)
            method.prefill(batch)
            batch.accept([[given[0]]], fed=0)
            for place, token in enumerate(given[1:], start=1):
                if place == len(given) - 1:
                    method.exits = range(0)
                method.forward(*batch.decode_step())
                batch.accept([[token]], fed=1)
                batch.step_index += 1
            end = batch.slot
            caches.append([block[0, :, :end].clone() for block in (*stack.cache.keys, *stack.cache.values)])
    for deferred, full in zip(*caches, strict=True):
        assert_rounded(deferred, full)


def skipdecode_sets(depth, most, least, horizon, warmup):
    def active(step):
        t = min(1.0, step / horizon)
        kept = round((1 - t) * most + t * least)
        return {*range(warmup), *range(depth - (kept - warmup), depth)}

    return active


PLANS = {
    "skipdecode": (
        {"max_layers": 5, "min_layers": 3, "horizon": 8},
        skipdecode_sets(DEPTH, 5, 3, 8, 1),
    ),
    "skipdecode-2": ({"min_layers": 4, "warmup_layers": 2}, skipdecode_sets(DEPTH, 6, 4, NEW, 2)),
    "unified": ({"target_speedup": 2.0}, lambda step: {0, 3, 5}),
    # 1 + floor((2k + 1) 4 / 4) for k < 2 are skipped.
    "unified-balanced": ({"target_speedup": 1.5}, lambda step: {0, 1, 3, 5}),
    "drop_last": ({"layers": 2}, lambda step: {0, 1, 2, 3}),
}


def compare_plan(stack, case, plan, prompts, new):
    params, active = plan
    got = decode_each(method_of(case.partition("-")[0], stack, **params), prompts, new=new)
    wanted = [planned(stack.model, prompt, new, active) for prompt in prompts]
    assert_same(got, wanted, f"{stack.config.model_type} {case}")


@pytest.mark.parametrize(("name", "case"), by_family(((case,) for case in PLANS), first="llama"))
def test_planned_methods_equal_their_definitions(name, case):
    compare_plan(stack_of(name), case, PLANS[case], PROMPTS, NEW)


def plans_of(depth, new):
    """The same for a model of an even depth."""
    left_out = depth - int(depth / 1.25)
    gaps = {1 + (2 * k + 1) * (depth - 2) // (2 * left_out) for k in range(left_out)}
    third = depth // 3
    return {
        "skipdecode": ({"min_layers": 2 * third}, skipdecode_sets(depth, depth, 2 * third, new, 1)),
        "skipdecode-2": (
            {"max_layers": depth - 2, "min_layers": third, "horizon": 10, "warmup_layers": 3},
            skipdecode_sets(depth, depth - 2, third, 10, 3),
        ),
        # Half kept: the first, the last, and even ones upwards.
        "unified": ({"target_speedup": 2}, lambda step: {*range(0, depth - 2, 2), depth - 1}),
        "unified-balanced": ({"target_speedup": 1.25}, lambda step: set(range(depth)) - gaps),
        "drop_last": ({"layers": 3}, lambda step: set(range(depth - 3))),
    }


@pytest.mark.slow
def test_smollm_plans_equal_their_definitions(smollm, smollm_prompts):
    compare_plan(smollm.stack, "skipdecode", plans_of(30, 12)["skipdecode"], smollm_prompts[:2], 12)


@pytest.mark.slow
@pytest.mark.parametrize("case", plans_of(30, 24))
def test_plans_equal_their_definitions_on_real_models(real, case):
    compare_plan(real.stack, case, plans_of(len(real.stack.layers), 24)[case], real.prompts, 24)


def compare_random_layer(stack, share, prompts, new):
    depth, wanted = len(stack.layers), []
    for prompt in prompts:
        noise = generator(0, str(prompt), 0, purpose="method")
        sets = [set(range(depth)) - draw(range(1, depth - 1), share, noise) for _ in range(new)]
        wanted.append(planned(stack.model, prompt, new, sets.__getitem__, propagate=True))
        # Rounded up or down, never further off.
        assert {int(share * (depth - 2)), int(share * (depth - 2)) + 1} >= {depth - len(one) for one in sets}
    got = decode_each(method_of("random_layer", stack, share=share), prompts, new=new)
    assert_same(got, wanted, stack.config.model_type)


@pytest.mark.parametrize("name", by_family([()]))
def test_random_layer_equals_its_definition(name):
    compare_random_layer(stack_of(name), 0.6, PROMPTS, NEW)


@pytest.mark.slow
def test_random_layer_equals_its_definition_on_real_models(real):
    compare_random_layer(real.stack, 0.21, real.prompts, 24)


@pytest.mark.slow
def test_shortgpt_equals_its_definition_on_real_models(real):
    method = method_of("shortgpt", real.stack, layers=4)
    method.calibrate(batch_of(real.stack, [prompt], new=6) for prompt in real.prompts[:2])
    kept = set(range(len(real.stack.layers))) - set(method.dropped)
    wanted = [planned(real.stack.model, prompt, 24, lambda step: kept) for prompt in real.prompts]
    assert_same(decode_each(method, real.prompts, new=24), wanted, "shortgpt")


# Liu et al. 2024, the released code's sets (its formula run for every depth).
GOLDEN = {
    (24, 2): [*range(0, 21, 2), 23],
    (24, 3): [*range(0, 19, 3), 23],
    (24, 5): [0, 8, 16, 23],
    (28, 4): [*range(0, 21, 4), 27],
    (30, 2): [*range(0, 27, 2), 29],
    (30, 4): [*range(0, 26, 5), 29],
    (30, 10): [0, 15, 29],
    (32, 2): [*range(0, 29, 2), 31],
    (32, 3): [*range(0, 25, 3), 31],
    (32, 4): [*range(0, 25, 4), 31],
    (32, 5): [0, 6, 12, 18, 24, 31],
    (32, 10): [0, 16, 31],
    (36, 5): [*range(0, 31, 6), 35],
    (40, 5): [*range(0, 31, 5), 39],
    (40, 10): [0, 13, 26, 39],
    (80, 2): [*range(0, 77, 2), 79],
    (80, 5): [*range(0, 71, 5), 79],
    (80, 10): [*range(0, 67, 11), 79],
}


@pytest.mark.parametrize(("case", "kept"), GOLDEN.items())
def test_unified_official_sets(case, kept):
    depth, speedup = case
    assert official(depth, depth // speedup) == kept


def test_unified_rules():
    """Below 2x the official rule drops one block; balanced spreads it; auto takes the better of both."""
    assert sorted(set(range(32)) - set(official(32, 25))) == list(range(24, 31))
    gaps = sorted(set(range(32)) - set(balanced(32, 25)))
    assert len(gaps) == 7
    assert min(b - a for a, b in pairwise(gaps)) >= 4
    assert all(0 in balanced(d, k) and d - 1 in balanced(d, k) for d in range(4, 41) for k in range(2, d))
    assert all(len(balanced(d, k)) == k for d in range(4, 41) for k in range(2, d))
    stack = stack_of("llama")
    assert method_of("unified", stack, target_speedup=1.2).kept == balanced(6, 5)
    assert method_of("unified", stack, target_speedup=2).kept == official(6, 3)
    with pytest.raises(MethodError, match="at least 2 must stay"):
        method_of("unified", stack, target_speedup=4.0)


def test_skipdecode_rounds_half_to_even_and_refuses_to_widen():
    stack = stack_of("llama")
    method = method_of("skipdecode", stack, max_layers=6, min_layers=3, horizon=6)
    method.begin(batch_of(stack))
    # 6, 5.5, 5, 4.5, 4, 3.5, 3, and 3 from then on.
    assert [method.exit(step) for step in range(8)] == [6, 6, 5, 4, 4, 4, 3, 3]
    method.plan(6)
    with pytest.raises(AssertionError, match="earlier position"):
        method.plan(0)


@pytest.mark.parametrize("preset", PRESETS)
def test_skipdecode_presets(preset):
    """They fit their model, and the mean of the two ends is near the depth over the speedup."""
    depth, most, least = PRESETS[preset]
    speedup = int(preset.removesuffix("x").rpartition("-")[2])
    assert 1 < least <= most < depth and abs((most + least) / 2 - depth / speedup) <= 1
    method = method_of("skipdecode", tiny_stack("opt", layers=depth), preset=preset)
    method.begin(batch_of(method.stack))
    assert (method.exit(0), method.exit(10**6)) == (most, least)
    # min_layers is given, so nothing is left to solve.
    assert (method.params.max_layers, method.params.min_layers) == (most, least)


def test_shortgpt_drops_the_layers_of_least_influence():
    stack = stack_of("llama")
    method = method_of("shortgpt", stack, layers=2)
    method.calibrate(batch_of(stack, [prompt], new=6) for prompt in PROMPTS[:2])
    order = sorted(range(DEPTH), key=method.influence.__getitem__)
    assert method.dropped == sorted(order[:2])
    again = method_of("shortgpt", stack, layers=2)
    again.restore(method.calibration)
    assert again.dropped == method.dropped
    wanted = planned(stack.model, PROMPTS[0], NEW, lambda step: set(range(DEPTH)) - set(method.dropped))
    assert_same(decode(method, PROMPTS[:1], new=NEW), [wanted], "shortgpt")


@pytest.mark.parametrize(
    ("name", "params", "named"),
    [
        ("early_exit", {"min_exit_layer": 5}, "min_exit_layer"),
        ("skipdecode", {"max_layers": 7}, "max_layers"),
        ("skipdecode", {"preset": "opt-1.3b-2x"}, "is for 24 layers"),
        ("skipdecode", {"preset": "opt-1.3b-2x", "min_layers": 9}, "means min_layers=8"),
        ("drop_last", {"layers": 6}, "layers"),
    ],
)
def test_what_does_not_fit_the_model(name, params, named):
    with pytest.raises(MethodError, match=named) as error:
        method_of(name, stack_of("llama"), **params)
    assert "\n" not in str(error.value)


def test_copy_is_refused_where_layers_turn_their_keys_differently():
    with pytest.raises(MethodError, match="kv_policy=copy is unsupported"):
        method_of("early_exit", tiny_stack("gemma3"), kv_policy="copy")
