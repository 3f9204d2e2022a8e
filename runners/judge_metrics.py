"""A judge's verdicts as metrics."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from runners.columns import mean, rows_with
from runners.schema import GRADE_SPAN
from runners.statistics import agreed_winner, paired_difference_interval
from tasks.judges.config import JudgeConfig

Judged = Sequence[Mapping[str, Any]]


def judge_metrics(judged: Judged, config: JudgeConfig, seed: int = 0) -> dict[str, Any]:
    """Return the `judge_*` metrics.

    The difference of grades is over turns in which both sides have one, its interval clustered by
    conversation. Who won a comparison: see `statistics.agreed_winner`.
    """
    grades = {
        side: {_place(row): row["rating"] for row in judged if row["side"] == side and row.get("rating")}
        for side in ("own", "full")
    }
    both = sorted(grades["own"].keys() & grades["full"].keys())
    delta = paired_difference_interval(
        [grades["own"][place] for place in both],
        [grades["full"][place] for place in both],
        [example for example, _ in both],
        span=GRADE_SPAN,
        seed=seed,
    )
    outcomes = _outcomes(judged)
    # The same words are asked, and paid, once.
    paid = {row["question_sha256"]: row for row in judged if row.get("reply") is not None}
    return {
        "judge_score": mean(grades["own"].values()),
        "full_judge_score": mean(grades["full"].values()),
        "judge_delta": delta.estimate,
        "judge_delta_lo": delta.lo,
        "judge_delta_hi": delta.hi,
        "judge_win_rate": mean(outcome == "own" for outcome in outcomes),
        "judge_tie_rate": mean(outcome == "tie" for outcome in outcomes),
        "judge_loss_rate": mean(outcome == "full" for outcome in outcomes),
        "judge_unparsed": sum(row["parsed"] is False for row in judged),
        "judge_calls": len(paid),
        "judge_cost": _cost(list(paid.values()), config),
    }


def grades_by_part(judged: Judged) -> dict[str, float]:
    """Return the mean grades of each category and, of conversations, each turn: `judge_score/math`,
    `full_judge_score/turn 2`. A part without a grade is left out.
    """
    turns = {row["turn"] for row in judged}
    parts: dict[str, list[float]] = {}
    for row in judged:
        if row["side"] not in ("own", "full") or row.get("rating") is None:
            continue
        metric = "judge_score" if row["side"] == "own" else "full_judge_score"
        names = [row["category"]] if row["category"] else []
        names += [f"turn {row['turn'] + 1}"] if len(turns) > 1 else []
        for name in names:
            parts.setdefault(f"{metric}/{name}", []).append(row["rating"])
    return {name: math.fsum(grades) / len(grades) for name, grades in sorted(parts.items())}


def _place(row: Mapping[str, Any]) -> tuple[str, int]:
    return row["example_id"], row["turn"]


def _outcomes(judged: Judged) -> list[str]:
    """Who won each comparison of which both orders have a verdict."""
    said: dict[tuple[str, int], list[str]] = {}
    for row in judged:
        if row["side"] in ("own_first", "full_first") and row.get("winner"):
            said.setdefault(_place(row), []).append(row["winner"])
    return [outcome for verdicts in said.values() if (outcome := agreed_winner(verdicts))]


def _cost(paid: Judged, config: JudgeConfig) -> float | None:
    """None where a price or what a request took is unknown."""
    known = rows_with(paid, "prompt_tokens", "completion_tokens")
    if config.price_in is None or config.price_out is None or len(known) < len(paid):
        return None
    read, written = (sum(row[name] for row in known) for name in ("prompt_tokens", "completion_tokens"))
    return float(read * config.price_in + written * config.price_out) / 1e6
