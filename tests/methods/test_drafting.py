"""Drafting says what plain decoding says, whatever was drafted, and counts what it did."""

import pytest
import torch

from exactness import assert_equal_up_to_near_ties, assert_rounded
from methods.shared.draft import Draft
from methods.shared.drafter import Drafter
from models.counters import ATTENTION
from models.sampling import Sampler
from models.step import Step
from slow_sequence import slow_sequence
from tiny import (
    PROMPTS,
    batch_of,
    by_family,
    decode,
    decode_each,
    hf_generated,
    method_of,
    staggered_eos,
    tiny_stack,
)

NEW = 24
SAMPLERS = {
    "greedy": Sampler(),
    "T 0.7": Sampler(0.7),
    "T 1": Sampler(1.0),
    "top-p": Sampler(1.0, top_p=0.9),
    "top-k": Sampler(0.7, top_k=20),
}


class Scripted(Drafter):
    """Drafts made by the test from what the full model is going to say."""

    def script(self, truth, shape):
        self.truth, self.shape = truth, shape
        return self

    def draft(self, batch, limit):
        done = len(batch.outputs[0])
        coming = self.truth[done : done + limit]
        return self.shape(coming)


def wrong(token):
    return (token + 1) % 199


def perfect_chain(coming):
    return Draft.chain(coming[:5])


def useless_chain(coming):
    return Draft.chain([wrong(token) for token in coming[:4]])


def half_right(coming):
    return Draft.chain([*coming[:2], *map(wrong, coming[2:4])])


def sibling_tree(coming):
    """Below each right token a wrong one, which comes first: every accepted node is a second child."""
    tokens, parents, above = [], [], -1
    for token in coming[:4]:
        tokens += [wrong(token), token]
        parents += [above, above]
        above = len(tokens) - 1
    return Draft(tokens, parents, [1.0] * len(tokens))


def bushy_tree(coming):
    """A wrong branch with a child of its own before the right one, whose last child is wrong again."""
    if len(coming) < 3:
        return Draft.chain(coming)
    first, second, third = coming[:3]
    tokens = [wrong(first), second, first, wrong(second), second, wrong(third)]
    return Draft(tokens, [-1, 0, -1, 2, 2, 4], [1.0] * 6)


SHAPES = (perfect_chain, useless_chain, half_right, sibling_tree, bushy_tree)


def scripted(stack, truth, shape):
    method = Scripted().script(truth, shape)
    method.scratch = 16
    method.bind(stack)
    return method


def cases(stack, got, wanted, prompts, label):
    """For the exactness rule: near ties of the full model, along its own output."""
    generated = hf_generated(stack.model, prompts, max(map(len, wanted)))
    return [
        (f"{label} {row}", got[row], one, [gap < 1e-4 for gap in generated.gaps[row]])
        for row, one in enumerate(wanted)
    ]


@pytest.mark.parametrize(("name", "shape"), by_family(((shape,) for shape in SHAPES), first="llama"))
def test_greedy_output_is_the_full_models_whatever_is_drafted(name, shape):
    stack = tiny_stack(name)
    full = decode_each(method_of("full", stack), new=NEW)
    got = [
        decode(scripted(stack, truth, shape), [prompt], new=NEW).outputs[0]
        for prompt, truth in zip(PROMPTS, full.outputs, strict=True)
    ]
    assert_equal_up_to_near_ties(cases(stack, got, full.outputs, PROMPTS, f"{name} {shape.__name__}"))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_sampled_output_is_the_full_models_with_the_same_random_numbers(shape, sampler):
    """Stronger than an equal distribution: each token is drawn as plain decoding draws it."""
    stack = tiny_stack("llama")
    sampler = SAMPLERS[sampler]
    full = decode_each(method_of("full", stack), new=NEW, sampler=sampler)
    for prompt, truth in zip(PROMPTS, full.outputs, strict=True):
        method = scripted(stack, truth, shape)
        assert decode(method, [prompt], new=NEW, sampler=sampler).outputs[0] == truth


