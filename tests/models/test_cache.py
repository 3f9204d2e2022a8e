"""The KV cache: where K,V go, what a query sees, and that nothing is copied behind the back."""

import pytest
import torch

from exactness import assert_rounded
from models.cache import KVCache
from models.plan import Plan
from models.step import Step
from tiny import DISTINCT, LAYERS, NAMES, PROMPTS, batch_of, decode, method_of, staggered_eos, tiny_stack

ROWS, HEADS, CAPACITY, WIDTH = 3, 2, 10, 4


def new_cache():
    return KVCache(2, ROWS, HEADS, CAPACITY, WIDTH, torch.float32, torch.device("cpu"))


def step_at(slots, rows=ROWS, length=None, contiguous=False, selected=None, visible=None):
    slots = torch.tensor(slots)
    return Step(
        positions=slots.expand(rows, -1),
        slots=slots,
        length=int(slots[-1]) + 1 if length is None else length,
        visible=visible,
        start=int(slots[0]) if contiguous else None,
        rows=selected,
    )


def random_kv(rows, tokens):
    return torch.randn(2, rows, HEADS, tokens, WIDTH)


@pytest.mark.parametrize("contiguous", [True, False], ids=["slice", "index"])
def test_write_and_read(contiguous):
    cache, slots = new_cache(), [3, 4, 5] if contiguous else [2, 7, 4]
    key, value = random_kv(ROWS, 3)
    cache.write(1, key, value, step_at(slots, contiguous=contiguous))
    keys, values = cache.read(1, step_at([8], length=9))
    assert torch.equal(keys[:, :, slots], key) and torch.equal(values[:, :, slots], value)
    others = [slot for slot in range(9) if slot not in slots]
    assert not keys[:, :, others].any() and not values[:, :, others].any()
    assert not any(block.any() for block in (cache.keys[0], cache.values[0])), "the other layer"


@pytest.mark.parametrize("slots", [[3, 4, 5], [2, 7, 4]])
def test_write_and_read_some_rows(slots):
    cache, rows = new_cache(), torch.tensor([2, 0])
    key, value = random_kv(2, 3)
    step = step_at(slots, rows=2, length=9, selected=rows, contiguous=slots[0] == 3)
    cache.write(0, key, value, step)
    keys, values = cache.read(0, step)
    assert torch.equal(keys[:, :, slots], key) and torch.equal(values[:, :, slots], value)
    assert torch.equal(cache.keys[0][rows][:, :, slots], key)
    assert not cache.keys[0][1].any() and not cache.values[0][1].any()


def test_rows_beyond_those_in_use_are_left_alone():
    cache = new_cache()
    cache.begin(2)
    for contiguous in (True, False):
        cache.write(0, *random_kv(2, 2), step_at([1, 2], rows=2, contiguous=contiguous))
        assert cache.read(0, step_at([3], rows=2))[0].shape == (2, HEADS, 4, WIDTH)
    assert not cache.keys[0][2].any()


def test_keep_rows_packs_them_to_the_front():
    cache = new_cache()
    for block in (*cache.keys, *cache.values):
        block.normal_()
    cache.positions.random_(100)
    cache.track_holes(0)
    cache.valid.random_(2)
    wanted = [block[[0, 2]].clone() for block in (*cache.keys, *cache.values, cache.positions)]
    valid = cache.valid[:, [0, 2]].clone()
    cache.keep_rows([0, 2], CAPACITY)
    now = [block[:2] for block in (*cache.keys, *cache.values, cache.positions)]
    assert cache.rows == 2 and all(map(torch.equal, now, wanted)) and torch.equal(cache.valid[:, :2], valid)


def test_validity_bits_follow_writes_truncation_and_new_sequences():
    cache = new_cache()
    cache.track_holes(3)
    cache.write(1, *random_kv(ROWS, 2), step_at([4, 6]))
    cache.write(1, *random_kv(1, 1), step_at([8], rows=1, selected=torch.tensor([1])))
    assert cache.valid[0].nonzero()[:, 1].unique().tolist() == [0, 1, 2]
    assert cache.valid[1, 0].nonzero().flatten().tolist() == [0, 1, 2, 4, 6]
    assert cache.valid[1, 1].nonzero().flatten().tolist() == [0, 1, 2, 4, 6, 8]
    cache.truncate(5)
    assert cache.valid[1, 1].nonzero().flatten().tolist() == [0, 1, 2, 4]
    cache.begin(1)
    assert cache.valid is None


