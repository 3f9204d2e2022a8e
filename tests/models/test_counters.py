"""Work is counted where it is done: passes, token runs, purposes, bytes."""

import pytest
import torch

from exactness import assert_rounded
from models.counters import ATTENTION, FFN, Counters
from models.plan import Plan
from tiny import DISTINCT, LAYERS, PROMPTS, batch_of, decode, method_of, staggered_eos, tiny_stack


def counters(rows=3, layers=2):
    made = Counters(layers, torch.device("cpu"))
    made.begin(rows)
    return made


@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS[:3]], ids=["1", "3"])
@pytest.mark.parametrize("name", DISTINCT)
def test_full_decoding_in_passes_runs_and_bytes(name, prompts):
    """A pass for every decode step of the batch, a run for every token of a row, nothing for what ended."""
    stack = tiny_stack(name)
    full = method_of("full", stack)
    eos = staggered_eos(decode(full).outputs)
    answer = decode(full, prompts, eos=eos)
    steps = [len(output) - 1 for output in answer.outputs]
    assert len(set(steps)) == len(prompts)
    final, prefill = stack.counters.tally("final"), stack.counters.tally("prefill")
    assert final.passes == [[max(steps)] * LAYERS] * 2 and final.head == max(steps)
    assert answer.attention_runs == answer.ffn_runs == [[n] * LAYERS for n in steps]
    assert answer.skipped_steps == [0] * len(prompts)

    longest = max(map(len, prompts))
    assert prefill.passes == [[1] * LAYERS] * 2 and prefill.head == 1
    assert (prefill.runs == longest).all() and prefill.runs.shape == (2, LAYERS, len(prompts))
    assert stack.bytes_read("final") == stack.full_bytes(longest, steps)
    assert stack.bytes_read("searched") == 0


@pytest.mark.parametrize("name", DISTINCT)
def test_full_bytes_by_hand(name):
    """Two rows that take 1 and 3 steps after a prompt of 5 slots, from the shapes of the tiny models."""
    stack = tiny_stack(name)
    per_layer = {
        "llama": 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64,
        "qwen2_window": 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 32 + 2 * 16,
        "gpt_neox": 4 * 32 * 32 + 4 * 32 + 2 * 32 * 64 + 64 + 32,
    }[name]
    kv_width = 32 if name == "gpt_neox" else 16
    read = 6 + (6 + 7 + 8)
    wanted = 3 * (LAYERS * per_layer + 32 * 199) + LAYERS * 2 * kv_width * (read + 4)
    assert stack.full_bytes(5, [1, 3]) == wanted * 4


def test_skipped_sub_layers_are_neither_passes_nor_runs():
    stack = tiny_stack("llama")
    method = method_of("full", stack)
    method.plan = lambda index: Plan.of_layers(LAYERS, [0, 3]).without_ffn([3]) if index else method.full
    answer = decode(method, PROMPTS[:2], new=6)
    final = stack.counters.tally("final")
    assert final.passes == [[5, 1, 1, 5], [5, 1, 1, 1]]
    assert answer.attention_runs == [[5, 1, 1, 5]] * 2 and answer.ffn_runs == [[5, 1, 1, 1]] * 2
    assert answer.skipped_steps == [4, 4]
    assert stack.bytes_read("final") < stack.full_bytes(13, [5, 5])


def test_runs_of_some_rows_and_rows_that_end():
    made = counters()
    made.sub_layer(ATTENTION, 0, 1, None)
    made.sub_layer(FFN, 0, 1, torch.tensor([0, 2]))
    made.keep_rows([1, 2])
    made.sub_layer(FFN, 0, 1, torch.tensor([1]))
    made.sub_layer(FFN, 1, 4, None)
    tally = made.tally("final")
    assert tally.runs[ATTENTION].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert tally.runs[FFN].tolist() == [[1, 0, 2], [0, 4, 4]]
    assert tally.passes == [[1, 0], [2, 1]]


def full_step(made):
    for layer in range(2):
        made.sub_layer(ATTENTION, layer, 1, None)
        made.sub_layer(FFN, layer, 1, None)


def test_steps_that_skipped_something_belong_to_their_rows():
    made = counters()
    full_step(made)
    made.step_done()
    for layer in range(2):
        made.sub_layer(ATTENTION, layer, 1, None)
        made.sub_layer(FFN, layer, 1, torch.tensor([0, 1]) if layer else None)
    made.step_done()
    assert made.skipped_steps.tolist() == [0, 0, 1]
    full_step(made)
    made.step_done()
    made.keep_rows([0, 2])
    made.sub_layer(ATTENTION, 0, 1, None)
    made.step_done()
    assert made.skipped_steps.tolist() == [1, 0, 2]


@pytest.mark.parametrize("rows", [None, [0, 1, 2]], ids=["all", "listed"])
def test_work_of_another_purpose_inside_a_step_is_not_a_skip(rows):
    """A decision, say, made after the first layer: the layers before it still belong to the step."""
    made = counters()
    for _ in range(3):
        made.sub_layer(ATTENTION, 0, 1, None)
        made.sub_layer(FFN, 0, 1, None if rows is None else torch.tensor(rows))
        with made.purpose("decision"):
            made.head(1.0)
            made.sub_layer(FFN, 1, 1, None)
        made.sub_layer(ATTENTION, 1, 1, None)
        made.tally("decision")
        made.sub_layer(FFN, 1, 1, None)
        made.step_done()
    assert made.skipped_steps.tolist() == [0, 0, 0]
    decision, final = made.tally("decision"), made.tally("final")
    assert decision.head == 3 and final.head == 0
    assert decision.passes == [[0, 0], [0, 3]] and final.passes == [[3, 3], [3, 3]]
    assert (final.runs == 3).all() and decision.runs[FFN, 1].tolist() == [3, 3, 3]


def test_purposes_nest_and_end_with_an_error():
    made = counters()
    with made.purpose("searched"):
        with pytest.raises(KeyError), made.purpose("drafted"):
            made.sub_layer(FFN, 0, 1, None)
            raise KeyError
        made.sub_layer(FFN, 1, 1, None)
    made.sub_layer(ATTENTION, 0, 1, None)
    assert made.tally("drafted").passes == [[0, 0], [1, 0]]
    assert made.tally("searched").passes == [[0, 0], [0, 1]]
    assert made.tally("final").passes == [[1, 0], [0, 0]]
    assert not made.tally("verified").runs.any() and "verified" not in made.tallies


@torch.inference_mode()
def test_columns_of_the_head():
    for name in ("gpt_neox", "llama", "qwen2"):
        stack = tiny_stack(name)
        batch_of(stack)
        hidden, columns = torch.randn(3, 32), torch.tensor([150, 2, 77])
        assert_rounded(stack.head(hidden, columns), stack.head(hidden)[:, columns])
        assert stack.counters.tally("final").head == pytest.approx(1 + 3 / 199)


def test_what_was_counted_in_inference_mode_can_be_read_after_it():
    stack = tiny_stack("llama")
    with torch.inference_mode():
        batch = batch_of(stack)
        method_of("full", stack).prefill(batch)
    assert stack.counters.tally("prefill").head == 1
    method_of("full", stack).prefill(batch)
    assert stack.counters.tally("prefill").head == 2
