"""Runs as points of a plane: two quantities with their 95 % limits, and whether another run beats them."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.pareto import front
from analysis.tables import Record, Setting, mark, point_label
from runners.schema import RIGHT, WRONG
from runners.statistics import clustered_mean_interval

NEW = "new_hallucination_rate"


@dataclass(frozen=True)
class Quantity:
    """One axis.

    Attributes
    ----------
    field : str
        The metric; its limits are in `<field>_lo` and `<field>_hi`, where there are any.
    title : str
    full : float or str
        The full model's value, or the metric that has it.
    larger : bool
        Whether more is better.
    """

    field: str
    title: str
    full: float | str
    larger: bool = True


SPEEDUP = Quantity("speedup", "decode speedup", 1.0)
IDEAL = Quantity("ideal_speedup", "ideal speedup", 1.0)
SKIP = Quantity("realised_skip_weighted", "realised skip", 0.0)
QUALITY = Quantity("quality", "quality", "full_quality")
NEW_HALLUCINATIONS = Quantity(NEW, "new hallucinations", 0.0, larger=False)


@dataclass(frozen=True)
class Plane:
    """One figure: its file name and its axes."""

    name: str
    x: Quantity
    y: Quantity


FRONTS = (
    Plane("pareto-quality-speedup", SPEEDUP, QUALITY),
    Plane("pareto-hallucination-speedup", SPEEDUP, NEW_HALLUCINATIONS),
    Plane("pareto-quality-skip", SKIP, QUALITY),
)
AGAINST_IDEAL = Plane("speed-ideal", IDEAL, SPEEDUP)


def points(runs: Sequence[Record], plane: Plane) -> pd.DataFrame:
    """The runs of one setting that have both quantities, after the full model they are compared with.

    Returns
    -------
    DataFrame
        method, label, skip, mark, lossless, untrained, x, x_lo, x_hi, y, y_lo, y_hi, and `front`: not beaten
        in both quantities, neither by a run nor by the full model. Empty if no run has both. `skip` is the
        realised one, None where an axis shows it.
    """
    methods = [run for run in runs if run["method"] != "full"]
    rows = [
        {
            "method": run["method"],
            "label": point_label(run, methods),
            "skip": None if SKIP in (plane.x, plane.y) else run.get(SKIP.field),
            "mark": mark(run),
            "lossless": bool(run.get("lossless")),
            "untrained": bool(run.get("untrained_ablation")),
            **_values(run, plane.x, "x"),
            **_values(run, plane.y, "y"),
        }
        for run in methods
    ]
    columns = [
        "method",
        "label",
        "skip",
        "mark",
        "lossless",
        "untrained",
        "x",
        "x_lo",
        "x_hi",
        "y",
        "y_lo",
        "y_hi",
    ]
    frame = pd.DataFrame(rows, columns=columns).dropna(subset=["x", "y"])
    if frame.empty:
        return frame.assign(front=False)
    frame = pd.concat([_full(methods, plane, columns), frame], ignore_index=True)
    return frame.assign(front=front(frame, "x", "y", plane.x.larger, plane.y.larger))


def with_new_hallucination_limits(settings: Sequence[Setting], samples: pd.DataFrame) -> list[Setting]:
    """The runs with 95 % limits of their rates of new hallucinations, from their answers.

    Parameters
    ----------
    settings
        From `tables.settings`.
    samples
        Answers of these runs and perhaps of others: run_id, example_id, outcome, full_outcome.
    """
    pairs = samples[["run_id", "example_id", "outcome", "full_outcome"]].dropna(
        subset=["run_id", "outcome", "full_outcome"]
    )
    new = (pairs["outcome"].isin(WRONG) & pairs["full_outcome"].isin(RIGHT)).to_numpy()
    examples = pairs["example_id"].to_numpy()
    limits = {}
    for run_id, places in pairs.groupby("run_id").indices.items():
        _, lo, hi = clustered_mean_interval(new[places], examples[places].tolist())
        limits[run_id] = {f"{NEW}_lo": lo, f"{NEW}_hi": hi}
    return [
        (title, [run | (limits.get(run["run_id"], {}) if run.get(NEW) is not None else {}) for run in runs])
        for title, runs in settings
    ]


def _values(run: Record, quantity: Quantity, axis: str) -> dict[str, float | None]:
    return {f"{axis}{end}": run.get(f"{quantity.field}{end}") for end in ("", "_lo", "_hi")}


def _full(runs: Sequence[Record], plane: Plane, columns: Sequence[str]) -> pd.DataFrame:
    """The full model's point, if a run knows it: one row or none."""
    for run in runs:
        x, y = (
            quantity.full if isinstance(quantity.full, float) else run.get(quantity.full)
            for quantity in (plane.x, plane.y)
        )
        # A setting is full of paired runs or of runs alone; the latter have no full model to stand beside.
        if x is not None and y is not None and run.get("full_quality") is not None:
            row = {
                "method": "full",
                "label": "",
                "skip": None,
                "mark": "",
                "lossless": True,
                "untrained": False,
                "x": x,
                "y": y,
            }
            return pd.DataFrame([row], columns=columns)
    return pd.DataFrame(columns=columns)
