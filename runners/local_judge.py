"""A judge that runs here: any model that `model=` takes."""

from functools import partial

import torch
from transformers import GenerationConfig

from models.chat import ChatTemplate
from models.errors import readable
from models.loading import EngineConfig, LoadedModel, ModelConfig, load_model
from runners.thoughts import MARKS, text_behind, thoughts_of
from tasks.base import Message
from tasks.judges.config import JudgeConfig
from tasks.judges.endpoint import Complete, JudgeUnreachableError, Reply


def local_judge(config: JudgeConfig) -> Complete:
    """Return the function that asks a local model.

    Raises
    ------
    ModelError
        It cannot be loaded.
    """
    model = load_model(
        ModelConfig(name="judge", path=str(config.model)),
        dtype=None,
        device="auto",
        engine=EngineConfig(layer="hf"),
    )
    template = ChatTemplate(model.tokenizer)
    # Of the checkpoint's own: penalties, limits and whatever else it asks for.
    model.stack.model.generation_config = GenerationConfig()
    context = getattr(model.stack.config, "max_position_embeddings", None)

    def complete(messages: list[Message]) -> Reply:
        text = template.render(_merged(messages))
        if text is None:
            raise JudgeUnreachableError(f"{config.model} has no chat template")
        ids = torch.tensor([model.ids_of(text, special=False)], device=model.stack.device)
        if not ids.numel():
            raise JudgeUnreachableError(f"the chat template of {config.model} writes nothing")
        if context is not None and ids.shape[1] + config.max_tokens > context:
            raise JudgeUnreachableError(f"a question has {ids.shape[1]} tokens; the context is {context}")
        sampling = {"temperature": config.temperature} if config.temperature else {}
        with torch.inference_mode(), readable(f"judge.model={config.model} fails"):
            output = model.stack.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=config.max_tokens,
                do_sample=bool(config.temperature),
                eos_token_id=sorted(model.eos) or None,
                pad_token_id=min(model.eos, default=0),
                **sampling,
            )[0, ids.shape[1] :]
        return Reply(said_by(model, output.tolist(), text), ids.shape[1], len(output))

    return complete


def said_by(model: LoadedModel, output: list[int], asked: str) -> str:
    """A reply's text, with its thoughts in the usual marks: the model's own may be special tokens, or stand
    at the end of what it was asked."""
    output = output[:-1] if output and output[-1] in model.eos else output
    found = thoughts_of(output, asked, model.tokenizer.decode)
    rest = text_behind(found, output, partial(model.tokenizer.decode, skip_special_tokens=True))
    if found is None:
        return rest
    opening, closing = MARKS[0]
    return f"{opening}{found.text}{closing if found.ended else ''}{rest}"


def _merged(messages: list[Message]) -> list[Message]:
    """The system's message as the beginning of the user's: many chat templates know no system."""
    return [{"role": "user", "content": "\n\n".join(message["content"] for message in messages)}]
