"""What maps and histograms show: skips by layer, quality by category and length, exits, accepted tokens."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analysis.tables import Record, point_label
from runners.statistics import clustered_mean_interval

# More rows than that cannot be read; then the runs of a method stand together.
MOST_ROWS = 40


@dataclass(frozen=True)
class Row:
    """One row of a map: a run, or the runs of one method."""

    name: str
    method: str
    run_ids: tuple[str, ...]


def rows_of(runs: Sequence[Record], most: int = MOST_ROWS) -> list[Row]:
    """Runs of methods in the order of method and skip; where they are too many, one row a method."""
    methods = sorted(
        (run for run in runs if run["method"] != "full"),
        key=lambda run: (run["method"], run.get("realised_skip_weighted") or 0),
    )
    if len(methods) <= most:
        found, seen = [], Counter[str]()
        for run in methods:
            label = f"{run['method']} {point_label(run, methods)}".strip()
            seen[label] += 1
            # Runs of one setting can differ in what metrics do not tell.
            name = label if seen[label] == 1 else f"{label} ({seen[label]})"
            found.append(Row(name, run["method"], (run["run_id"],)))
        return found
    ids: dict[str, list[str]] = {}
    for run in methods:
        ids.setdefault(run["method"], []).append(run["run_id"])
    return [Row(f"{name} ({len(them)} runs)", name, tuple(them)) for name, them in ids.items()]


def skipped_by_layer(samples: pd.DataFrame, rows: Sequence[Row], kind: str) -> pd.DataFrame:
    """Share of decode steps in which a layer's sub-layer did not run.

    Parameters
    ----------
    samples
        Answers with `<kind>_run_by_layer` and `<kind>_total`.
    rows
    kind
        attention or ffn.

    Returns
    -------
    DataFrame
        One row a row of the map that knows its layers, one column a layer from 0; 0 to 1.
    """
    by_layer, total = f"{kind}_run_by_layer", f"{kind}_total"
    asked = samples["run_id"].isin([run_id for row in rows for run_id in row.run_ids])
    known = samples.loc[asked & samples[by_layer].notna() & (samples[total] > 0), ["run_id", by_layer, total]]
    runs = {}
    for run_id, group in known.groupby("run_id"):
        counted = np.vstack(group[by_layer].tolist()).sum(axis=0)
        runs[run_id] = (counted, group[total].sum() / len(counted))
    found = {}
    for row in rows:
        own = [runs[name] for name in row.run_ids if name in runs]
        if own:
            run, steps = (sum(part) for part in zip(*own, strict=True))
            found[row.name] = 1 - run / steps
    return pd.DataFrame.from_dict(found, orient="index")


@dataclass(frozen=True)
class Differences:
    """Estimates in one row a row of the map and one column a value: their means, 95 % limits and numbers of
    answers; NaN where there is no pair, or too few for limits."""

    values: pd.DataFrame
    lo: pd.DataFrame
    hi: pd.DataFrame
    n: pd.DataFrame


def difference_by(samples: pd.DataFrame, rows: Sequence[Row], column: str) -> Differences:
    """Mean difference in quality to the full model, by the values of a column; limits are clustered by
    example."""
    pairs = samples.dropna(subset=["quality", "full_quality", column])
    names = {run_id: row.name for row in rows for run_id in row.run_ids}
    pairs = pairs[pairs["run_id"].isin(names.keys())].reset_index(drop=True)
    by = [pairs["run_id"].map(names), pairs[column]]
    differences = (pairs["quality"] - pairs["full_quality"]).groupby(by, observed=True)
    lo, hi = {}, {}
    for cell, those in differences:
        interval = clustered_mean_interval(those, pairs.loc[those.index, "example_id"].tolist())
        lo[cell], hi[cell] = interval.lo, interval.hi
    means, n = differences.mean().unstack(), differences.count().unstack()
    order = [row.name for row in rows if row.name in means.index]
    lower, upper = (_table(part, means).reindex(order) for part in (lo, hi))
    return Differences(means.reindex(order), lower, upper, n.reindex(order))


def _table(cells: Mapping[Any, float | None], like: pd.DataFrame) -> pd.DataFrame:
    found = [[cells.get((row, column)) for column in like.columns] for row in like.index]
    return pd.DataFrame(found, index=like.index, columns=like.columns, dtype=float)


def thirds(values: pd.Series) -> pd.Series:
    """Which third a length is in, as an ordered category; all missing if the lengths are all alike."""
    known = values.dropna()
    edges = (
        sorted(
            {float(known.quantile(part, interpolation="lower")) for part in (1 / 3, 2 / 3)} - {known.max()}
        )
        if len(known)
        else []
    )
    if not edges:
        return pd.Series(None, index=values.index, dtype="object")
    names = [
        f"≤ {edges[0]:.0f}",
        *(f"{lo + 1:.0f} to {hi:.0f}" for lo, hi in pairwise(edges)),
        f"> {edges[-1]:.0f}",
    ]
    return pd.cut(values, [-np.inf, *edges, np.inf], labels=names)


def shares_of(samples: pd.DataFrame, row: Row, column: str) -> pd.Series:
    """The share of each number in a column of lists, by rising number; empty if there are none."""
    lists = samples.loc[samples["run_id"].isin(row.run_ids) & samples[column].notna(), column]
    if lists.empty:
        return pd.Series(dtype=float)
    numbers, counts = np.unique(np.concatenate(lists.tolist()), return_counts=True)
    return pd.Series(counts / counts.sum(), index=numbers)
