"""What a judge is asked: prompts from a file in the layout of FastChat's `judge_prompts.jsonl`."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.base import Message
from tasks.errors import DataError
from tasks.sources.files import read_records

OWN = Path(__file__).parent / "prompts" / "v1.jsonl"
# FastChat, llm_judge/common.py: categories that are judged beside a reference.
NEEDS_REFERENCE = ("math", "reasoning", "coding")
# What counts besides, by category; put where a prompt has {rubric}.
_RUBRICS = {
    "writing": "; style, voice and the constraints of the task count most",
    "roleplay": "; staying in the role and its voice counts most",
    "extraction": "; everything asked for, nothing else, and in the format asked for",
    "stem": "; correct facts and sound explanations count most",
    "humanities": "; correct facts, several sides and a clear line of argument count most",
    "coding": "; code that does not run or misses a case loses most",
    "reasoning": "; a right result from wrong steps loses points",
    "math": "; a right result from wrong steps loses points",
}
# A third turn would be graded by prompts that show the first two alone.
MOST_TURNS = 2
_FIELD = re.compile(r"\{(\w+)\}")
_EXPECTED = re.compile(r"\[\[\w+\]\]")


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation as a judge sees it."""

    question: str
    answer: str
    full_answer: str | None


@dataclass(frozen=True)
class Asked:
    """A question to a judge.

    Attributes
    ----------
    prompt_name : str
    messages : list of Message
    ratings : int
        How many numbers its answer has to give; 0: a verdict of A, B or C.
    """

    prompt_name: str
    messages: list[Message]
    ratings: int


class PromptBook:
    """The prompts of one file.

    Parameters
    ----------
    path
        None: this project's own.
    """

    def __init__(self, path: str | None = None) -> None:
        file = OWN if path is None else Path(os.path.expanduser(path))
        self._records = {record.text("name"): record for record in read_records(file)}
        self._file = file
        self.sha256 = hashlib.sha256(file.read_bytes()).hexdigest()

    def check_turns(self, most: int) -> None:
        """Raise a `DataError` if conversations have more turns than the prompts speak of."""
        if most > MOST_TURNS:
            raise DataError(
                f"{self._file}: judges' prompts are for conversations of at most {MOST_TURNS} turns, and one "
                f"has {most}; leave the longer ones out, or do without a judge"
            )

    def single(
        self, task: str, category: str | None, turns: Sequence[Turn], references: Sequence[str]
    ) -> Asked:
        """Ask for a grade of the answer to the last of the turns."""
        name = self._name("single", "summary-v1", task, category, turns, references)
        asked = self._asked(name, {**_conversation(turns), **_shared(category, turns, references)})
        if not asked.ratings:
            raise self._records[name].error("output_format", "asks for no [[rating]]")
        return asked

    def pairwise(
        self,
        task: str,
        category: str | None,
        turns: Sequence[Turn],
        references: Sequence[str],
        full_first: bool,
    ) -> Asked:
        """Ask which answer to the last of the turns is better; the full model's is A if it stands first."""
        name = self._name("pair", "pair-summary-v1", task, category, turns, references)
        fields = _shared(category, turns, references)
        for place, turn in enumerate(turns, start=1):
            own, full = turn.answer, turn.full_answer or ""
            first, second = (full, own) if full_first else (own, full)
            fields |= {f"answer_a_{place}": first, f"answer_b_{place}": second}
            fields |= {"answer_a": first, "answer_b": second}
        return self._asked(name, fields)

    def _name(
        self,
        kind: str,
        summary: str,
        task: str,
        category: str | None,
        turns: Sequence[Turn],
        references: Sequence[str],
    ) -> str:
        if task == "summarization":
            return summary
        self.check_turns(len(turns))
        there = len(references) >= len(turns) and all(references[: len(turns)])
        beside = category in NEEDS_REFERENCE and there
        version = "math-v1" if beside else ("v1" if kind == "single" else "v2")
        return f"{kind}-{version}" + ("-multi-turn" if len(turns) > 1 else "")

    def _asked(self, name: str, fields: Mapping[str, str]) -> Asked:
        record = self._records.get(name)
        if record is None:
            raise DataError(
                f"{self._file}: there is no prompt {name!r}; it has: {', '.join(sorted(self._records))}"
            )
        template = record.text("prompt_template")
        unknown = [field for field in _FIELD.findall(template) if field not in fields]
        if unknown:
            raise record.error("prompt_template", f"asks for {{{unknown[0]}}}, which is not known here")
        content = _FIELD.sub(lambda match: fields[match[1]], template)
        expected = record.optional_text("output_format") or "[[rating]]"
        ratings = 0 if expected.strip() in ("[[A]]", "[[C]]") else len(_EXPECTED.findall(expected))
        messages = [{"role": "user", "content": content}]
        if system := record.values.get("system_prompt"):
            messages.insert(0, {"role": "system", "content": str(system)})
        return Asked(name, messages, ratings)


def _shared(category: str | None, turns: Sequence[Turn], references: Sequence[str]) -> dict[str, str]:
    fields = {"rubric": _RUBRICS.get(category or "", ""), "question": turns[-1].question}
    fields |= {f"question_{place}": turn.question for place, turn in enumerate(turns, start=1)}
    return fields | {f"ref_answer_{place}": text for place, text in enumerate(references, start=1)}


def _conversation(turns: Sequence[Turn]) -> dict[str, str]:
    fields = {f"answer_{place}": turn.answer for place, turn in enumerate(turns, start=1)}
    return {**fields, "answer": turns[-1].answer}
