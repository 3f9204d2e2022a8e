"""One pass: positions, what it sees, and some of its rows."""

from dataclasses import FrozenInstanceError

import pytest
import torch

from exactness import assert_rounded
from models.plan import Plan
from models.step import Step
from tiny import DISTINCT, LAYERS, NAMES, PROMPTS, batch_of, tiny_stack

FULL = Plan.full(LAYERS)


def after_prefill(stack, prompts=PROMPTS):
    batch = batch_of(stack, prompts)
    ids, step = batch.prefill_step()
    stack.run(FULL, ids, step)
    return batch


@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[:1]], ids=["padded", "alone"])
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_a_pass_of_several_tokens_sees_the_prefix(name, prompts):
    """SDPA's is_causal aligns top-left: it would hide the prefix from all but the last token."""
    stack, tokens = tiny_stack(name), torch.tensor([[5, 81, 13, 170, 2]])
    ids = (tokens + torch.arange(len(prompts))[:, None]) % 199
    batch = after_prefill(stack, prompts)
    together = stack.head(stack.run(FULL, ids, batch.step(5)))
    keys = [block[: len(prompts), :, : batch.slot + 5].clone() for block in stack.cache.keys]

    batch = after_prefill(stack, prompts)
    singly = []
    for column in ids.split(1, dim=1):
        singly.append(stack.head(stack.run(FULL, column, batch.step(1))))
        batch.slot += 1
    assert_rounded(together, torch.cat(singly, dim=1))
    for block, wanted in zip(stack.cache.keys, keys, strict=True):
        assert_rounded(block[: len(prompts), :, : batch.slot], wanted)


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_selected_rows_are_those_rows_of_the_whole_pass(name, tokens):
    stack = tiny_stack(name)
    batch, rows = after_prefill(stack), torch.tensor([3, 1])
    step = batch.step(tokens)
    if stack._windowed:
        stack.cache.place(step)
    hidden = torch.randn(4, tokens, 32)
    for layer in stack.layers:
        whole = layer.attention(hidden, batch.step(tokens))
        written = slice(batch.slot, batch.slot + tokens)
        keys = stack.cache.keys[layer.index][:4, :, written].clone()
        stack.cache.keys[layer.index][:4, :, written] = 7.0
        some = layer.attention(hidden[rows], step.select(rows))
        assert_rounded(some, whole[rows])
        now = stack.cache.keys[layer.index][:4, :, written]
        assert_rounded(now[rows], keys[rows])
        assert (now[[0, 2]] == 7.0).all(), "rows that take no part keep what they had"

        passed = layer.attention(hidden, step, rows)
        assert_rounded(passed[rows], whole[rows])
        assert torch.equal(passed[[0, 2]], hidden[[0, 2]])


def test_selecting_from_a_selection():
    pads = torch.tensor([0, 2, 1])
    step = Step.causal(4, 2, pads, torch.arange(8) >= pads[:, None])
    twice = step.select(torch.tensor([2, 0])).select(torch.tensor([1]))
    assert twice.rows.tolist() == [0]
    assert torch.equal(twice.positions, step.positions[:1]) and torch.equal(twice.visible, step.visible[:1])


def test_positions_and_sight_of_padded_rows():
    pads = torch.tensor([0, 2])
    allowed = torch.arange(6) >= pads[:, None]
    prefill = Step.causal(0, 4, pads, allowed)
    assert prefill.positions.tolist() == [[0, 1, 2, 3], [0, 0, 0, 1]]
    assert torch.equal(prefill.visible[0], torch.ones(4, 4).tril().bool())
    assert prefill.visible[1].int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]

    decode = Step.causal(4, 1, pads, allowed)
    assert decode.positions.tolist() == [[4], [2]] and decode.length == 5
    assert decode.visible.int().tolist() == [[[1, 1, 1, 1, 1]], [[0, 0, 1, 1, 1]]]

    several = Step.causal(3, 2, torch.zeros(1, dtype=torch.int64), None)
    assert several.visible.int().tolist() == [[[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]]


@pytest.mark.parametrize(("start", "tokens"), [(0, 4), (4, 1)])
def test_no_mask_means_the_mask_it_stands_for(start, tokens):
    step = Step.causal(start, tokens, torch.zeros(2, dtype=torch.int64), None)
    assert step.visible is None
    sees = torch.ones(5, 5).tril().bool()[start : start + tokens, : start + tokens]
    assert torch.equal(step.explicit(), sees.expand(2, -1, -1))


def test_a_step_is_immutable():
    step = Step.causal(0, 4, torch.zeros(1, dtype=torch.int64), None)
    with pytest.raises(FrozenInstanceError):
        step.length = 3
    step.derived["rotary"] = object()
    assert step.select(torch.tensor([0])).derived == {}, "a selection derives its own tables"


def bare_output(before, output, after):
    return output


@pytest.mark.parametrize("name", DISTINCT)
@torch.inference_mode()
def test_a_sub_layer_never_changes_its_input(name):
    stack = tiny_stack(name)
    batch = after_prefill(stack)
    for layer in stack.layers:
        hidden, layer_input = torch.randn(2, 4, 1, 32)
        before = hidden.clone(), layer_input.clone()
        for rows in (None, torch.tensor([0, 3])):
            layer.attention(hidden, batch.step(1), rows)
            layer.ffn(hidden, layer_input, rows)
            layer.ffn_measured(hidden, layer_input, bare_output, rows)
            layer.write_kv(hidden, batch.step(1), rows)
        stack.head(hidden)
        assert torch.equal(hidden, before[0]) and torch.equal(layer_input, before[1])


@pytest.mark.parametrize("name", DISTINCT)
@torch.inference_mode()
def test_an_ffn_of_some_rows_passes_the_others_through(name):
    for layer in tiny_stack(name).layers:
        hidden, layer_input = torch.randn(2, 4, 1, 32)
        rows, whole = torch.tensor([1, 2]), layer.ffn(hidden, layer_input)
        some = layer.ffn(hidden, layer_input, rows)
        assert_rounded(some[rows], whole[rows])
        assert torch.equal(some[[0, 3]], hidden[[0, 3]])
        after, output = layer.ffn_measured(hidden, layer_input, bare_output)
        assert torch.equal(after, whole)
        assert_rounded(hidden + output, whole)


def test_plans():
    plan = Plan.of_layers(4, [0, 3]).without_ffn([3])
    assert plan == Plan((True, False, False, True), (True, False, False, False))
    assert Plan.full(2) == Plan((True, True), (True, True))
