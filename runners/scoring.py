"""The scores of stored answers: a run scores at its end, and is scored anew in the same way."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tasks.base import Answer, Score, Task
from tasks.scoring.collapse import loops

# The outcome of an output that the length limit ended before its answer began.
CUT_OFF = "cut off"


def scored(task: Task, row: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of both sides of a row, from its stored columns, as columns."""
    full = _answer_of(row, "full_", None)
    own = _answer_of(row, "", full)
    return {
        prefix + name: value
        for prefix, answer in (("full_", full), ("", own))
        if answer is not None
        for name, value in _score_columns(_score(task, answer, row, prefix)).items()
    }


def _score(task: Task, answer: Answer, row: Mapping[str, Any], prefix: str) -> Score:
    score = task.score(answer)
    if not is_cut_off(row, prefix):
        return score
    # No attempt, so neither wrong nor degenerate, unless the thoughts themselves are.
    looped = loops(row[f"{prefix}output_ids"])
    outcome = None if score.outcome is None else CUT_OFF
    return dataclasses.replace(score, outcome=outcome, collapsed=looped)


def is_cut_off(row: Mapping[str, Any], prefix: str = "") -> bool:
    """Whether the length limit ended an output before its answer began; `prefix`: `full_` for the other
    side."""
    return (
        row.get(f"{prefix}thoughts") is not None
        and row[f"{prefix}finish_reason"] == "length"
        # Blank lines behind the mark are no answer.
        and not row[f"{prefix}output_text"].strip()
    )


def _answer_of(row: Mapping[str, Any], prefix: str, baseline: Answer | None) -> Answer | None:
    if row.get(f"{prefix}output_text") is None:
        return None
    return Answer(
        text=row[f"{prefix}output_text"],
        output_ids=row[f"{prefix}output_ids"][row.get(f"{prefix}thought_tokens") or 0 :],
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
