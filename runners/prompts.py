"""Examples turned into token ids."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.loading import LoadedModel
from runners.errors import RunError
from runners.settings import Settings
from tasks.base import Example, Message


@dataclass(frozen=True)
class Prompt:
    """One prompt as the model sees it.

    Attributes
    ----------
    text : str
    ids : list of int
    truncated : bool
        Its beginning was cut off to fit.
    """

    text: str
    ids: list[int]
    truncated: bool

    @property
    def sha256(self) -> str:
        """Of the text."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


def selection(examples: Sequence[Example], limit: int | None) -> list[Example]:
    """The examples of a limited run, in an order fixed by a hash of their ids: a small run samples every
    category."""
    if not examples:
        raise RunError("the task has no examples to score")
    ordered = sorted(examples, key=lambda example: hashlib.sha256(example.example_id.encode()).digest())
    return ordered[:limit]


class PromptEncoder:
    """Renders chat messages by the model's own template, counts and, if asked, cuts.

    Parameters
    ----------
    model : LoadedModel
    settings : Settings
    max_new_tokens : int
        Room to leave for the answer.
    """

    def __init__(self, model: LoadedModel, settings: Settings, max_new_tokens: int):
        self._tokenizer: Any = model.tokenizer
        context = getattr(model.stack.config, "max_position_embeddings", None)
        room = None if context is None else context - max_new_tokens
        if room is not None and room < 1:
            raise RunError(
                f"max_new_tokens={max_new_tokens} leaves no room for a prompt: the context is {context}"
            )
        limits = [limit for limit in (room, settings.max_prompt_tokens) if limit is not None]
        self._limit = min(limits) if limits else None
        self._truncate = settings.on_overflow == "truncate"

    def encode(self, prompt: list[Message] | str, example_id: str) -> Prompt:
        """Render and tokenise one prompt.

        Raises
        ------
        RunError
            The model has no chat template, or the prompt is too long and must not be cut.
        """
        if isinstance(prompt, str):
            text = prompt
            ids = self._tokenizer(text, verbose=False)["input_ids"]
        else:
            if not self._tokenizer.chat_template:
                raise RunError("the model has no chat template; use a few-shot prompt (task.prompt=fewshot)")
            text = self._tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            # The template has written every special token itself. Quiet: too long a prompt is our error.
            ids = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if not ids:
            raise RunError(f"the prompt of example {example_id} has no tokens")
        if self._limit is None or len(ids) <= self._limit:
            return Prompt(text, ids, False)
        if not self._truncate:
            raise RunError(
                f"the prompt of example {example_id} has {len(ids)} tokens, {self._limit} fit; "
                "on_overflow=truncate cuts its beginning"
            )
        ids = ids[-self._limit :]
        return Prompt(self._tokenizer.decode(ids), ids, True)
