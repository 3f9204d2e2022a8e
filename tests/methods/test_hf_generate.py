"""The baseline from outside: transformers' `generate`, with the run's settings and no others."""

import pytest
import torch
from transformers import GenerationConfig

from models.sampling import Sampler
from models.stack import Stack
from tiny import (
    DISTINCT,
    PROMPTS,
    decode,
    decode_each,
    hf_generated,
    method_of,
    staggered_eos,
    tiny_model,
    tiny_stack,
)


@pytest.mark.parametrize("name", DISTINCT)
def test_equals_generate(name):
    stack = tiny_stack(name, keep_layout=True)
    method = method_of("hf_generate", stack)
    eos = staggered_eos(hf_generated(stack.model, PROMPTS, 12).outputs)
    together, alone = decode(method, eos=eos), decode_each(method, eos=eos)
    assert together.outputs == hf_generated(stack.model, PROMPTS, 12, eos).outputs
    assert alone.outputs == [hf_generated(stack.model, [prompt], 12, eos).outputs[0] for prompt in PROMPTS]
    assert "eos" in together.finish


@pytest.mark.parametrize("stance", ["force_eager", pytest.param("default", marks=pytest.mark.slow)])
def test_a_static_cache_gives_the_same_tokens(stance):
    stack = tiny_stack("llama", keep_layout=True)
    method, usual = method_of("hf_generate", stack, cache="static"), method_of("hf_generate", stack)
    with torch.compiler.set_stance(stance):
        assert decode(method).outputs == decode(usual).outputs
        # The cache is used again, by shorter prompts and for fewer tokens.
        for prompt in PROMPTS:
            assert decode(method, [prompt], new=5).outputs == decode(usual, [prompt], new=5).outputs


def test_watch_sees_one_prefill_and_every_decode_step():
    stack = tiny_stack("llama", keep_layout=True)
    free = decode(method_of("full", stack))
    eos = staggered_eos(free.outputs)
    ours, theirs = (decode(method_of(name, stack), eos=eos) for name in ("full", "hf_generate"))
    assert theirs.calls == ours.calls
    assert theirs.calls.count("prefilled") == 1 and theirs.calls[0] == "prefilled"
    for row, output in enumerate(theirs.outputs):
        taken = [dict(zip(live, taken, strict=True)) for taken, live in theirs.calls[1:]]
        assert sum(step.get(row, 0) for step in taken) == len(output) - 1


def test_token_0_is_the_prefills_even_if_the_batch_holds_it_back():
    """A decode step that took no time would make transformers look faster."""
    method = method_of("hf_generate", tiny_stack("llama", keep_layout=True))
    usual, held = decode(method), decode(method, hold_back=True)
    assert held.outputs == usual.outputs and held.calls == usual.calls


def test_stop_strings_and_a_limit_of_one_token():
    method = method_of("hf_generate", tiny_stack("llama", keep_layout=True))
    stopped = decode(method, stopped=lambda row, ids: len(ids) == 3 + row)
    assert [len(output) for output in stopped.outputs] == [3, 4, 5, 6]
    one = decode(method, new=1)
    assert one.calls == ["prefilled"] and one.finish == ["length"] * 4


def test_sampling_is_reproducible_and_follows_the_seed():
    method = method_of("hf_generate", tiny_stack("llama", keep_layout=True))
    prompt, sampler = PROMPTS[:1], Sampler(temperature=1.0, top_p=0.9)
    first, again, other = (decode(method, prompt, sampler=sampler, keys=[key]) for key in ("a", "a", "b"))
    assert first.outputs == again.outputs != other.outputs


@pytest.mark.parametrize(
    "setting",
    [{"repetition_penalty": 1.8}, {"no_repeat_ngram_size": 1}, {"eos_token_id": range(100)}],
    ids=lambda setting: next(iter(setting)),
)
def test_the_models_own_generation_config_changes_nothing(setting):
    """A checkpoint's repetition penalty or end token are not the run's."""
    model = tiny_model("llama")
    wanted = decode(method_of("full", Stack(model, keep_layout=True)), PROMPTS[1:2])
    setting = {key: list(value) if isinstance(value, range) else value for key, value in setting.items()}
    model.generation_config = GenerationConfig(**setting)
    assert hf_generated(model, PROMPTS[1:2], 12).outputs != wanted.outputs, "the setting has to matter"
    assert (
        decode(method_of("hf_generate", Stack(model, keep_layout=True)), PROMPTS[1:2]).outputs
        == wanted.outputs
    )


def test_top_k_off_means_off():
    """transformers would bring back its default of 50 for None."""
    stack, prompt = tiny_stack("llama", keep_layout=True), PROMPTS[0]
    answer = decode(method_of("hf_generate", stack), [prompt], new=40, sampler=Sampler(temperature=50.0))
    with torch.inference_mode():
        logits = stack.model(torch.tensor([prompt + answer.outputs[0]])).logits[0, len(prompt) - 1 : -1]
    chosen = logits.gather(1, torch.tensor(answer.outputs[0])[:, None])
    assert (logits > chosen).sum(1).max() > 50
