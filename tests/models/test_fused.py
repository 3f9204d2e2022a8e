"""The fused layer is the transformers layer in fewer kernels, and no second copy of its weights."""

import pytest
import torch
from torch import nn

from exactness import assert_rounded
from models.errors import ModelError
from models.families import family_of
from models.fused import unfusable
from models.kernels import Kernels, kernels
from models.loading import EngineConfig, ModelConfig, load_model
from models.stack import Stack
from tiny import (
    NAMES,
    PROMPTS,
    batch_of,
    forced_logits,
    hf_forced_logits,
    hf_generated,
    method_of,
    needs_kernels,
    tiny_model,
    tiny_stack,
)
from tiny_files import save_model

FUSED = ("llama", "llama_tied", "mistral_window", "qwen2", "qwen2_window", "qwen3")


def bare_output(before, output, after):
    return output


# Merged, with torch's kernels or our own.
MERGED = ("fused", pytest.param("native", marks=needs_kernels))


def pair(name, layer, dtype=torch.float32):
    """The same weights on both implementations."""
    return Stack(tiny_model(name, dtype), layer), Stack(tiny_model(name, dtype), "hf")


def test_auto_takes_it_where_the_model_allows_it():
    fastest = "native" if isinstance(kernels(), Kernels) else "fused"
    assert tuple(name for name in NAMES if tiny_stack(name).layer_name == fastest) == FUSED
    assert tiny_stack("llama_hf").layer_name == "hf"
    with pytest.raises(ModelError, match="does not fit this model: gpt2 layers are not Llama-like") as error:
        Stack(tiny_model("gpt2"), "fused")
    assert "\n" not in str(error.value)


def test_what_cannot_be_merged_is_left_alone():
    model = tiny_model("llama")
    config, layers = model.config, model.model.layers
    assert unfusable(family_of(config), config, layers) is None

    class Quantised(nn.Linear):
        pass

    layers[2].mlp.up_proj = Quantised(32, 64, bias=False)
    assert unfusable(family_of(config), config, layers) == "its up_proj is a Quantised, not a plain matrix"
    assert Stack(model).layer_name == "hf"
    config.hidden_act = "gelu"
    assert "gelu" in unfusable(family_of(config), config, layers)


@pytest.mark.parametrize("layer", MERGED)
@pytest.mark.parametrize("name", FUSED)
@torch.inference_mode()
def test_sub_layers_equal_those_of_transformers(name, layer):
    """Prefill with padding, one token, a chain over a prefix; all rows and some; K,V too."""
    stacks = pair(name, layer)
    states = [
        torch.randn(4, tokens, 32, generator=torch.Generator().manual_seed(tokens)) for tokens in (13, 1, 3)
    ]
    found = []
    for stack in stacks:
        batch, seen = batch_of(stack), []
        for layer in stack.layers:
            steps = [batch.prefill_step()[1]]
            batch.slot = 13
            steps += [batch.step(1), batch.step(3)]
            for state, step in zip(states, steps, strict=True):
                if stack._windowed:
                    stack.cache.place(step)
                for rows in (None, torch.tensor([2, 0])):
                    after = layer.attention(state, step, rows)
                    seen += [after, layer.ffn(after, state, rows)]
                    seen += layer.ffn_measured(after, state, bare_output, rows)
                layer.write_kv(-state, step, torch.tensor([1]))
                seen.append(stack.cache.blocks[layer.index, :, :4, :, :16].clone())
        found.append(seen)
    # What padding sees is not the same nonsense; nobody looks there.
    real = torch.arange(13) >= torch.tensor([13 - len(prompt) for prompt in PROMPTS])[:, None]
    for one, other in zip(*found, strict=True):
        if one.shape == (4, 13, 32):
            one, other = one[real], other[real]
        assert_rounded(one, other)


@pytest.mark.parametrize("name", FUSED)
def test_rounds_no_worse_than_transformers_in_bfloat16(name):
    """Both against the same weights in float32; what is native is compared in the tests of `full`."""
    exact = tiny_model(name, torch.bfloat16).float()
    tokens = hf_generated(exact, PROMPTS[:1], 16).outputs[0]
    wanted = hf_forced_logits(exact, PROMPTS[0], tokens)
    fused, hf = (
        (forced_logits(method_of("full", stack), PROMPTS[0], tokens).float() - wanted).norm()
        for stack in pair(name, "fused", torch.bfloat16)
    )
    assert 0 < fused < 1.5 * hf


@pytest.mark.parametrize("name", FUSED)
def test_there_is_no_second_copy(name):
    """The model's own parameters are views of the merged ones, so transformers reads the same memory."""
    model = tiny_model(name)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with torch.inference_mode():
        wanted = model(torch.tensor([PROMPTS[0]])).logits
    stack = Stack(model, "fused")
    for path, parameter in model.named_parameters():
        assert torch.equal(parameter, before[path])
    attention = model.model.layers[0].self_attn
    merged = stack.layers[0].matrices()[0]
    places = [part.weight.untyped_storage().data_ptr() for part in (attention.q_proj, attention.k_proj)]
    assert places == [merged.untyped_storage().data_ptr()] * 2
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in model.parameters()}
    assert sum(storages.values()) == sum(p.numel() for p in model.parameters()) * 4
    with torch.inference_mode():
        assert torch.equal(model(torch.tensor([PROMPTS[0]])).logits, wanted)


def test_the_choice_reaches_the_stack(tmp_path):
    save_model(tmp_path)
    for layer in ("hf", "fused", *["native"] * isinstance(kernels(), Kernels)):
        config = ModelConfig("tiny", str(tmp_path))
        loaded = load_model(config, dtype="float32", device="cpu", engine=EngineConfig(layer))
        assert loaded.stack.layer_name == layer