@pytest.mark.parametrize(("name", "sampler"), by_family(((sampler,) for sampler in SAMPLERS), first="llama"))
def test_prompt_lookup_equals_the_full_model(name, sampler):
    """Prompts that repeat themselves, so that something is found; rows end at EOS and at the limit."""
    stack, sampler = tiny_stack(name), SAMPLERS[sampler]
    prompts = [prompt * 3 for prompt in PROMPTS]
    free = decode_each(method_of("full", stack), prompts, new=NEW, sampler=sampler)
    eos = frozenset() if name == "opt_norm_last" else staggered_eos(free.outputs)
    full = decode_each(method_of("full", stack), prompts, new=NEW, eos=eos, sampler=sampler)
    method = method_of("prompt_lookup", stack)
    got = [decode(method, [prompt], new=NEW, eos=eos, sampler=sampler) for prompt in prompts]
    if sampler.greedy:
        outputs = [one.outputs[0] for one in got]
        assert_equal_up_to_near_ties(cases(stack, outputs, full.outputs, prompts, name))
    else:
        assert [one.outputs[0] for one in got] == full.outputs
        assert [one.finish[0] for one in got] == full.finish


def test_a_perfect_chain_is_taken_whole_and_counted():
    """24 tokens: one from prefill, then passes of up to five drafted and one of their own."""
    stack = tiny_stack("llama")
    truth = decode(method_of("full", stack), PROMPTS[:1], new=NEW).outputs[0]
    method = scripted(stack, truth, perfect_chain)
    answer = decode(method, PROMPTS[:1], new=NEW)
    # 23 = 6 + 6 + 6 + 5: near the limit fewer are drafted, so that none is computed in vain.
    columns = {name: value for name, value in method.columns(0).items() if value is not None}
    assert columns.pop("draft_s") > 0 and columns.pop("verified_tokens") == [6, 6, 6, 5]
    assert columns == {"accepted_lengths": [6, 6, 6, 5], "drafted": 19, "accepted": 19, "verify_steps": 4}
    # Lossless methods skip nothing for good: what plain decoding counts is not theirs to have.
    assert method.columns(0)["ffn_run"] is None and method.columns(0)["paused_steps"] is None
    assert answer.calls == ["prefilled", ([6], [0]), ([6], [0]), ([6], [0]), ([5], [0])]
    verified = stack.counters.tally("verified")
    assert verified.passes[ATTENTION] == [4] * 4 and verified.head == 4
    assert verified.runs[ATTENTION, :, 0].tolist() == [23] * 4
    assert not stack.counters.tally("final").runs.any()


@pytest.mark.parametrize(
    ("shape", "steps"),
    [(useless_chain, 23), (half_right, 8), (sibling_tree, 5)],
    ids=lambda one: getattr(one, "__name__", str(one)),
)
def test_what_is_refused_costs_a_pass_a_token(shape, steps):
    stack = tiny_stack("llama")
    truth = decode(method_of("full", stack), PROMPTS[:1], new=NEW).outputs[0]
    method = scripted(stack, truth, shape)
    decode(method, PROMPTS[:1], new=NEW)
    columns = method.columns(0)
    assert columns["verify_steps"] == steps and sum(columns["accepted_lengths"]) == NEW - 1
    assert columns["accepted"] == NEW - 1 - steps


@pytest.mark.parametrize("name", ["llama", "qwen2_window", "gemma3", "opt"])
def test_the_cache_holds_the_accepted_path(name):
    """After siblings were accepted: every layer's K,V are those of the tokens read one after the other."""
    stack = tiny_stack(name)
    truth = decode(method_of("full", stack), PROMPTS[:1], new=NEW).outputs[0]
    decode(scripted(stack, truth, sibling_tree), PROMPTS[:1], new=NEW)
    sequence = slow_sequence(stack.model)
    with torch.inference_mode():
        sequence.read(PROMPTS[0] + truth[:-1])
    for layer, kv in enumerate(sequence.kv):
        for position in range(len(PROMPTS[0]) + NEW - 1):
            for block, wanted in zip((stack.cache.keys, stack.cache.values), kv[position], strict=True):
                assert_rounded(block[layer][0, :, position], wanted)


