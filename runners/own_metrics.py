"""Means of the scores that a task declares as metrics of its own."""

from collections.abc import Iterable
from typing import Any

from runners.columns import Rows
from runners.statistics import clustered_mean_interval


def own_metrics(rows: Rows, names: Iterable[str]) -> dict[str, Any]:
    """Return `score_means` and `full_score_means`: by name the mean of a score, and in the first also its
    95 % limits as `<name>_lo` and `<name>_hi`, clustered by example; null where no answer has the score.

    Parameters
    ----------
    rows
        Rows with `scores` and `full_scores`.
    names
        Of the scores.
    """
    own: dict[str, float | None] = {}
    full: dict[str, float | None] = {}
    for name in names:
        for column, found in (("scores", own), ("full_scores", full)):
            known = [row for row in rows if (row.get(column) or {}).get(name) is not None]
            clusters = [row.get("example_id") for row in known]
            mean = clustered_mean_interval([row[column][name] for row in known], clusters)
            found[name] = mean.estimate
            if column == "scores":
                found |= {f"{name}_lo": mean.lo, f"{name}_hi": mean.hi}
    return {"score_means": own or None, "full_score_means": full or None}


def names_of(record: Any) -> list[str]:
    """The names of the metrics that a record has of its own."""
    return list(record.get("full_score_means") or {})
