"""Factoid question answering: short questions whose answer is a name, a number or a date.

An answer is right if a reference occurs in it as a run of whole words. Containment is the quality metric
because chat models answer in sentences; exact match and F1 are recorded beside it. The default prompt is a
chat turn: few-shot answers are one or two tokens long, the first of which comes from the prefill, so that
they hardly depend on what a method skips while decoding.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tasks.base import Answer, Example, Message, Score, Task
from tasks.config import TaskConfig, check_at_least, check_choice
from tasks.errors import DataError
from tasks.scoring import containment, text
from tasks.scoring.abstention import abstains
from tasks.scoring.collapse import collapse_scores, has_collapsed
from tasks.sources.faults import STRICT, Faults
from tasks.sources.qa_formats import FORMATS, examples_from
from tasks.sources.record import Record

PROMPTS = ("chat", "fewshot")


@dataclass(frozen=True)
class FactoidQAConfig(TaskConfig):
    """Options of `factoidqa`, beside those of every task.

    Parameters
    ----------
    prompt
        `chat`: the question as a user's turn. `fewshot`: plain text, `shots` solved questions before it.
    shots
        Solved questions in a few-shot prompt, taken from the calibration questions.
    instruction
        Text put before the question of a chat prompt; empty for none. A sentence rather than a word, so that
        there is something to decode; a short one, so that the answer ends by itself.
    scoring
        `contains`: a reference occurs in the answer. `legacy_leaky`: a reference occurs anywhere in prompt
        and answer, as a substring, which is how LLM-KICK's published numbers were made. A question or a
        solved example that names the answer then counts as right, whatever the model says: for comparison
        with such numbers only.
    """

    SCORING = ("scoring",)

    name: str = "factoidqa"
    max_new_tokens: int = 48
    prompt: str = "chat"
    shots: int = 5
    instruction: str = "Answer in one short sentence."
    scoring: str = "contains"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("format", self.format, ("auto", *FORMATS))
        check_choice("prompt", self.prompt, PROMPTS)
        check_choice("scoring", self.scoring, ("contains", "legacy_leaky"))
        check_at_least("shots", self.shots, 0)


class FactoidQA(Task):
    """The factoid question answering task."""

    name = "factoidqa"
    # 2: abstentions are recognised more often. 3: numbers by value, signs in words, other scripts.
    # 4: units, dates, letters of compounds, spoken signs and fractions.
    version = 4
    Config = FactoidQAConfig
    config: FactoidQAConfig

    @property
    def quality_metric(self) -> str:
        """`contains` or `legacy_leaky`."""
        return self.config.scoring

    @property
    def hallucination_metric(self) -> str:
        """An attempted answer that is not right."""
        return "wrong answers"

    @property
    def prompt_style(self) -> str:
        """`chat` or `fewshot`."""
        return self.config.prompt

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """A few-shot answer ends with its line; a chat answer ends by itself."""
        return ("\n",) if self.config.prompt == "fewshot" else ()

    def calibration(self) -> list[Example]:
        """Return the calibration questions, without those that a few-shot prompt shows solved."""
        shown = {shot.example_id for shot in self._shots}
        return [example for example in super().calibration() if example.example_id not in shown]

    def examples_from(self, records: Sequence[Record], faults: Faults = STRICT) -> list[Example]:
        """Read records of any of the question-answer formats."""
        layout = self.config.format if self.config.source != "embedded" else "jsonl"
        return examples_from(records, layout, faults)

    def prompt(self, example: Example, turn: int, answers: Sequence[str]) -> list[Message] | str:
        """Return the chat messages or the few-shot text for a question; there is one turn, number 0."""
        if turn != 0 or answers:
            raise ValueError(f"factoidqa has a single turn, but turn {turn} was asked for")
        if self.config.prompt == "chat":
            parts = (self.config.instruction, example.question)
            return [{"role": "user", "content": "\n".join(part for part in parts if part)}]
        solved = [f"Question: {shot.question}\nAnswer: {shot.references[0]}" for shot in self._shots]
        return "\n\n".join([*solved, f"Question: {example.question}\nAnswer:"])

    def score(self, answer: Answer) -> Score:
        """Score an answer: quality is containment; outcome is correct, else collapsed, abstained or wrong.

        A looping answer that names the right thing has the outcome `correct` and the flag `collapsed`: one
        says what a reader learns, the other what happened to the text.
        """
        contains = containment.contains_any(answer.text, answer.references)
        collapsed = has_collapsed(answer.text, answer.output_ids)
        abstained = abstains(answer.text)
        scores = {
            "contains": float(contains),
            "exact_match": text.exact_match(answer.text, answer.references),
            "f1": text.f1(answer.text, answer.references),
            "abstained": float(abstained),
            # Where the question itself names the answer, repeating the question is enough to be right.
            "reference_in_question": float(containment.contains_any(answer.question, answer.references)),
            **collapse_scores(answer.text, answer.output_ids, answer.finish_reason),
        }
        if contains:
            outcome = "correct"
        elif collapsed:
            outcome = "collapsed"
        else:
            outcome = "abstained" if abstained else "wrong"
        quality = float(contains)
        if self.config.scoring == "legacy_leaky":
            seen = (answer.prompt + answer.text).lower()
            quality = float(any(reference.lower() in seen for reference in answer.references))
        return Score(quality, outcome, collapsed, scores)

    @cached_property
    def _shots(self) -> list[Example]:
        """The solved questions: chosen by hash, so that the order of the file does not matter."""
        if self.config.prompt != "fewshot" or self.config.shots == 0:
            return []
        pool = super().calibration()
        if len(pool) < self.config.shots:
            raise DataError(
                f"task.shots is {self.config.shots}, but there are only {len(pool)} calibration questions"
            )
        ranked = sorted(pool, key=lambda example: hashlib.sha256(example.question.encode()).hexdigest())
        return ranked[: self.config.shots]
