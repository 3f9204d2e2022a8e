"""Results by category: subjects of questions, lengths of articles, kinds of conversation."""

import pandas as pd

from analysis import cells
from runners.statistics import clustered_mean_interval


def by_category(samples: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Quality by run and category, beside the full model's, as text.

    Parameters
    ----------
    samples
        A frame of `load_samples`.
    names
        What each run is called, by run_id; others are left out.

    Returns
    -------
    DataFrame
        One row a run and category; empty if no row has a category.
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
                "method": names[run_id],
                "answers": str(len(group)),
                "quality": cells.mean(group["quality"]),
                "full": cells.mean(group["full_quality"]),
                "difference": cells.interval(delta.estimate, delta.lo, delta.hi),
                "collapsed": cells.share(group["collapsed"]),
                "hallucinated": cells.share(group["hallucinated"]),
                "full hallucinated": cells.share(group["full_hallucinated"]),
            }
        )
    return pd.DataFrame(rows)


def by_score(samples: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """The mean of every score by run, and the full model's, as text; parameters as in `by_category`."""
    known = samples[samples["run_id"].isin(names.keys())]
    rows = []
    for (task, run_id), group in known.groupby(["task", "run_id"], sort=True):
        own, full = (
            pd.DataFrame([scores for scores in group[column] if scores])
            for column in ("scores", "full_scores")
        )
        for score in own.columns:
            theirs = full[score] if score in full else pd.Series(dtype=float)
            rows.append(
                {
                    "task": task,
                    "score": score,
                    "method": names[run_id],
                    "mean": cells.mean(own[score]),
                    "full": cells.mean(theirs),
                }
            )
    frame = pd.DataFrame(rows)
    return frame if frame.empty else frame.sort_values(["task", "score", "method"], kind="stable")
