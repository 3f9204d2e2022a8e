"""The scores of stored answers: a run scores at its end, and is scored anew in the same way."""

from collections.abc import Mapping
from typing import Any

from tasks.base import Answer, Score, Task


def scored(task: Task, row: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of both sides of a row, from its stored columns, as columns."""
    full = _answer_of(row, "full_", None)
    own = _answer_of(row, "", full)
    return {
        prefix + name: value
        for prefix, answer in (("full_", full), ("", own))
        if answer is not None
        for name, value in _score_columns(task.score(answer)).items()
    }


def _answer_of(row: Mapping[str, Any], prefix: str, baseline: Answer | None) -> Answer | None:
    if row.get(f"{prefix}output_text") is None:
        return None
    return Answer(
        text=row[f"{prefix}output_text"],
        output_ids=row[f"{prefix}output_ids"],
        finish_reason=row[f"{prefix}finish_reason"],
        references=row["reference"],
        prompt=row["prompt"],
        question=row["question"],
        turn=row["turn"],
        baseline=baseline,
        is_baseline=bool(prefix),
    )


def _score_columns(score: Score) -> dict[str, Any]:
    return {
        "quality": score.quality,
        "outcome": score.outcome,
        "hallucinated": score.hallucinated,
        "collapsed": score.collapsed,
        "scores": score.scores,
    }
