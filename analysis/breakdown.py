"""Results by category: subjects of questions, lengths of articles, kinds of conversation."""

import numpy as np
import pandas as pd

from analysis import cells
from analysis.tables import records_of
from runners.statistics import paired_difference_interval

_MEANS = ("quality", "full_quality", "collapsed", "hallucinated", "full_hallucinated")


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
    keys = ["task", "category", "run_id"]
    means = (
        known.assign(**{name: known[name].astype(float) for name in _MEANS}).groupby(keys)[[*_MEANS]].mean()
    )
    scores = known[["quality", "full_quality"]].to_numpy(float)
    examples = known["example_id"].to_numpy()
    rows = []
    for key, places in known.groupby(keys).indices.items():
        pairs = places[~np.isnan(scores[places]).any(axis=1)]
        own, full = scores[pairs].T
        delta = paired_difference_interval(own, full, examples[pairs].tolist())
        rows.append(
            dict(zip(keys, key, strict=True))
            | {"method": names[key[2]], "answers": len(places)}
            | {"difference": delta.estimate, "difference_lo": delta.lo, "difference_hi": delta.hi}
        )
    frame = pd.DataFrame(
        rows, columns=[*keys, "method", "answers", "difference", "difference_lo", "difference_hi"]
    )
    return frame.merge(means.reset_index(), on=keys).sort_values(keys, ignore_index=True)


def category_text(values: pd.DataFrame) -> pd.DataFrame:
    """A frame of `category_values` as text."""
    return pd.DataFrame(
        {
            "task": one["task"],
            "category": one["category"],
            "method": one["method"],
            "answers": str(one["answers"]),
            "quality": cells.number(one["quality"]),
            "full": cells.number(one["full_quality"]),
            "difference": cells.interval(one["difference"], one["difference_lo"], one["difference_hi"]),
            "collapsed": cells.percent(one["collapsed"]),
            "hallucinated": cells.percent(one["hallucinated"]),
            "full hallucinated": cells.percent(one["full_hallucinated"]),
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
    numbers = {name: values[name].map(cells.number) for name in ("mean", "full")}
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
