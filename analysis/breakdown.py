"""Results by category: subjects of questions, lengths of articles, kinds of conversation."""

import pandas as pd

from analysis.tables import UNKNOWN, records_of
from runners.statistics import clustered_mean_interval


def category_values(samples: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Quality by run and category, beside the full model's.

    Parameters
    ----------
    samples
        A frame of `load_samples`.
    names
        What each run is called, by run_id; others are left out.

    Returns
    -------
    DataFrame
        One row a run and category; empty if no row has a category. `difference` is the mean over pairs, with
        its 95 % limits.
    """
    known = samples[samples["run_id"].isin(names.keys()) & samples["category"].notna()]
    rows = []
    for (task, category, run_id), group in known.groupby(["task", "category", "run_id"], sort=True):
        pairs = group.dropna(subset=["quality", "full_quality"])
        differences = pairs["quality"] - pairs["full_quality"]
        delta = clustered_mean_interval(differences, pairs["example_id"].tolist())
        rows.append(
            {
                "task": task,
                "category": category,
                "run_id": run_id,
                "method": names[run_id],
                "answers": len(group),
                "quality": _mean(group["quality"]),
                "full_quality": _mean(group["full_quality"]),
                "difference": delta.estimate,
                "difference_lo": delta.lo,
                "difference_hi": delta.hi,
                "collapsed": _mean(group["collapsed"]),
                "hallucinated": _mean(group["hallucinated"]),
                "full_hallucinated": _mean(group["full_hallucinated"]),
            }
        )
    return pd.DataFrame(rows)


def category_text(values: pd.DataFrame) -> pd.DataFrame:
    """A frame of `category_values` as text."""
    return pd.DataFrame(
        {
            "task": one["task"],
            "category": one["category"],
            "method": one["method"],
            "answers": str(one["answers"]),
            "quality": _fixed(one["quality"]),
            "full": _fixed(one["full_quality"]),
            "difference": _interval(one["difference"], one["difference_lo"], one["difference_hi"]),
            "collapsed": _share(one["collapsed"]),
            "hallucinated": _share(one["hallucinated"]),
            "full hallucinated": _share(one["full_hallucinated"]),
        }
        for one in records_of(values)
    )


def score_values(samples: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """The mean of every score by run, and the full model's; parameters as in `category_values`."""
    known = samples[samples["run_id"].isin(names.keys())]
    keys = ["task", "run_id", "score"]
    own, full = _means(known, "scores", "mean"), _means(known, "full_scores", "full")
    frame = own.merge(full, how="left", on=keys)
    frame.insert(2, "method", frame["run_id"].map(names))
    return frame.sort_values(["task", "score", "method"], kind="stable", ignore_index=True)


def score_text(values: pd.DataFrame) -> pd.DataFrame:
    """A frame of `score_values` as text."""
    columns = ["task", "score", "method", "mean", "full"]
    numbers = {name: values[name].map(_fixed) for name in ("mean", "full")}
    return values.assign(**numbers)[columns]


def _means(samples: pd.DataFrame, column: str, name: str) -> pd.DataFrame:
    """Means of a column of scores: one row a task, run and score that has any."""
    scored = samples[samples[column].notna()]
    runs = pd.MultiIndex.from_frame(scored[["task", "run_id"]])
    scores = pd.DataFrame(scored[column].tolist(), index=runs)
    if scores.empty:
        return pd.DataFrame(columns=["task", "run_id", "score", name], dtype="object")
    means = scores.groupby(level=["task", "run_id"]).mean().rename_axis(columns="score")
    return means.stack().dropna().rename(name).reset_index()


def _mean(values: pd.Series) -> float | None:
    values = values.dropna()
    return None if values.empty else float(values.astype(float).mean())


def _fixed(value: float | None) -> str:
    return UNKNOWN if value is None or pd.isna(value) else f"{value:.3f}"


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.0f} %"


def _interval(estimate: float | None, lo: float | None, hi: float | None) -> str:
    if estimate is None:
        return UNKNOWN
    return f"{estimate:+.3f}" + ("" if lo is None else f" [{lo:+.3f}, {hi:+.3f}]")
