"""Native sub-layers are the fused ones, at the speed of memory, and the same for a row in any company."""

import pytest
import torch
from test_fused import FUSED

from exactness import assert_rounded
from models.errors import ModelError
from models.stack import Stack
from tiny import PROMPTS, batch_of, decode, decode_each, method_of, needs_kernels, prompts_of, tiny_model

pytestmark = needs_kernels

SATURATION = {"threshold": 0.9, "confidence": "saturation", "decay": "none", "min_exit_layer": 1}
# One of each way in which a step uses a layer: everything, holes in the mask, K,V without attention, FFNs
# with their bare output, drafts past the end.
METHODS = {
    "full": ("full", {}),
    "hole": ("early_exit", {**SATURATION, "kv_policy": "hole"}),
    "propagate": ("early_exit", SATURATION),
    "ffnskip": ("ffnskip", {"threshold": 0.5, "warmup_tokens": 1, "cold_start": 0, "cold_end": 4}),
    "prompt_lookup": ("prompt_lookup", {}),
}


def outcome(stack, prompts, name, params):
    """Tokens, token runs, and K,V of a method."""
    answer = decode(method_of(name, stack, **params), prompts, new=24)
    # Rows that have ended are packed away, so the cache is compared where it is whole.
    kept = stack.cache.blocks[:, :, :1, :, :20].clone() if len(prompts) == 1 else torch.zeros(1)
    return answer.outputs, answer.attention_runs, answer.ffn_runs, kept


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("rows", [1, 4])
def test_every_method_decodes_as_on_fused_layers(name, rows):
    native, fused = Stack(tiny_model(name), "native"), Stack(tiny_model(name), "fused", product="linear")
    assert (native.layer_name, fused.layer_name) == ("native", "fused")
    for method, params in METHODS.values():
        if method == "prompt_lookup" and rows > 1:
            continue
        (*found, kept), (*wanted, wanted_kept) = (
            outcome(stack, PROMPTS[:rows], method, params) for stack in (native, fused)
        )
        assert found == wanted, method
        assert_rounded(kept, wanted_kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama", "qwen2_window", "qwen3"])
def test_a_row_gives_the_same_in_any_company(name, dtype):
    """Bit for bit, whatever its padding, and with any number of threads. Behind one and the same prefill."""
    stack = Stack(tiny_model(name, dtype), "native")
    full = method_of("full", stack)

    def logits(prompts):
        with torch.inference_mode():
            batch = batch_of(stack, prompts, new=8)
            full.begin(batch)
            # As decode steps: a prefill takes torch's kernels when it is long.
            found = []
            for _ in range(4):
                batch.outputs = [[*output, 7] for output in batch.outputs]
                hidden = full.forward(*batch.decode_step())
                found.append(stack.head(hidden)[:, 0])
                batch.slot += 1
            return torch.stack(found, dim=1)

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        prompts = prompts_of((9, 9, 9, 9, 9))
        alone = torch.cat([logits([prompt]) for prompt in prompts])
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for rows in (1, 2, 3, 5):
                assert torch.equal(logits(prompts[:rows]), alone[:rows]), (threads, rows)
    finally:
        torch.set_num_threads(before)


def test_a_long_cache_is_attended_in_parts():
    """Several chunks of slots, of which the mask of a window hides some as a whole."""
    for name in ("llama", "qwen2_window"):
        native, fused = Stack(tiny_model(name), "native"), Stack(tiny_model(name), "fused", product="linear")
        prompts = prompts_of((150, 40))
        answers = [decode(method_of("full", stack), prompts, new=40) for stack in (native, fused)]
        assert answers[0].outputs == answers[1].outputs
        for found, wanted in zip(answers[0].logits, answers[1].logits, strict=True):
            assert_rounded(found, wanted)


def test_what_is_no_number_reaches_the_head():
    """A query that is no number must not look like one that sees nothing, as it does to torch's attention."""
    model = tiny_model("llama")
    model.model.layers[1].self_attn.k_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(ModelError, match="no numbers"):
        decode(method_of("full", Stack(model, "native")), PROMPTS[:1], new=3)


def test_large_batches_and_prompts_are_left_to_torch(monkeypatch):
    stack = Stack(tiny_model("llama"), "native")
    full = method_of("full", stack)
    prompts = prompts_of((5,) * 33)
    calls = []
    kernel = stack.layers[0]._kernels.ffn
    monkeypatch.setattr(
        stack.layers[0]._kernels, "ffn", lambda *given: calls.append(given[-2]) or kernel(*given)
    )
    assert decode(full, prompts, new=3).outputs == decode_each(full, prompts, new=3).outputs
    assert max(calls) <= 32 and 1 in calls and 33 not in calls


def test_it_is_not_to_be_had_without_kernels(monkeypatch):
    with pytest.raises(ModelError, match=r"engine.layer=native does not fit this model: gpt2") as refused:
        Stack(tiny_model("gpt2"), "native")
    assert "\n" not in str(refused.value)
    with pytest.raises(
        ModelError, match=r"native is not to be had: it is for float32 and bfloat16"
    ) as refused:
        Stack(tiny_model("llama", torch.float16), "native")
    assert "\n" not in str(refused.value)
    assert Stack(tiny_model("llama", torch.float16)).layer_name == "fused"
    monkeypatch.setattr("models.product.kernels", lambda: ModelError("there is no C++ compiler"))
    with pytest.raises(ModelError, match=r"not to be had: there is no C\+\+ compiler; use engine.layer=auto"):
        Stack(tiny_model("llama"), "native")
    left = Stack(tiny_model("llama"))
    assert left.layer_name == "fused" and left.products.obstacle == "there is no C++ compiler"
