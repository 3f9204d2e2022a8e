"""Summarization of news articles: how much of the reference is said, and what is said without support.

ROUGE sees overlapping words only; the names and numbers that the article does not contain are counted beside
it. Articles of different length strain a method differently, so the category of an example is its length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tasks.base import Answer, Example, Message, Score, Task
from tasks.config import TaskConfig, check_choice
from tasks.errors import DataError
from tasks.scoring.collapse import collapse_scores, has_collapsed
from tasks.scoring.entailment import entailed
from tasks.scoring.finders import check_names, finder
from tasks.scoring.rouge import best_rouge
from tasks.scoring.support import unsupported
from tasks.sources.faults import STRICT, Faults
from tasks.sources.identifiers import with_ids
from tasks.sources.record import Record

# Words of an article: LLM-KICK's three lengths.
SHORT, LONG = 470, 790
FORMATS = ("auto", "jsonl", "xsum")


@dataclass(frozen=True)
class SummarizationConfig(TaskConfig):
    """Options of `summarization`, beside those of every task.

    Parameters
    ----------
    instruction
        Text put before the article; it says how long the summary should be.
    names
        How names are found in a summary: `spacy`, `rules`, or `auto` for spaCy where it is installed.
    nli
        Hub id or folder of a model of natural language inference; it adds the score `nli_entailed`.
    """

    SCORING = ("names", "nli")

    name: str = "summarization"
    max_new_tokens: int = 96
    instruction: str = "Summarize the following article in three sentences."
    names: str = "auto"
    nli: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("format", self.format, FORMATS)
        check_names(self.names)
        if self.nli is not None and not self.nli.strip():
            raise DataError("task.nli is empty; give a hub id or a model folder, or null")


class Summarization(Task):
    """The summarization task."""

    name = "summarization"
    # 2: words of other scripts are compared. 3: numbers in them by value, texts of signs alone.
    version = 3
    Config = SummarizationConfig
    config: SummarizationConfig

    @property
    def quality_metric(self) -> str:
        """`rougeL`."""
        return "rougeL"

    @property
    def hallucination_metric(self) -> str:
        """Which finder of names decides."""
        return f"unsupported names and numbers ({finder(self.config.names).label})"

    @property
    def entailment_model(self) -> str | None:
        return self.config.nli

    def examples_from(self, records: Sequence[Record], faults: Faults = STRICT) -> list[Example]:
        """Read {article, highlights} (CNN/DailyMail) or {document, summary} (XSum)."""
        return with_ids(records, partial(_example, layout=self.config.format), faults)

    def prompt(self, example: Example, turn: int, answers: Sequence[str]) -> list[Message] | str:
        """Return the instruction and the article as one message; there is one turn, number 0."""
        if turn != 0 or answers:
            raise ValueError(f"summarization has a single turn, but turn {turn} was asked for")
        parts = (self.config.instruction, example.question)
        return [{"role": "user", "content": "\n\n".join(part for part in parts if part)}]

    def score(self, answer: Answer) -> Score:
        """Score a summary: quality is rougeL; outcome is collapsed, unsupported or supported."""
        collapsed = has_collapsed(answer.text, answer.output_ids)
        invented = unsupported(
            answer.text, [answer.question, self.config.instruction], finder(self.config.names)
        )
        scores = {
            **best_rouge(answer.text, list(answer.references)),
            "unsupported": float(len(invented)),
            **collapse_scores(answer.text, answer.output_ids, answer.finish_reason),
        }
        if self.entails is not None:
            probability = entailed(answer.text, answer.question, self.entails)
            scores |= {} if probability is None else {"nli_entailed": probability}
        outcome = "collapsed" if collapsed else ("unsupported" if invented else "supported")
        return Score(scores["rougeL"], outcome, collapsed, scores)


def _example(record: Record, layout: str) -> Example:
    xsum = layout == "xsum" or (layout == "auto" and "document" in record and "article" not in record)
    article, summary = ("document", "summary") if xsum else ("article", "highlights")
    text = record.text(article)
    return Example(record.identifier("id") or "", bucket(text), text, (record.text(summary),))


def bucket(article: str) -> str:
    """Return short, medium or long, by the words of an article."""
    count = len(article.split())
    return "short" if count < SHORT else ("medium" if count <= LONG else "long")
