"""MT-Bench: open conversations, in its own set of two turns and in eight categories.

Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", NeurIPS 2023; the questions of the
paper are FastChat's `question.jsonl`. There is no right answer to compare with. Without a judge, quality is
how far an answer agrees with the full model's: it says what a method changes, not whether that is worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.base import Answer, Example, Message, Score, Task
from tasks.config import TaskConfig, check_choice
from tasks.errors import DataError
from tasks.judges.prompts import NEEDS_REFERENCE
from tasks.scoring.collapse import collapse_scores, has_collapsed
from tasks.scoring.finders import check_names, finder
from tasks.scoring.rouge import agreement
from tasks.scoring.support import unsupported
from tasks.sources.faults import STRICT, Faults
from tasks.sources.identifiers import with_ids
from tasks.sources.record import Record

# FastChat, llm_judge/common.py: categories with a right answer are decoded greedily.
TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
# FastChat's for a category that its table does not have.
_OTHER = 0.7


@dataclass(frozen=True)
class MTBenchConfig(TaskConfig):
    """Options of `mtbench`, beside those of every task.

    Parameters
    ----------
    temperatures
        `category`: each category's own, as FastChat has it; the run's `temperature` has to be 0 then.
        `shared`: the run's.
    names
        How names are found for the hallucination proxy: `spacy`, `rules`, or `auto` for spaCy where it is
        installed.
    """

    SCORING = ("names",)

    name: str = "mtbench"
    max_new_tokens: int = 128
    temperatures: str = "category"
    names: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("format", self.format, ("auto", "jsonl"))
        check_choice("temperatures", self.temperatures, ("category", "shared"))
        check_names(self.names)


class MTBench(Task):
    """The MT-Bench task."""

    name = "mtbench"
    # 2: words of other scripts are compared. 3: numbers in them by value, texts of signs alone.
    version = 3
    Config = MTBenchConfig
    config: MTBenchConfig

    @property
    def quality_metric(self) -> str:
        """`agreement`."""
        return "agreement"

    def examples_from(self, records: Sequence[Record], faults: Faults = STRICT) -> list[Example]:
        """Read {question_id, category, turns}, with a `reference` a turn where there is one."""
        return with_ids(records, self._example, faults)

    def _example(self, record: Record) -> Example:
        turns = record.texts("turns", repeats=True)
        category = record.text("category")
        references = _references(record, needed=category in NEEDS_REFERENCE)
        own = self.config.temperatures == "category"
        return Example(
            record.identifier("question_id") or record.identifier("id") or "",
            category,
            turns[0],
            references,
            turns,
            TEMPERATURES.get(category, _OTHER) if own else None,
        )

    def prompt(self, example: Example, turn: int, answers: Sequence[str]) -> list[Message] | str:
        """Return the conversation up to the user's turn number `turn`, with the answers given before."""
        if len(answers) != turn or turn >= len(example.turns):
            raise ValueError(
                f"turn {turn} of {len(example.turns)} was asked for after {len(answers)} answers"
            )
        messages = []
        for said, answer in zip(example.turns, answers, strict=False):
            messages += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
        return [*messages, {"role": "user", "content": example.turns[turn]}]

    def score(self, answer: Answer) -> Score:
        """Score an answer: quality is its agreement with the full model's, which agrees with itself.

        There is no outcome: whether an open answer is right takes a judge. `unsupported` counts the names and
        numbers that neither the prompt nor the full model's answer contains.
        """
        scores = collapse_scores(answer.text, answer.output_ids, answer.finish_reason)
        collapsed = has_collapsed(answer.text, answer.output_ids)
        other = answer.baseline
        if other is None:
            return Score(1.0 if answer.is_baseline else None, None, collapsed, scores)
        scores |= {
            "agreement": agreement(answer.text, other.text),
            "shared_prefix": shared_prefix(answer.output_ids, other.output_ids),
            "unsupported": float(
                len(unsupported(answer.text, [answer.prompt, other.text], finder(self.config.names)))
            ),
        }
        return Score(scores["agreement"], None, collapsed, scores)


def _references(record: Record, needed: bool) -> tuple[str, ...]:
    """The reference of each turn; empty where there is none, as FastChat has it here and there.

    Answers are not scored against them: where no judge reads them, one of another shape is none.
    """
    try:
        return record.texts_or_gaps("reference")
    except DataError:
        if needed:
            raise
        return ()


def shared_prefix(ids: Sequence[int], other: Sequence[int]) -> float:
    """Return the share of the longer output's tokens before the first that differs."""
    longest = max(len(ids), len(other))
    same = 0
    while same < min(len(ids), len(other)) and ids[same] == other[same]:
        same += 1
    return same / longest if longest else 1.0