@pytest.mark.parametrize("shape", [perfect_chain, sibling_tree])
def test_nothing_after_the_end_is_taken(shape):
    stack = tiny_stack("llama")
    truth = decode(method_of("full", stack), PROMPTS[:1], new=NEW).outputs[0]
    place = 8
    eos = frozenset({truth[place]})
    end = truth.index(truth[place])
    method = scripted(stack, truth, shape)
    answer = decode(method, PROMPTS[:1], new=NEW, eos=eos)
    assert answer.outputs[0] == truth[: end + 1] and answer.finish == ["eos"]
    assert sum(method.columns(0)["accepted_lengths"]) == end
    stopped = decode(method, PROMPTS[:1], new=NEW, stopped=lambda row, ids: len(ids) == 5)
    assert stopped.outputs[0] == truth[:5] and stopped.finish == ["stop"]
    assert sum(method.columns(0)["accepted_lengths"]) == 4


def test_a_held_back_prompt():
    stack = tiny_stack("llama")
    wanted = decode(method_of("full", stack), [PROMPTS[0] * 3], new=NEW).outputs
    got = decode(method_of("prompt_lookup", stack), [PROMPTS[0] * 3], new=NEW, hold_back=True)
    assert got.outputs == wanted


def test_lookup_finds_the_longest_run_and_what_followed_it_first():
    stack = tiny_stack("llama")
    method = method_of("prompt_lookup", stack, max_draft=3)
    prompt = [1, 2, 3, 4, 5, 9, 2, 3, 7, 8, 1, 2, 3]
    batch = batch_of(stack, [prompt])
    method.begin(batch)
    # 1 2 3 occurs at the start; 2 3 alone would have been followed by 4 too, 3 by 4.
    assert list(method.draft(batch, 10).tokens) == [4, 5, 9]
    assert list(method.draft(batch, 2).tokens) == [4, 5]
    batch.outputs[0].append(7)
    # 2 3 7 was followed by 8, which 7 alone was as well.
    assert list(method.draft(batch, 10).tokens) == [8, 1, 2]
    batch.outputs[0].append(100)
    assert method.draft(batch, 10) == Draft.chain([])


def test_a_tree_of_one_branch_is_the_chain():
    pads = torch.zeros(1, dtype=torch.int64)
    tree, chain = Step.tree(5, [-1, 0, 1], pads, None), Step.causal(5, 4, pads, None)
    assert torch.equal(tree.positions, chain.positions) and torch.equal(tree.slots, chain.slots)
    assert torch.equal(tree.visible, chain.visible) and tree.length == chain.length
    forked = Step.tree(5, [-1, -1, 1], pads, None)
    assert forked.positions.tolist() == [[5, 6, 6, 7]]
    assert forked.visible[0, :, 5:].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]]


@pytest.mark.slow
def test_smollm_prompt_lookup_equals_the_full_model(smollm, smollm_prompts):
    check_real(smollm.stack, [smollm_prompts[0] * 2], 20)


@pytest.mark.slow
def test_prompt_lookup_equals_the_full_model_on_real_models(real):
    check_real(real.stack, [prompt + prompt for prompt in real.prompts], 64)


def check_real(stack, prompts, new):
    full = decode_each(method_of("full", stack), prompts, new=new)
    method = method_of("prompt_lookup", stack)
    got = [decode(method, [prompt], new=new).outputs[0] for prompt in prompts]
    generated = [hf_generated(stack.model, [prompt], new) for prompt in prompts]
    assert_equal_up_to_near_ties(
        [
            (f"row {row}", got[row], full.outputs[row], [gap < 1e-4 for gap in one.gaps[0]])
            for row, one in enumerate(generated)
        ]
    )
