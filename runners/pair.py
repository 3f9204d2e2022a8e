"""Examples answered by a method and by the full model, and written down as rows."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from methods.full import Full
from methods.shared.method import Method
from runners.decoding import Answered, Decoding
from runners.errors import RunError
from runners.likelihood import continued_logprob, full_logprob
from runners.prompts import Prompt, PromptEncoder
from runners.replay import replayed
from tasks.base import Example, Task

Rows = list[dict[str, Any]]


@dataclass
class Side:
    """One of the two that answer, with what it has answered in this conversation."""

    name: str
    method: Method
    answers: list[list[str]]


@dataclass(frozen=True)
class Pair:
    """What it takes to turn examples into rows.

    Attributes
    ----------
    paired : bool
        The full model answers too, in alternating order.
    replayed : frozenset of str
        Ids of the examples for which the method also decodes the full model's tokens.
    reused : dict
        `full_*` columns by (example_id, turn), from an earlier run; empty when there is none.
    """

    run_id: str
    model: str
    task: Task
    method_name: str
    method: Method
    full: Full
    decoding: Decoding
    encoder: PromptEncoder
    paired: bool
    replayed: frozenset[str]
    reused: dict[tuple[str, int], dict[str, Any]]

    @property
    def params_json(self) -> str:
        """The method's parameters, the solved one included."""
        return json.dumps(asdict(self.method.params), sort_keys=True)

    def rows(self, examples: Sequence[Example], number: int) -> Rows:
        """Answer a batch of examples, all their turns.

        Parameters
        ----------
        examples : sequence of Example
        number : int
            Of the batch; the full model goes first in even ones.
        """
        method = Side("method", self.method, [[] for _ in examples])
        full = Side("full", self.full, [[] for _ in examples])
        sides = [full, method] if number % 2 == 0 else [method, full]
        if not self.paired:
            sides = [method]
        rows: Rows = []
        for turn in range(max(len(example.turns) or 1 for example in examples)):
            asked = [place for place, example in enumerate(examples) if turn < (len(example.turns) or 1)]
            answered: dict[str, tuple[list[Prompt], list[Answered]]] = {}
            logprobs: list[float | None] = []
            for side in sides:
                answered[side.name] = self._answer(side, examples, asked, turn)
                if side.name == "method":
                    # At once: the prompt's K,V are still there.
                    logprobs = self._logprobs(*answered[side.name])
                    _check_numbers(logprobs, [examples[place].example_id for place in asked])
            prompts, own = answered["method"]
            for index, place in enumerate(asked):
                example = examples[place]
                row = {
                    **self._identity(example, turn, prompts[index]),
                    "batch": number,
                    "order": sides[0].name if self.paired else None,
                    "full_logprob": logprobs[index],
                    **self.reused.get((example.example_id, turn), {}),
                }
                if self.paired:
                    full_prompts, full_answers = answered["full"]
                    row |= _spent(full_prompts[index], full_answers[index], "full_")
                row |= _spent(prompts[index], own[index], "") | own[index].work
                if self._replays(example):
                    asked_full = self._full_prompt(example, turn, full.answers[place])
                    row |= self._replay(row, asked_full, full_first=number % 2 == 0)
                rows.append(row)
        return rows

    def _logprobs(self, prompts: list[Prompt], answers: list[Answered]) -> list[float | None]:
        """How probable the full model finds the method's answers; off the clock."""
        ids = [prompt.ids for prompt in prompts]
        outputs = [answer.ids for answer in answers]
        if len(ids) == 1 and not self.method.own_engine:
            return [continued_logprob(self.full, ids[0], outputs[0])]
        return full_logprob(self.decoding, self.full, ids, outputs)

    def _replays(self, example: Example) -> bool:
        """Whether the method can differ on the full model's tokens, and the example is to be replayed."""
        return not (self.method.lossless or self.method.own_engine) and example.example_id in self.replayed

    def _full_prompt(self, example: Example, turn: int, answers: list[str]) -> Prompt:
        """The full model's prompt of a turn, whether it answered now or in an earlier run."""
        if not self.paired:
            answers = [self.reused[example.example_id, past]["full_output_text"] for past in range(turn)]
        return self.encoder.encode(self.task.prompt(example, turn, answers[:turn]), example.example_id)

    def _replay(self, row: dict[str, Any], prompt: Prompt, full_first: bool) -> dict[str, Any]:
        key = (row["example_id"], row["turn"])
        output = row["full_output_ids"]
        return replayed(self.decoding, self.method, self.full, [prompt.ids], [key], [output], full_first)[0]

    def _answer(
        self, side: Side, examples: Sequence[Example], asked: list[int], turn: int
    ) -> tuple[list[Prompt], list[Answered]]:
        prompts = [
            self.encoder.encode(
                self.task.prompt(examples[place], turn, side.answers[place]), examples[place].example_id
            )
            for place in asked
        ]
        keys = [(examples[place].example_id, turn) for place in asked]
        # A batch has one temperature: `Execution` sees to that.
        answered = self.decoding.run(side.method, prompts, keys, examples[0].temperature)
        for place, answer in zip(asked, answered, strict=True):
            side.answers[place].append(answer.text)
        return prompts, answered

    def _identity(self, example: Example, turn: int, prompt: Prompt) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "model": self.model,
            "task": self.task.name,
            "method": self.method_name,
            "method_params": self.params_json,
            "example_id": example.example_id,
            "turn": turn,
            "category": example.category,
            "question": example.asked(turn),
            "reference": list(example.references),
            "stop_strings": list(self.task.stop_strings),
            "source_sha256": example.source_sha256,
            "prompt": prompt.text,
            "prompt_sha256": prompt.sha256,
            "truncated": prompt.truncated,
        }


def _check_numbers(logprobs: Sequence[float | None], example_ids: Sequence[str]) -> None:
    """Refuse an answer of which the full model says nothing: also a baseline with an engine of its own, which
    chooses tokens from whatever it gets."""
    for logprob, example_id in zip(logprobs, example_ids, strict=True):
        if logprob is not None and math.isnan(logprob):
            raise RunError(
                f"example {example_id}: the full model's logits are no numbers; dtype=float16 overflows "
                "where float32 and bfloat16 do not, else check the weights"
            )


def _spent(prompt: Prompt, answer: Answered, prefix: str) -> dict[str, Any]:
    """One side's answer and times as columns."""
    columns = {
        "prompt_tokens": len(prompt.ids),
        "output_ids": answer.ids,
        "output_text": answer.text,
        "output_tokens": len(answer.ids),
        "finish_reason": answer.finish,
        "thoughts": answer.thoughts and answer.thoughts.text,
        "thought_tokens": answer.thoughts and answer.thoughts.tokens,
        "prefill_s": answer.prefill_s,
        "decode_s": answer.decode_s if answer.step_s else None,
        "step_s": answer.step_s,
    }
    if not prefix:
        columns["step_tokens"] = answer.step_tokens
    return {prefix + name: value for name, value in columns.items()}
