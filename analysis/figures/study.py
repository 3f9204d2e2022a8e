"""Which figures a results folder has: one set for all runs that share everything but their task."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import FIGURE_COLUMNS, histograms, maps, planes
from analysis.figures.points import AGAINST_IDEAL, FRONTS, Plane, points
from analysis.figures.shares import difference_by, rows_of, shares_of, skipped_by_layer, thirds
from analysis.figures.style import save
from analysis.looks import Look, looks
from analysis.own_metrics import own_planes
from analysis.tables import UNKNOWN, Record, Setting

# What the panels of one figure share.
CONDITIONS = (
    *("model", "model_revision", "dtype", "device", "threads", "batch_size"),
    *("engine_layer", "engine_product"),
)
_MOST_HISTOGRAMS = 24
_TASK = ("source", "prompt_style", "temperature", "max_new_tokens", "examples", "conditions")
# With more runs than that it takes longer to draw than to start other processes.
_MANY = 200
Build = Callable[[], Figure]


@dataclass(frozen=True)
class Study:
    """Runs under the same conditions.

    Attributes
    ----------
    title : str
    suffix : str
        What its files' names end with, where there are several studies.
    panels : dict of str to list of Record
        The runs of every task, by the panel's title.
    """

    title: str
    suffix: str
    panels: Mapping[str, list[Record]]


def draw_studies(
    settings: Sequence[Setting], samples: pd.DataFrame, out: Path
) -> tuple[list[Path], list[str]]:
    """Draw what there is to draw; see `analysis.figures.draw_all`."""
    drawn_as = looks(run for _, runs in settings for run in runs)
    # Prompts and answers are most of the frame, and no figure shows them.
    samples = samples[[*FIGURE_COLUMNS]]
    jobs: list[Callable[[], list[Path]]] = []
    remarks: list[str] = []
    for study in studies(settings):
        ids = {run["run_id"] for runs in study.panels.values() for run in runs}
        answers = samples[samples["run_id"].isin(ids)]
        for name, build in _figures(study, answers, drawn_as):
            if isinstance(build, str):
                remarks.append(f"Not drawn: {name}{study.suffix}; {build}")
            else:
                jobs.append(partial(_drawn, build, out, name + study.suffix))
    files = _done(jobs, many=sum(len(runs) for _, runs in settings) > _MANY)
    return [path for paths in files for path in paths], remarks


def _drawn(build: Build, out: Path, name: str) -> list[Path]:
    return save(build(), out, name)


def _done(jobs: Sequence[Callable[[], list[Path]]], many: bool) -> list[list[Path]]:
    """What the jobs return; many share the processors."""
    if not (many and jobs):
        return [job() for job in jobs]
    with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1), get_context("spawn")) as workers:
        return [begun.result() for begun in [workers.submit(job) for job in jobs]]


def studies(settings: Sequence[Setting]) -> list[Study]:
    """Settings that differ in their task alone stand together."""
    groups: dict[tuple[str, ...], list[list[Record]]] = {}
    for _, runs in settings:
        groups.setdefault(tuple(str(runs[0].get(name)) for name in CONDITIONS), []).append(runs)
    telling = _telling(list(groups))
    found: list[Study] = []
    for number, (key, members) in enumerate(groups.items(), start=1):
        suffix = "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", key[place]) for place in telling)
        # Two names can become one when they lose what a file's name cannot hold.
        taken = {one.suffix for one in found}
        suffix = f"-{suffix}" if suffix else ""
        found.append(
            Study(
                _title(members[0][0]), f"{suffix}-{number}" if suffix in taken else suffix, _panels(members)
            )
        )
    return found


def _telling(keys: Sequence[tuple[str, ...]]) -> list[int]:
    """Which of the conditions tell all studies apart: as few as can be, and what can be read first."""
    told: list[int] = []
    for place in sorted(range(len(CONDITIONS)), key=lambda place: CONDITIONS[place] == "model_revision"):
        apart = {tuple(key[one] for one in (*told, place)) for key in keys}
        if len(apart) > len({tuple(key[one] for one in told) for key in keys}):
            told.append(place)
    return sorted(told)


def _title(run: Record) -> str:
    model, dtype, device, batch = (
        run.get(name) or UNKNOWN for name in ("model", "dtype", "device", "batch_size")
    )
    return f"{model} · {dtype} on {device} · batch {batch}"


def _panels(members: Sequence[list[Record]]) -> dict[str, list[Record]]:
    """Titles that tell settings apart: the task, and what else is not the same for all of its settings."""
    panels = {}
    for runs in members:
        task = runs[0]["task"]
        same = [other[0] for other in members if other[0]["task"] == task]
        told = [name for name in _TASK if len({str(one.get(name)) for one in same}) > 1 or name == "examples"]
        said = ", ".join(
            f"{runs[0].get(name)} {name}" if name == "examples" else f"{name} {runs[0].get(name)}"
            for name in told
        )
        metric = f" ({runs[0]['quality_metric']})" if runs[0].get("quality_metric") else ""
        title, number = f"{task}{metric}, {said}", 2
        while title in panels:
            title, number = f"{task}{metric}, {said} ({number})", number + 1
        panels[title] = runs
    return panels


def _figures(
    study: Study, samples: pd.DataFrame, drawn_as: Mapping[str, Look]
) -> Iterator[tuple[str, Build | str]]:
    """Names, and how the figure is made or the reason why there is none."""
    for plane in FRONTS:
        yield plane.name, _plane(study, plane, drawn_as, planes.fronts)
    for plane in own_planes([run for runs in study.panels.values() for run in runs]):
        yield plane.name, _plane(study, plane, drawn_as, planes.fronts)
    yield AGAINST_IDEAL.name, _plane(study, AGAINST_IDEAL, drawn_as, planes.against_ideal)
    yield "skip-by-layer", _skip_map(study, samples)
    yield (
        "quality-by-category",
        _difference_map(study, samples, {"category": "category"}, lambda given: given),
    )
    lengths = {
        "prompt_tokens": "tokens of the prompt",
        "full_output_tokens": "tokens of the full model's answer",
    }
    yield "quality-by-length", _difference_map(study, samples, lengths, thirds)
    # Few methods exit or draft: that others do not is nothing to remark on.
    for name, column, axis in (
        ("exit-layers", "exit_layers", "last layer that ran"),
        ("accepted-lengths", "accepted_lengths", "tokens a verification yields"),
    ):
        if samples[column].notna().any():
            yield name, _histograms(study, samples, column, axis, drawn_as)


def _plane(
    study: Study, plane: Plane, drawn_as: Mapping[str, Look], draw: Callable[..., Figure]
) -> Build | str:
    panels = {name: points(runs, plane) for name, runs in study.panels.items()}
    panels = {name: frame for name, frame in panels.items() if not frame.empty}
    if not panels:
        return f"no run has both {plane.x.title} and {plane.y.title}"
    return partial(draw, study.title, plane, panels, drawn_as)


def _skip_map(study: Study, samples: pd.DataFrame) -> Build | str:
    panels = []
    for name, runs in study.panels.items():
        # What a lossless method leaves out are drafts; its final work is whole.
        rows = rows_of([run for run in runs if not run.get("lossless")])
        found = [
            (what, skipped_by_layer(samples, rows, kind))
            for what, kind in (("attention, by layer", "attention"), ("FFN, by layer", "ffn"))
        ]
        cells = [(what, maps.Cells(frame)) for what, frame in found if not frame.empty]
        if cells:
            panels.append(maps.Panel(name, cells))
    if not panels:
        return "no run that skips has counted its layers"
    return partial(maps.draw, study.title, panels, maps.skip_scale())


def _difference_map(
    study: Study,
    samples: pd.DataFrame,
    columns: Mapping[str, str],
    grouped: Callable[[pd.Series], pd.Series],
) -> Build | str:
    """Maps by columns (with what they are), whose values are grouped among the answers of one panel."""
    panels = []
    for name, runs in study.panels.items():
        rows = rows_of(runs)
        own = samples[samples["run_id"].isin([run["run_id"] for run in runs])]
        own = own.assign(**{column: grouped(own[column]) for column in columns})
        found = [(what, difference_by(own, rows, column)) for column, what in columns.items()]
        cells = [
            (what, maps.Cells(one.values, one.lo, one.hi, one.n))
            for what, one in found
            if one.values.shape[1] > 1
        ]
        if cells:
            panels.append(maps.Panel(name, cells))
    if not panels:
        return f"no two values of {' or '.join(columns.values())} with pairs to compare"
    frames = [cells.values for panel in panels for _, cells in panel.maps]
    return partial(maps.draw, study.title, panels, maps.difference_scale(frames))


def _histograms(
    study: Study, samples: pd.DataFrame, column: str, axis: str, drawn_as: Mapping[str, Look]
) -> Build | str:
    with_any = set(samples.loc[samples[column].notna(), "run_id"])
    runs = {name: [run for run in them if run["run_id"] in with_any] for name, them in study.panels.items()}
    # Every run has its panel, or every method where they are too many.
    most = _MOST_HISTOGRAMS if sum(map(len, runs.values())) <= _MOST_HISTOGRAMS else 0
    found = []
    for name, them in runs.items():
        for row in rows_of(them, most):
            shares = shares_of(samples, row, column)
            if not shares.empty:
                title = f"{row.name}\n{name.partition(',')[0]}" if len(runs) > 1 else row.name
                found.append(histograms.Histogram(title, row.method, shares))
    if not found:
        return f"no run has {axis}"
    return partial(histograms.draw, study.title, axis, found, drawn_as)
