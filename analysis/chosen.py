"""Some of the runs of a results folder, by what their metrics say or by name."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.frames import AnalysisError


@dataclass(frozen=True)
class Choice:
    """Which runs a report is of; all of them if it says nothing.

    Attributes
    ----------
    where : tuple of str
        `<metric>=<value>[,<value>]`, all of which have to hold.
    runs : tuple of str
        Run ids.
    """

    where: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

    def of(self, metrics: pd.DataFrame) -> pd.DataFrame:
        """The rows of a frame of `load_metrics` that are chosen.

        Raises
        ------
        AnalysisError
            A condition cannot be read, there is no such metric or run, or no run is left.
        """
        if missing := sorted(set(self.runs) - set(metrics["run_id"])):
            raise AnalysisError(_unknown("run", missing[0], metrics["run_id"].tolist()))
        if self.runs:
            metrics = metrics[metrics["run_id"].isin(self.runs)]
        for condition in self.where:
            name, equals, values = condition.partition("=")
            if not equals:
                raise AnalysisError(f"--where {condition} is no condition; write --where method=ffnskip,full")
            if name not in metrics:
                raise AnalysisError(_unknown("metric", name, list(metrics.columns)))
            there, wanted = metrics[name], values.split(",")
            metrics = metrics[[any(_same(one, other) for other in wanted) for one in there]]
            if metrics.empty:
                known = ", ".join(sorted({_said(one) for one in there})[:12])
                raise AnalysisError(f"no run has {condition}; there are: {known}")
        return metrics

    def note(self, count: int) -> list[str]:
        """What a reader has to know of a report of some runs: a line, or none if it is of all."""
        if not (self.where or self.runs):
            return []
        told = [*self.where, *([f"{len(self.runs)} run ids"] if self.runs else [])]
        return [f"Of {count} runs only those with {', '.join(told)}; p-values are corrected for these alone."]


def _same(value: object, wanted: str) -> bool:
    if _said(value) == wanted.strip():
        return True
    try:
        return not isinstance(value, str) and float(value) == float(wanted)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _said(value: object) -> str:
    """A value as it is typed: words of YAML for what has no letters."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if pd.isna(value) else str(value)  # type: ignore[call-overload]


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"there is no {kind} {name}" + (f"; did you mean {near[0]}?" if near else "")
