"""Early exit, SkipDecode, Unified and the layer controls against their definitions written slowly."""

import math
from itertools import pairwise

import pytest
import torch

from exactness import assert_equal_up_to_near_ties
from methods.shared.confidence import decayed
from methods.shared.draws import draw
from methods.shared.errors import MethodError
from methods.unified import balanced, official
from models.sampling import generator
from slow_layers import early_exit, planned
from tiny import (
    DISTINCT,
    NAMES,
    PROMPTS,
    batch_of,
    decode,
    decode_each,
    method_of,
    prompts_of,
    staggered_eos,
    tiny_stack,
)

DEPTH, NEW = 6, 14
IDENTITIES = {
    "early_exit": {"threshold": None},
    "early_exit-above-1": {"threshold": 1.01, "decay": "free"},
    "skipdecode": {"min_layers": 4, "max_layers": 4},
    "unified": {"target_speedup": 1.0},
    "random_layer": {"share": 0.0},
    "drop_last": {"layers": 0},
    "shortgpt": {"layers": 0},
}


def stack_of(name):
    return tiny_stack(name, layers=DEPTH)


def assert_same(got, wanted, label):
    """Tokens by the exactness rule; work too, where no near tie decided any of it."""
    assert_equal_up_to_near_ties(
        [(label, got.outputs[row], one.tokens, one.near) for row, one in enumerate(wanted)]
    )
    for row, one in enumerate(wanted):
        if not any(one.near):
            assert got.attention_runs[row] == got.ffn_runs[row] == one.runs, label


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", IDENTITIES)
def test_identity_settings_equal_full_bit_for_bit(name, case):
    stack = tiny_stack(name)
    got = decode(method_of(case.partition("-")[0], stack, **IDENTITIES[case]))
    full = decode(method_of("full", stack))
    assert got.outputs == full.outputs
    assert all(torch.equal(a, b) for a, b in zip(got.logits, full.logits, strict=True))


@pytest.mark.parametrize("confidence", ["softmax", "saturation"])
@pytest.mark.parametrize("kv_policy", ["propagate", "copy", "hole", "defer"])
@pytest.mark.parametrize("name", DISTINCT)
def test_early_exit_equals_its_definition(name, kv_policy, confidence):
    stack, prompts = stack_of(name), PROMPTS[:3]
    how = {"exits": range(2, DEPTH - 1), "confidence": confidence, "kv_policy": kv_policy}
    seen = early_exit(stack.model, prompts[0], NEW, needed=lambda step: 2.0, **how).confidences
    for share in (0.5, 0.8):
        # Between two confidences that really occur, so that no decision is a matter of rounding.
        place = int(share * (len(seen) - 1))
        threshold = sum(sorted(seen)[place : place + 2]) / 2
        for decay in ("none", "calm", "free"):

            def needed(step, threshold=threshold, decay=decay):
                return decayed(threshold, decay, 4.0, step, NEW)

            wanted = [early_exit(stack.model, prompt, NEW, needed=needed, **how) for prompt in prompts]
            params = {"threshold": threshold, "confidence": confidence, "kv_policy": kv_policy}
            method = method_of("early_exit", stack, min_exit_layer=2, decay=decay, **params)
            got = [decode(method, [prompt], new=NEW) for prompt in prompts]
            for one, want in zip(got, wanted, strict=True):
                assert_same(one, [want], f"{name} {params} {decay}")
            exits = [layer for want in wanted for layer in want.exits]
            assert decay != "none" or min(exits) < DEPTH - 1
            if not any(wanted[-1].near):
                assert method.columns(0) == {"exit_layers": wanted[-1].exits}


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
        torch.testing.assert_close(deferred, full, rtol=1e-4, atol=1e-5)


def skipdecode_sets(most, least, horizon, warmup):
    def active(step):
        t = min(1.0, step / horizon)
        kept = round((1 - t) * most + t * least)
        return {*range(warmup), *range(DEPTH - (kept - warmup), DEPTH)}

    return active


