"""What a task is: examples, prompts and scores, free of any particular task."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from tasks.config import TaskConfig
from tasks.scoring.entailment import Entailment
from tasks.sources import splits
from tasks.sources.faults import STRICT, Faults
from tasks.sources.record import Record

DATA_FOLDER = Path(__file__).parent / "data"

Message = dict[str, str]


@dataclass(frozen=True)
class Example:
    """One thing to ask.

    Parameters
    ----------
    example_id
        Stable, and unique within its source.
    category
        Group for breakdowns, or None.
    question
        What is asked.
    references
        Acceptable answers.
    turns
        The user's turns of a conversation; empty for a single turn.
    temperature
        The sampling temperature of its answers, or None for the run's.
    """

    example_id: str
    category: str | None
    question: str
    references: tuple[str, ...]
    turns: tuple[str, ...] = ()
    temperature: float | None = None

    def asked(self, turn: int) -> str:
        """What the user says in a turn."""
        return self.turns[turn] if self.turns else self.question

    @property
    def source_sha256(self) -> str:
        """SHA-256 of the canonical JSON of [question, references, and the later turns if there are any]."""
        said = [self.question, list(self.references), *([list(self.turns[1:])] if self.turns else [])]
        content = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What is stored of one generated answer, and all that scoring may look at.

    Parameters
    ----------
    text
        Generated text, cut before the end-of-sequence token or stop string, without what a reasoning model
        writes before its answer.
    output_ids
        Token ids of the same, with the token that ended the answer, if any.
    finish_reason
        `eos`, `stop` or `length`.
    references
        Acceptable answers.
    prompt
        The prompt as the model saw it.
    question
        What was asked in this turn.
    turn
        Number of the turn, from 0.
    baseline
        The full model's answer to the same turn, where there is one to compare with.
    is_baseline
        This is the full model's answer.
    """

    text: str
    output_ids: Sequence[int]
    finish_reason: str
    references: Sequence[str]
    prompt: str
    question: str
    turn: int = 0
    baseline: "Answer | None" = None
    is_baseline: bool = False


@dataclass(frozen=True)
class Score:
    """The verdict on one answer.

    Parameters
    ----------
    quality
        The task's quality metric (`Task.quality_metric`), or None where nothing can be said.
    outcome
        For a question with a right answer: `correct`, `abstained`, `collapsed` or `wrong`. For a text that
        should keep to its source: `supported`, `collapsed` or `unsupported`. Else None.
    collapsed
        Whether the text is degenerate, whatever the outcome.
    scores
        Every other number, by name.
    """

    quality: float | None
    outcome: str | None
    collapsed: bool
    scores: dict[str, float]

    @property
    def hallucinated(self) -> bool | None:
        """Whether the answer says what is not so, or not in its source; None where that is not known."""
        return None if self.outcome is None else self.outcome in ("wrong", "unsupported")


class Task(ABC):
    """One task: a subclass in a module of its own, named like `name`.

    A subclass says how a record becomes an example (`examples_from`), what the model is shown (`prompt`) and
    how an answer is scored (`score`). Where the examples come from is the same for all tasks and done here.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    Config: ClassVar[type[TaskConfig]]

    def __init__(self, config: TaskConfig) -> None:
        self.config = config
        # Given to a task that names an `entailment_model`; until then it scores without.
        self.entails: Entailment | None = None

    @property
    def max_new_tokens(self) -> int:
        """Longest answer, in tokens."""
        return self.config.max_new_tokens

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """Strings that end an answer; none unless the task says so."""
        return ()

    @property
    def prompt_style(self) -> str:
        """`chat` (a list of messages) or `fewshot` (plain text)."""
        return "chat"

    @property
    @abstractmethod
    def quality_metric(self) -> str:
        """Name of the score that is the quality."""

    @property
    def hallucination_metric(self) -> str | None:
        """What counts as a hallucination, in words; None: nothing does."""
        return None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names in `Score.scores` whose means are metrics of a run: they stand in its results, in the report
        and on fronts of their own."""
        return ()

    @property
    def lower_is_better(self) -> tuple[str, ...]:
        """Those of `metrics` of which less is better."""
        return ()

    @property
    def entailment_model(self) -> str | None:
        """Hub id or folder of a model that says whether one text follows from another; None: not needed."""
        return None

    @property
    def source_label(self) -> str:
        """The source in words: `embedded`, `file:<name>` or `hub:<dataset>[/<config>]:<split>`."""
        return splits.label(self.config)

    def load(self) -> list[Example]:
        """Return the examples that are scored, always in the same order.

        Raises
        ------
        DataError
            If the data are missing or malformed.
        """
        return list(self._examples.scored)

    def calibration(self) -> list[Example]:
        """Return examples for tuning methods, none of which is ever scored.

        Raises
        ------
        DataError
            If the data are missing or malformed, or no example is left for calibration.
        """
        return list(self._examples.calibration_or_error())

    @cached_property
    def _examples(self) -> splits.Splits[Example]:
        return splits.read(self.config, DATA_FOLDER, self.examples_from)

    @property
    def skipped(self) -> list[str]:
        """Where and why records of the source were left out (`task.on_bad_record=skip`)."""
        return list(self._examples.skipped)

    @abstractmethod
    def examples_from(self, records: Sequence[Record], faults: Faults = STRICT) -> list[Example]:
        """Turn the records of one source, in order, into examples; `tasks.sources.identifiers.with_ids` does
        that record by record.

        Raises
        ------
        DataError
            If a record is malformed or an id repeats, and `faults` does not put up with it.
        """

    @abstractmethod
    def prompt(self, example: Example, turn: int, answers: Sequence[str]) -> list[Message] | str:
        """Return what the model is shown before it answers turn `turn`, after its own earlier `answers`."""

    @abstractmethod
    def score(self, answer: Answer) -> Score:
        """Score an answer from its stored fields alone."""