@pytest.mark.parametrize("holes", [False, True], ids=["plain", "holes"])
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_an_accepted_path_through_a_tree_continues_the_sequence(name, holes):
    """Draft a tree into scratch slots, keep one path: from there on decoding is what it always was."""
    stack, prompt, path = tiny_stack(name), PROMPTS[0], [11, 57, 190]
    # Long enough that the path leaves the windows again.
    later = [3, 140, 8, 77, 21, 166, 50, 34, 9]
    plan, start = Plan.full(LAYERS), len(PROMPTS[0])

    batch = prefilled(stack, prompt)
    wanted = [feed(stack, token, batch.step(1), start + i) for i, token in enumerate([*path, *later])]

    batch = prefilled(stack, prompt)
    if holes:
        stack.cache.track_holes(start)
    # Nodes in slot order: the path is nodes 1, 3 and 5; the others are wrong turns off it.
    tokens, parents = [99, 11, 4, 57, 100, 190, 7], [-1, -1, 1, 1, 3, 3, 5]
    depths, seen = [], torch.zeros(1, 7, start + 7, dtype=torch.bool)
    seen[..., :start] = True
    for node, parent in enumerate(parents):
        depths.append(0 if parent < 0 else depths[parent] + 1)
        if parent >= 0:
            seen[:, node] |= seen[:, parent]
        seen[:, node, start + node] = True
    slots = torch.arange(start, start + 7)
    tree = Step(torch.tensor([depths]) + start, slots, start + 7, visible=seen)
    logits = stack.head(stack.run(plan, torch.tensor([tokens]), tree))
    kept = slots[[1, 3, 5]]
    assert_rounded(logits[0, [1, 3, 5]], torch.cat(wanted[:3]))

    stack.cache.keep(kept, start)
    if holes:
        assert stack.cache.valid[0, 0].nonzero().flatten().tolist() == list(range(start + 3))
    after = [feed(stack, token, batch.step(1), start + 3 + i) for i, token in enumerate(later)]
    assert_rounded(torch.cat(after), torch.cat(wanted[3:]))


def prefilled(stack, prompt):
    batch = batch_of(stack, [prompt], scratch=8)
    ids, step = batch.prefill_step()
    stack.run(Plan.full(LAYERS), ids, step)
    return batch


def feed(stack, token, step, slot):
    """Logits of one token that goes to a slot."""
    pads = torch.zeros(1, dtype=torch.int64)
    step = Step.causal(slot, 1, pads, None)
    return stack.head(stack.run(Plan.full(LAYERS), torch.tensor([[token]]), step))[0]


@pytest.mark.parametrize("name", DISTINCT)
@torch.inference_mode()
def test_a_hole_is_what_a_masked_slot_is(name):
    """A slot that a layer never wrote is invisible there, and there only."""
    stack = tiny_stack(name)
    batch = batch_of(stack, PROMPTS)
    ids, step = batch.prefill_step()
    stack.run(Plan.full(LAYERS), ids, step)
    stack.cache.track_holes(batch.slot)
    for token in (5, 6):
        step = batch.step(1)
        skipping = Plan.of_layers(LAYERS, [0, 1, 3]) if token == 5 else Plan.full(LAYERS)
        stack.run(skipping, torch.full((4, 1), token), step)
        batch.slot += 1
    hole, step = batch.slot - 2, batch.step(1)
    for layer in stack.layers:
        hidden = torch.randn(4, 1, 32)
        got = layer.attention(hidden, step)
        assert stack.cache.valid[layer.index, 0, hole] == (layer.index != 2)
        stack.cache.valid, valid = None, stack.cache.valid
        visible = step.explicit().clone()
        if layer.index == 2:
            visible[..., hole] = False
        masked = Step(step.positions, step.slots, step.length, visible=visible, start=step.start)
        assert torch.equal(layer.attention(hidden, masked), got)
        stack.cache.valid = valid


@pytest.mark.parametrize("name", DISTINCT)
def test_nothing_is_cloned_while_rows_end(name):
    stack = tiny_stack(name)
    method = method_of("full", stack)
    eos = staggered_eos(decode(method).outputs)
    blocks = (*stack.cache.keys, *stack.cache.values, stack.cache.positions)
    before = [block.data_ptr() for block in blocks]
    decode(method, eos=eos)
    decode(method, PROMPTS[1:3])
    blocks = (*stack.cache.keys, *stack.cache.values, stack.cache.positions)
    assert [block.data_ptr() for block in blocks] == before


def test_a_longer_batch_gets_a_larger_cache_and_nothing_of_the_old_one():
    stack = tiny_stack("llama")
    method = method_of("full", stack)
    wanted = decode(method).outputs
    for block in (*stack.cache.keys, *stack.cache.values):
        block.fill_(1e4)
    assert decode(method).outputs == wanted, "what an earlier batch left behind is never seen"
    capacity = stack.cache.capacity
    stack.reserve(5, capacity + 1)
    assert stack.cache.capacity > capacity and stack.cache.rows == 5
