"""Compiled decode steps are the fused ones, in fewer kernels."""

import shutil
from dataclasses import replace

import pytest
import torch
from test_fused import FUSED

import models.programs as programs
from models.errors import ModelError
from models.stack import Stack
from tiny import PROMPTS, batch_of, method_of, tiny_model

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")

SHAPE = programs.Shape(16, 16, 2, 2, 8, 0.3, 1e-5, torch.float32, False, False, False, False, False)
# One of each way in which a step uses a layer: everything, holes in the mask, K,V without attention, FFNs
# with their bare output, drafts past the end.
METHODS = {
    "full": {},
    "hole": {"threshold": 0.9, "confidence": "saturation", "decay": "none", "kv_policy": "hole"},
    "propagate": {"threshold": 0.9, "confidence": "saturation", "decay": "none", "min_exit_layer": 1},
    "ffnskip": {"threshold": 0.5, "warmup_tokens": 1, "cold_start": 0, "cold_end": 4},
    "prompt_lookup": {},
}


def outcome(stack, prompts, name, params):
    """Tokens, token runs, and K,V of a method."""
    method = method_of("early_exit" if name in ("hole", "propagate") else name, stack, **params)
    with torch.inference_mode():
        batch = batch_of(stack, prompts, new=24, scratch=method.scratch)
        method.generate(batch, Silent())
    # Rows that have ended are packed away, so the cache is compared where it is whole.
    kept = stack.cache.blocks[:, :, :1, :, :20].clone() if len(prompts) == 1 else torch.zeros(1)
    return batch.outputs, stack.counters.tally("final").runs.clone(), kept


class Silent:
    """A watch that takes no time."""

    def prefilled(self):
        pass

    def decoded(self, taken, live):
        pass


def compare(name, rows):
    compiled, fused = Stack(tiny_model(name), compiled=True), Stack(tiny_model(name))
    assert (compiled.layer_name, fused.layer_name) == ("compiled", "fused")
    for method, params in METHODS.items():
        if method == "prompt_lookup" and rows > 1:
            continue
        (ids, runs, kept), (wanted, wanted_runs, wanted_kept) = (
            outcome(stack, PROMPTS[:rows], method, params) for stack in (compiled, fused)
        )
        assert ids == wanted, method
        assert torch.equal(runs, wanted_runs), method
        torch.testing.assert_close(kept, wanted_kept, rtol=1e-4, atol=1e-5)


def test_the_ffn_is_compiled():
    """The cheapest of the programs; the others take half a minute and are left to the slow tests."""
    layer = Stack(tiny_model("llama")).layers[0]
    shape = replace(SHAPE, width=32, ffn_width=64, epsilon=layer._ffn_norm.epsilon)
    run = programs._load(shape, "ffn", False, torch.get_num_threads())
    state = torch.randn(1, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (found,) = run([state, layer._ffn_norm.plain, layer._gate_up.weight, layer._down.weight])
        wanted = layer.ffn(state[None], state[None])[0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("rows", [1, 4])
def test_every_family_decodes_as_on_fused_layers(name, rows):
    compare(name, rows)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 4])
def test_rounds_no_worse_in_bfloat16(rows):
    """Both against the same weights in float32."""

    def logits(stack):
        with torch.inference_mode():
            batch, full = batch_of(stack, PROMPTS[:rows]), method_of("full", stack)
            full.begin(batch)
            full.prefill(batch)
            batch.accept([[7]] * rows, fed=0)
            return stack.head(full.forward(*batch.decode_step())[:, -1]).float()

    wanted = logits(Stack(tiny_model("llama", torch.bfloat16).float(), "hf"))
    compiled = logits(Stack(tiny_model("llama", torch.bfloat16), compiled=True))
    fused = logits(Stack(tiny_model("llama", torch.bfloat16)))
    assert 0 < (compiled - wanted).norm() < 1.5 * (fused - wanted).norm()


def test_what_cannot_be_compiled_is_refused_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"engine\.compile=true needs fused layers") as refused:
        Stack(tiny_model("gpt2"), compiled=True)
    assert "\n" not in str(refused.value)
    monkeypatch.setenv("SKIPBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/there/is/no/compiler",))
    with pytest.raises(ModelError, match=r"it needs a C\+\+ compiler") as refused:
        programs.Programs(SHAPE).ready(1)
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "programs").glob("*.pt2")), "nothing half made is left"
