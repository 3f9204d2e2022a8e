"""What a method does to the answers: quality, hallucination, collapse, against the full model in pairs."""

from collections.abc import Hashable
from typing import Any

import numpy as np

from runners.columns import Rows, column, column_mean, mean, quotient, rows_with
from runners.schema import RIGHT, WRONG
from runners.scoring import is_cut_off
from runners.significance import mcnemar_detectable, mcnemar_exact, minimum_detectable_difference
from runners.statistics import (
    clustered_mean_interval,
    paired_difference_interval,
    rate_difference_interval,
    span_of,
)
from tasks.scoring.collapse import MIN_TOKENS

ATTEMPTED = RIGHT + WRONG


def quality(rows: Rows, seed: int = 0) -> dict[str, Any]:
    """Return the `quality*` metrics of rows with `quality`, `full_quality` and `example_id`.

    Intervals are clustered by conversation (`example_id`). `quality_delta` is method minus full model over
    the pairs in which both have a score. `quality_p` is McNemar's exact test, for scores that are 0 or 1 with
    one turn a conversation (the test needs independent pairs), else None. `quality_mde`: what that test would
    reveal, else `significance.minimum_detectable_difference`; None beyond the scale, and where no pair
    differs and scores leave [0, 1].
    """
    scored, pairs = rows_with(rows, "quality"), rows_with(rows, "quality", "full_quality")
    own = clustered_mean_interval(column(scored, "quality"), _conversations(scored), seed=seed)
    answers, full_answers = column(pairs, "quality"), column(pairs, "full_quality")
    differences, clusters = answers - full_answers, _conversations(pairs)
    both = np.concatenate([answers, full_answers])
    delta = paired_difference_interval(answers, full_answers, clusters, seed=seed)
    if len(pairs) >= 2 and np.isin(both, (0, 1)).all() and len(set(clusters)) == len(pairs):
        discordant = int((differences > 0).sum()), int((differences < 0).sum())
        p, detectable = mcnemar_exact(*discordant), mcnemar_detectable(*discordant, len(pairs))
    else:
        p, detectable = None, minimum_detectable_difference(differences, clusters, span=span_of(both))
    return {
        "quality_n": len(scored),
        "quality": own.estimate,
        "quality_lo": own.lo,
        "quality_hi": own.hi,
        "full_quality": column_mean(rows, "full_quality"),
        "quality_delta": delta.estimate,
        "quality_delta_lo": delta.lo,
        "quality_delta_hi": delta.hi,
        "quality_p": p,
        "quality_mde": detectable,
    }


def hallucination(rows: Rows) -> dict[str, Any]:
    """Return the hallucination metrics of rows with `outcome` and `full_outcome`.

    A rate is wrong ÷ attempted, where an abstention and a collapse are no attempt. `new_hallucination_rate`
    (wrong where the full model is correct) and `repaired_rate` (the other way round) are shares of all pairs.
    """
    pairs = rows_with(rows, "outcome", "full_outcome")
    own, full = [row["outcome"] for row in pairs], [row["full_outcome"] for row in pairs]
    delta = rate_difference_interval(
        [outcome in WRONG for outcome in own],
        [outcome in ATTEMPTED for outcome in own],
        [outcome in WRONG for outcome in full],
        [outcome in ATTEMPTED for outcome in full],
        _conversations(pairs),
    )
    both = list(zip(own, full, strict=True))
    return {
        "hallucination_rate": _wrong_of_attempted(rows, "outcome"),
        "full_hallucination_rate": _wrong_of_attempted(rows, "full_outcome"),
        "new_hallucination_rate": mean(ours in WRONG and theirs in RIGHT for ours, theirs in both),
        "repaired_rate": mean(ours in RIGHT and theirs in WRONG for ours, theirs in both),
        "hallucination_delta": delta.estimate,
        "hallucination_delta_lo": delta.lo,
        "hallucination_delta_hi": delta.hi,
    }


def lengths(rows: Rows, limit: int | None = None) -> dict[str, Any]:
    """Return how answers end and what comes before them: collapse rates, share cut off by the length limit,
    mean tokens; of models that think first, the share of thoughts, and of answers that never began.

    Collapse rates are None where all answers must end before a loop could be told (`limit` tokens).
    """
    long_enough = limit is None or limit >= MIN_TOKENS
    return {
        **_thoughts(rows, ""),
        **_thoughts(rows, "full_"),
        "collapse_rate": column_mean(rows, "collapsed") if long_enough else None,
        "full_collapse_rate": column_mean(rows, "full_collapsed") if long_enough else None,
        "length_stop_rate": mean(
            row["finish_reason"] == "length" for row in rows_with(rows, "finish_reason")
        ),
        "output_tokens_mean": column_mean(rows, "output_tokens"),
        "full_output_tokens_mean": column_mean(rows, "full_output_tokens"),
    }


def _thoughts(rows: Rows, prefix: str) -> dict[str, Any]:
    """None for a model that never thinks first."""
    thinks = any(row.get(f"{prefix}thoughts") is not None for row in rows)
    answers = rows_with(rows, f"{prefix}output_tokens") if thinks else []
    tokens = sum(row.get(f"{prefix}thought_tokens") or 0 for row in answers)
    return {
        f"{prefix}thought_share": quotient(tokens, sum(row[f"{prefix}output_tokens"] for row in answers)),
        f"{prefix}cut_off_rate": mean(is_cut_off(row, prefix) for row in answers),
    }


def _conversations(rows: Rows) -> list[Hashable]:
    return [row.get("example_id") for row in rows]


def _wrong_of_attempted(rows: Rows, name: str) -> float | None:
    attempted = [row[name] for row in rows if row.get(name) in ATTEMPTED]
    return quotient(sum(outcome in WRONG for outcome in attempted), len(attempted))
