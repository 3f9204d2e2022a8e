"""Longrope: a row is turned by its own factors, alone, in a batch, in a draft, and as `generate` turns it."""

import pytest
import torch
from transformers import GenerationConfig

from models.rotary import switch_length
from models.stack import Stack
from tiny import batch_of, method_of, prompts_of, tiny_model

SWITCH, NEW = 24, 8
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 3000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.4],
    "long_factor": [1.5, 3.0, 5.0, 9.0],
    "original_max_position_embeddings": SWITCH,
    "factor": 8.0,
}
# None can cross: up to 16 tokens, or more than 25.
PROMPTS = prompts_of((5, 16, 26, 40))


@pytest.fixture(scope="module", params=["llama", "llama_hf", "phi3"])
def longrope(request):
    changed = {"rope_parameters": {**LONGROPE, "partial_rotary_factor": 1.0}}
    if request.param == "phi3":
        changed["original_max_position_embeddings"] = SWITCH
    model = tiny_model(request.param, **changed)
    return model, Stack(model, "hf" if request.param.endswith("_hf") else "auto")


def decoded(stack, prompts, name="full", **params):
    batch = batch_of(stack, prompts, new=NEW, scratch=method_of(name, stack, **params).scratch)
    with torch.inference_mode():
        method_of(name, stack, **params).generate(batch, Silent())
    return batch.outputs


class Silent:
    def prefilled(self):
        pass

    def decoded(self, taken, live):
        pass


def generated(model, prompt):
    config = GenerationConfig(max_new_tokens=NEW, do_sample=False, pad_token_id=0)
    return model.generate(torch.tensor([prompt]), generation_config=config)[0, len(prompt) :].tolist()


def test_alone_and_in_a_batch_as_generate(longrope):
    model, stack = longrope
    assert stack.rotary_switch == SWITCH
    wanted = [generated(model, prompt) for prompt in PROMPTS]
    assert [decoded(stack, [prompt])[0] for prompt in PROMPTS] == wanted
    assert decoded(stack, PROMPTS) == wanted


def test_drafts_that_reach_over_the_switch(longrope):
    model, stack = longrope
    for prompt in PROMPTS:
        repeated = prompt[: len(prompt) // 2] + prompt[: len(prompt) - len(prompt) // 2]
        assert decoded(stack, [repeated], "prompt_lookup")[0] == generated(model, repeated)


def test_factors_that_are_the_same_never_switch():
    same = {**LONGROPE, "long_factor": LONGROPE["short_factor"]}
    assert switch_length(tiny_model("llama", rope_parameters=same).config) is None
    assert switch_length(tiny_model("gemma3").config) is None
    assert switch_length(tiny_model("gpt2").config) is None
