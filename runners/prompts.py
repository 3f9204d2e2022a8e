"""Examples turned into token ids."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from models.chat import ChatTemplate
from models.loading import LoadedModel
from runners.errors import RunError
from runners.settings import Settings
from tasks.base import Example, Message, Task


@dataclass(frozen=True)
class Prompt:
    """One prompt as the model sees it.

    Attributes
    ----------
    text : str
    ids : list of int
    truncated : bool
        It was cut to fit.
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


def batches(examples: Sequence[Example], size: int) -> list[list[Example]]:
    """Examples in batches of one temperature, in their order as far as that allows."""
    if size == 1:
        return [[example] for example in examples]
    found: list[list[Example]] = []
    for temperature in dict.fromkeys(example.temperature for example in examples):
        alike = [example for example in examples if example.temperature == temperature]
        found += [alike[start : start + size] for start in range(0, len(alike), size)]
    return found


class PromptEncoder:
    """Renders chat messages by the model's own template, counts and, if asked, cuts.

    Parameters
    ----------
    model : LoadedModel
    template : ChatTemplate
    settings : Settings
    max_new_tokens : int
        Room to leave for the answer.
    """

    def __init__(self, model: LoadedModel, template: ChatTemplate, settings: Settings, max_new_tokens: int):
        self._model, self._template = model, template
        context = getattr(model.stack.config, "max_position_embeddings", None)
        room = None if context is None else context - max_new_tokens
        if room is not None and room < 1:
            raise RunError(
                f"max_new_tokens={max_new_tokens} leaves no room for a prompt: the context is {context}"
            )
        limits = [limit for limit in (room, settings.max_prompt_tokens) if limit is not None]
        self._limit = min(limits) if limits else None
        self._answer = max_new_tokens
        self._switch = model.stack.rotary_switch
        self._truncate = settings.on_overflow == "truncate"

    def encode(self, prompt: list[Message] | str, example_id: str) -> Prompt:
        """Render and tokenise one prompt.

        Raises
        ------
        RunError
            The model has no chat template, or the prompt is too long and must not be cut.
        """
        return self.fit(self._rendered(prompt), example_id, None if isinstance(prompt, str) else prompt)

    def fit(self, whole: Prompt, example_id: str, messages: list[Message] | None = None) -> Prompt:
        """A prompt that is tokenised already, if it fits, or cut if that is asked for.

        Parameters
        ----------
        messages
            What it was rendered from, which is cut instead of its beginning.

        Raises
        ------
        RunError
            It has no tokens, or is too long and must not be cut.
        """
        if not whole.ids:
            raise RunError(f"the prompt of example {example_id} has no tokens")
        limit = self._room(len(whole.ids), len(whole.ids))
        if limit is None or len(whole.ids) <= limit:
            return whole
        if not self._truncate:
            raise RunError(
                f"the prompt of example {example_id} has {len(whole.ids)} tokens, {limit} fit"
                f"{self._reason(limit)}; on_overflow=truncate cuts it"
            )
        cut = None if messages is None else self._shortened(messages, len(whole.ids) - limit, limit)
        if cut is None:
            ids = whole.ids[-limit:]
            return Prompt(self._model.tokenizer.decode(ids), ids, True)
        return Prompt(cut.text, cut.ids, True)

    def _room(self, shortest: int, longest: int) -> int | None:
        """The tokens that fit a prompt of such lengths: a sequence must not grow over the length at which
        the model's rotary embedding changes, since `generate` and a batch would treat its keys in other ways.
        """
        limits = [] if self._limit is None else [self._limit]
        # The pass over a prompt may leave its last token to the first step.
        if (
            self._switch is not None
            and shortest <= self._switch + 1
            and longest + self._answer > self._switch
        ):
            limits.append(self._switch - self._answer)
        if limits and min(limits) < 1:
            raise RunError(
                f"max_new_tokens={self._answer} leaves no room for a prompt: the rotary embedding changes at "
                f"{self._switch} tokens"
            )
        return min(limits) if limits else None

    def _reason(self, limit: int) -> str:
        return "" if limit == self._limit else f" (longrope changes at {self._switch}, within the answer)"

    def first(self, task: Task, example: Example) -> Prompt:
        """The prompt of an example's first turn.

        Raises
        ------
        RunError
            It must not be cut and is too long, or a later turn might be, after answers of full length.
        """
        for turn in range(1, len(example.turns)):
            unanswered = self._rendered(task.prompt(example, turn, [""] * turn))
            longest = len(unanswered.ids) + turn * self._answer
            limit = self._room(len(unanswered.ids), longest)
            if limit is not None and longest > limit and not self._truncate:
                raise RunError(
                    f"turn {turn} of example {example.example_id} may have {longest} tokens, {limit} fit"
                    f"{self._reason(limit)}; on_overflow=truncate cuts it"
                )
        return self.encode(task.prompt(example, 0, ()), example.example_id)

    def _rendered(self, prompt: list[Message] | str) -> Prompt:
        if isinstance(prompt, str):
            return Prompt(prompt, self._model.ids_of(prompt, special=True), False)
        text = self._template.render(prompt)
        if text is None:
            raise RunError(
                "the model has no chat template; choose a model that has one (an instruct model), or "
                "task=factoidqa with task.prompt=fewshot, which needs none"
            )
        # The template has written every special token itself.
        return Prompt(text, self._model.ids_of(text, special=False), False)

    def _shortened(self, messages: list[Message], excess: int, limit: int) -> Prompt | None:
        """The conversation without the end of its longest message: the instruction before an article stays,
        and so do the marks of the turns. None if that message is not long enough."""
        longest = max(range(len(messages)), key=lambda place: len(messages[place]["content"]))
        ids = self._model.ids_of(messages[longest]["content"], special=False)
        while 0 < excess < len(ids):
            ids = ids[:-excess]
            shorter = {**messages[longest], "content": self._model.tokenizer.decode(ids).rstrip("\ufffd")}
            cut = self._rendered([*messages[:longest], shorter, *messages[longest + 1 :]])
            excess = len(cut.ids) - limit
            if excess <= 0:
                return cut
        return None
