"""Recorded passes give what the same passes give when they are run."""

from collections import Counter
from itertools import product

import pytest
import torch
from test_fused import FUSED

from exactness import assert_rounded
from models.cache import BLOCK
from models.errors import ModelError
from models.graphs import MOST_PLANS
from models.plan import Plan
from models.stack import Stack
from recorded import METHODS, SATURATION, Silent, outcome, single
from tape import TapeRecorder
from tiny import PROMPTS, batch_of, method_of, prompts_of, tiny_model

OTHERS = sorted({*FUSED} - {"qwen2_window"})


@pytest.fixture(autouse=True)
def only_torch(monkeypatch):
    """A tape hears of torch's operations only; on a GPU there are no others."""
    monkeypatch.setattr("models.numerics.kernels", lambda: None)


def plain_stack(name):
    """What is recorded, not recorded."""
    return Stack(tiny_model(name), "fused", product="linear")


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(
    "family", ["qwen2_window", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_every_method_decodes_as_without_recordings(family, rows):
    recorder = TapeRecorder()
    recorded, plain = Stack(tiny_model(family), recorder=recorder), plain_stack(family)
    assert recorded.layer_name == "graphed"
    for name in METHODS:
        if rows == 1 or not single(name):
            assert outcome(recorded, PROMPTS[:rows], name) == outcome(plain, PROMPTS[:rows], name), name
    assert recorder.plays > recorder.recordings


def test_a_sequence_grows_out_of_its_frame():
    recorder = TapeRecorder()
    recorded, plain = Stack(tiny_model("llama"), recorder=recorder), plain_stack("llama")
    prompts = prompts_of((BLOCK - 9,))
    for name in ("full", "propagate"):
        assert outcome(recorded, prompts, name) == outcome(plain, prompts, name)


def test_a_plan_that_comes_back_is_one_recording():
    recorder = TapeRecorder()
    stack = Stack(tiny_model("llama"), recorder=recorder)
    outcome(stack, PROMPTS[:1], "full", new=8)
    assert recorder.recordings == 2, "what a step derives, and the plan"


def test_later_batches_are_recorded_before_they_decode():
    recorder = TapeRecorder()
    stack = Stack(tiny_model("llama"), recorder=recorder)
    for name in ("full", "propagate"):
        outcome(stack, PROMPTS[:1], name)
    # More rows, a longer cache: all that is known is recorded when the batch is made.
    with torch.inference_mode():
        method = method_of("early_exit", stack, **SATURATION)
        batch = batch_of(stack, prompts_of((BLOCK + 3, 5)), new=8)
        made = recorder.recordings
        method.generate(batch, Silent())
    ffns = 2 * len(stack.layers)
    assert made > ffns and recorder.recordings <= made + ffns, "only FFNs of another number of rows are new"


def test_plans_without_end_do_not_fill_the_memory():
    recorder = TapeRecorder()
    stack = Stack(tiny_model("llama"), recorder=recorder)
    choices = list(product((True, False), repeat=4))
    plans = [Plan(attention, ffn) for attention in choices for ffn in choices[::2]]
    kept = plain_stack("llama")
    with torch.inference_mode():
        for plan in plans + plans:
            for one in (stack, kept):
                batch = batch_of(one, PROMPTS[:1])
                method_of("full", one).prefill(batch)
                batch.accept([[7]], fed=0)
            ids, step = batch.decode_step()
            assert_rounded(stack.run(plan, ids, step), kept.run(plan, ids, batch.step(1)))
    kinds = Counter(type(key) for key in stack._graphs._known)
    assert 0 < kinds[Plan] <= MOST_PLANS


def test_a_caller_keeps_its_state():
    """The next pass through the same recording writes to a place of its own."""
    stack = Stack(tiny_model("llama"), recorder=TapeRecorder())
    with torch.inference_mode():
        batch = batch_of(stack, PROMPTS[:1])
        method_of("full", stack).prefill(batch)
        states = [torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(n)) for n in range(2)]
        step = batch.step(1)
        first = stack.layers[0].attention(states[0], step)
        kept = first.clone()
        stack.layers[0].attention(states[1], step)
        assert torch.equal(first, kept)


def test_what_cannot_be_recorded_is_refused_in_one_line():
    with pytest.raises(ModelError, match=r"engine\.compile=true needs fused layers") as refused:
        Stack(tiny_model("gpt2"), recorder=TapeRecorder())
    assert "\n" not in str(refused.value)
    model = tiny_model("llama")
    model.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    with pytest.raises(ModelError, match="rotary embeddings of type dynamic") as refused:
        Stack(model, recorder=TapeRecorder())
    assert "\n" not in str(refused.value)
