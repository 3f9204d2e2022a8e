"""What the page shows, gathered from a results folder: what was measured, its runs, and their answers."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.frames import finished_runs, unfinished_runs
from analysis.looks import Look, looks
from analysis.page.answers import CHANGES, COLUMNS, Texts, answer_rows, most_answers
from analysis.tables import HOLM, Record, Setting, run_names
from runners.schema import method_parameters
from runners.significance import quality_verdict

METRICS = (
    *("method", "task", "quality_metric", "untrained_ablation", "lossless", "speed_note", "judge"),
    *("quality", "quality_lo", "quality_hi", "full_quality"),
    *("quality_delta", "quality_delta_lo", "quality_delta_hi"),
    *("judge_score", "full_judge_score", "collapse_rate", "full_collapse_rate"),
    *("new_hallucination_rate", "new_hallucination_rate_lo", "new_hallucination_rate_hi"),
    *("speedup", "speedup_lo", "speedup_hi", "ideal_speedup", "efficiency", "realised_skip_weighted"),
    *("target_skip", "target_unit"),
)


@dataclass(frozen=True)
class Study:
    """The data of a page.

    Attributes
    ----------
    summary : dict
        `about` (what was measured), `notes`, `settings` (what runs must share to be compared), `runs`, and
        the names of changes and of the columns of answers.
    texts : list of str
        Every prompt, reference and answer, once.
    answers : list of list
        Rows of each run, in the order of the runs; texts are given by their place in `texts`.
    """

    summary: Record
    texts: list[str]
    answers: list[list[list[Any]]]


def gather(
    root: Path | str, found: Sequence[Setting], samples: pd.DataFrame, notes: Sequence[str] = ()
) -> Study:
    """Return the data of a page.

    Parameters
    ----------
    root
        The results folder, for what the rest does not say: dates, processors, runs that are not finished.
    found
        From `tables.settings`.
    samples
        A frame of `load_samples`.
    notes
        What a reader must know before believing a table.
    """
    answers_of = dict(list(samples.groupby("run_id", sort=False)))
    texts, answers = Texts(), []
    runs: list[Record] = []
    groups: list[Record] = []
    drawn_as = looks(record for _, records in found for record in records)
    most = most_answers(sum(len(records) for _, records in found))
    for title, unsorted in found:
        names = run_names(unsorted)
        records = sorted(unsorted, key=lambda one: (one["method"], one["realised_skip_weighted"] or 0))
        for record in records:
            run_id = record["run_id"]
            rows, counts = answer_rows(answers_of.get(run_id, samples.iloc[:0]), texts, most)
            answers.append(rows)
            name = names.get(run_id, record["method"])
            runs.append(_run(record, name, len(groups), counts, drawn_as[record["method"]]))
        groups.append(_group(title, records))
    summary = {
        "about": _about(Path(root), runs, [record for _, records in found for record in records]),
        "notes": list(notes),
        "settings": groups,
        "runs": runs,
        "changes": CHANGES,
        "columns": COLUMNS,
    }
    return Study(summary, texts.all(), answers)


def _run(record: Record, name: str | None, group: int, counts: dict[str, int], look: Look) -> Record:
    method = record["method"]
    given = method_parameters(record)
    return {
        **{metric: _number(record.get(metric)) for metric in METRICS},
        "run_id": record["run_id"],
        "method": method,
        "name": name or method,
        # What `run_names` puts behind the method: what tells this run from its neighbours.
        "telling": _telling(name or "", method),
        "parameters": ", ".join(f"{key}={_said(value)}" for key, value in sorted(given.items())),
        "setting": group,
        "p_holm": _number(record[HOLM]),
        "difference": quality_verdict(record, record[HOLM]),
        "counts": counts,
        "look": [look.colour, look.marker],
    }


def _telling(name: str, method: str) -> str:
    """`threshold=0.9, seed 0` of `ffnskip* (threshold=0.9), seed 0`."""
    parameters, _, seed = name.removeprefix(method).removeprefix("*").partition(", seed ")
    parts = [parameters.removeprefix(" (").removesuffix(")"), f"seed {seed}" if seed else ""]
    return ", ".join(part for part in parts if part)


def _group(title: str, records: list[Record]) -> Record:
    """What the runs of a setting share, with the full model that they are compared with."""
    beside = next((one for one in records if one.get("full_quality") is not None), {})
    detectable = [one["quality_mde"] for one in records if one.get("quality_mde") is not None]
    return {
        "title": title,
        "task": records[0].get("task"),
        "quality_metric": records[0].get("quality_metric"),
        "full_quality": _number(beside.get("full_quality")),
        "detectable": _number(max(detectable, default=None)),
    }


def _about(root: Path, runs: list[Record], records: list[Record]) -> Record:
    shown = {one["run_id"] for one in runs}
    folders = finished_runs(root)
    environments = [_environment(run) for run in folders if run.name in shown or len(folders) == len(runs)]
    days = _distinct(str(one["utc"])[:10] for one in environments if one.get("utc"))
    processors = [
        name for one in environments for name in (one.get("devices") or [one.get("cpu")] if one else [])
    ]
    return {
        "Model": _distinct(one.get("model") for one in records),
        "Task": _distinct(one.get("task") for one in records),
        "Device": _distinct(one.get("device") for one in records),
        "Processor": _distinct(processors),
        "Data type": _distinct(one.get("dtype") for one in records),
        "Date": days if len(days) < 2 else [f"{days[0]} to {days[-1]}"],
        "Code": _distinct(one.get("code_revision") for one in records),
        "Runs": [str(len(runs))],
        "Answers": [str(sum(sum(one["counts"].values()) for one in runs))],
        "Not finished": [str(count)] if (count := len(unfinished_runs(root))) else [],
    }


def _environment(run: Path) -> Record:
    """A run's `environment.json`; empty where it is missing or damaged, for it only adds to the heading."""
    try:
        environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(environment, dict) or not isinstance(environment.get("devices", []), list):
        return {}
    return environment


def _distinct(values: Iterable[Any]) -> list[str]:
    return sorted({str(value) for value in values if isinstance(value, str) and value})


def _number(value: Any) -> Any:
    """Shorten a number to five digits; everything else as it is."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _said(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
