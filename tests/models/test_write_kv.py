"""`write_kv` is the part of attention that stores K,V, and nothing else of it."""

import pytest
import torch

from exactness import assert_rounded
from models.counters import ATTENTION
from tiny import NAMES, PROMPTS, batch_of, tiny_stack


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("rows", [None, [2, 0]], ids=["all", "some"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_writes_what_attention_writes(name, dtype, rows, tokens):
    stack = tiny_stack(name, dtype)
    batch = batch_of(stack, PROMPTS)
    rows = None if rows is None else torch.tensor(rows)
    batch.slot, hidden = 15, torch.randn(4, tokens, 32).to(dtype)
    if stack._windowed:
        stack.cache.place(batch.step(tokens))
    for layer in stack.layers:
        blocks = stack.cache.keys[layer.index][:4], stack.cache.values[layer.index][:4]
        written = []
        for write in (layer.attention, layer.write_kv):
            for block in blocks:
                block[:, :, 15 : 15 + tokens] = 0
            write(hidden, batch.step(tokens), rows)
            written.append(torch.stack(blocks))
        assert written[0][:, 0, :, 15 : 15 + tokens].any()
        if stack.products.library is None:
            # K and V alone are a smaller product than with Q, which may be summed in another order.
            assert_rounded(*written)
        else:
            assert torch.equal(*written)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_counts_passes_of_its_own(name):
    stack = tiny_stack(name)
    batch = batch_of(stack, PROMPTS)
    layer, hidden = stack.layers[1], torch.randn(4, 1, 32)
    layer.write_kv(hidden, batch.step(1))
    layer.write_kv(hidden, batch.step(1), torch.tensor([0, 3]))
    tally = stack.counters.tally("final")
    assert tally.kv_passes == [0, 2, 0, 0] and tally.kv_written == 6 and tally.kv_read == 0
    assert tally.passes[ATTENTION] == [0] * 4 and not tally.runs.any()

    slot_bytes = 2 * stack._heads * stack._width * 4
    assert stack.bytes_read("final") == 2 * kv_weights(stack) * 4 + 6 * slot_bytes


def kv_weights(stack):
    """Parameters of one layer's K and V projections; a fused one is read whole."""
    family = stack.config.model_type
    outputs = 2 * stack._heads * stack._width + (32 if family in ("phi3", "gpt2", "gpt_neox") else 0)
    return outputs * (32 + (family in ("qwen2", "opt", "gpt2", "gpt_neox")))
