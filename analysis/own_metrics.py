"""Metrics that a task declares: as columns of their own, in a table, and as planes of the figures."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis import cells
from analysis.figures.points import SPEEDUP, Plane, Quantity
from analysis.tables import Record, Setting, run_names, table

_FIELD = "score_{}"


def with_own_metrics(found: Sequence[Setting]) -> list[Setting]:
    """The runs with their tasks' own metrics as `score_<name>`, `score_<name>_lo`, `_hi` and
    `full_score_<name>`."""
    return [(title, [run | columns_of(run) for run in runs]) for title, runs in found]


def columns_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of one run; none if its task declares nothing."""
    own = {_FIELD.format(name): value for name, value in _means(run, "score_means").items()}
    return own | {f"full_score_{name}": value for name, value in _means(run, "full_score_means").items()}


def flat(metrics: pd.DataFrame) -> pd.DataFrame:
    """A frame of `load_metrics` in which every value is a number or a text."""
    own = pd.DataFrame([columns_of(run) for run in metrics.to_dict("records")], index=metrics.index)
    lower = metrics["lower_is_better"].map(lambda names: _listed(names) if _is_list(names) else None)
    whole = metrics.assign(lower_is_better=lower).drop(columns=["score_means", "full_score_means"])
    return pd.concat([whole, own], axis=1)


def own_planes(runs: Sequence[Record]) -> list[Plane]:
    """Each own metric of some runs over decode speedup."""
    planes: dict[str, Plane] = {}
    for run in runs:
        lower: Any = run.get("lower_is_better")
        for name in _means(run, "full_score_means"):
            file = f"pareto-score-{re.sub('[^A-Za-z0-9.]+', '_', name)}-speedup"
            better = not (_is_list(lower) and name in list(lower))
            quantity = Quantity(_FIELD.format(name), name, f"full_score_{name}", better)
            planes.setdefault(name, Plane(file, SPEEDUP, quantity))
    return list(planes.values())


def own_metrics_markdown(found: Sequence[Setting]) -> str:
    """A table of each setting whose task has metrics of its own."""
    parts = []
    for title, runs in found:
        names = run_names(runs)
        rows = [
            {
                "metric": name,
                "method": names.get(run["run_id"], run["method"]),
                "mean": _interval(run, name),
                "full model": cells.number(run.get(f"full_score_{name}")),
            }
            for name in dict.fromkeys(name for run in runs for name in _means(run, "full_score_means"))
            for run in runs
        ]
        if rows:
            parts.append(f"## {title}: the task's own metrics\n\n{table(pd.DataFrame(rows))}\n\n")
    return "".join(parts)


def _means(run: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    means = run.get(column)
    return means if isinstance(means, Mapping) else {}


def _is_list(value: Any) -> bool:
    return value is not None and not isinstance(value, str | float)


def _listed(names: Any) -> str:
    return " ".join(map(str, names))


def _interval(run: Record, name: str) -> str:
    mean, lo, hi = (run.get(f"score_{name}{end}") for end in ("", "_lo", "_hi"))
    return cells.interval(mean, lo, hi, "{:.3f}")