PLANS = {
    "skipdecode": (
        {"max_layers": 5, "min_layers": 3, "horizon": 8},
        lambda: skipdecode_sets(5, 3, 8, 1),
    ),
    "skipdecode-2": ({"min_layers": 4, "warmup_layers": 2}, lambda: skipdecode_sets(6, 4, NEW, 2)),
    "unified": ({"target_speedup": 2.0}, lambda: lambda step: {0, 3, 5}),
    "unified-balanced": ({"target_speedup": 1.5}, lambda: lambda step: {0, 1, 3, 5}),
    "drop_last": ({"layers": 2}, lambda: lambda step: {0, 1, 2, 3}),
}


@pytest.mark.parametrize("name", DISTINCT)
@pytest.mark.parametrize("case", PLANS)
def test_planned_methods_equal_their_definitions(name, case):
    params, sets = PLANS[case]
    if case == "unified-balanced":
        # 1 + floor((2k + 1) 4 / 4) for k < 2 are skipped.
        assert balanced(6, 4) == [0, 1, 3, 5]
    stack = stack_of(name)
    got = decode_each(method_of(case.partition("-")[0], stack, **params), new=NEW)
    wanted = [planned(stack.model, prompt, NEW, sets()) for prompt in PROMPTS]
    assert_same(got, wanted, f"{name} {case}")


@pytest.mark.parametrize("name", DISTINCT)
def test_random_layer_equals_its_definition(name):
    stack = stack_of(name)
    method = method_of("random_layer", stack, share=0.6)
    wanted = []
    for prompt in PROMPTS:
        noise = generator(0, str(prompt), 0, purpose="method")
        sets = [set(range(DEPTH)) - draw(range(1, DEPTH - 1), 0.6, noise) for _ in range(NEW)]
        wanted.append(planned(stack.model, prompt, NEW, lambda step, sets=sets: sets[step], propagate=True))
    assert_same(decode_each(method, new=NEW), wanted, name)
    # 0.6 of 4 layers is 2.4: two or three.
    assert {2, 3} >= {DEPTH - len(one) for one in sets}


BATCHED = [
    *(("early_exit", {"threshold": 0.2, "decay": "none", "min_exit_layer": 1, "kv_policy": policy})
      for policy in ("propagate", "copy", "hole")),
    ("skipdecode", {"min_layers": 3}),
    ("unified", {"target_speedup": 2.0}),
    ("random_layer", {"share": 0.5}),
    ("drop_last", {"layers": 2}),
]  # fmt: skip


@pytest.mark.parametrize("name", ["llama", "qwen2_window", "gpt_neox", "phi3", "gemma2", "opt", "gpt2"])
@pytest.mark.parametrize(("method", "params"), BATCHED)
def test_a_batch_is_its_rows_alone(name, method, params):
    """Unequal prompts whose rows leave at different layers and end at different steps; work included."""
    bound = method_of(method, stack_of(name), **params)
    eos = staggered_eos(decode(bound, new=NEW).outputs)
    together, alone = decode(bound, new=NEW, eos=eos), decode_each(bound, new=NEW, eos=eos)
    assert together.outputs == alone.outputs
    assert together.attention_runs == alone.attention_runs
    assert together.ffn_runs == alone.ffn_runs
    assert together.skipped_steps == alone.skipped_steps


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
        ("early_exit", {"confidence": "sure"}, "confidence"),
        ("early_exit", {"decay": "slow"}, "decay"),
        ("early_exit", {"kv_policy": "none"}, "kv_policy"),
        ("early_exit", {"check_every": 0}, "check_every"),
        ("early_exit", {"min_exit_layer": 5}, "min_exit_layer"),
        ("skipdecode", {"min_layers": 0}, "min_layers"),
        ("skipdecode", {"max_layers": 7}, "max_layers"),
        ("unified", {"target_speedup": 0.5}, "target_speedup"),
        ("unified", {"rule": "even"}, "rule"),
        ("random_layer", {"share": 1.5}, "share"),
        ("drop_last", {"layers": 6}, "layers"),
        ("shortgpt", {"layers": -1}, "layers"),
    ],
)
def test_what_cannot_be_asked_for(name, params, named):
    with pytest.raises(MethodError, match=named) as error:
        method_of(name, stack_of("llama"), **params)
    assert "\n" not in str(error.value)


def test_copy_is_refused_where_layers_turn_their_keys_differently():
    with pytest.raises(MethodError, match="kv_policy=copy is unsupported"):
        method_of("early_exit", tiny_stack("gemma3"), kv_policy="copy")
