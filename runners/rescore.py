"""New scores and metrics from stored outputs, without the model that said them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from runners.entailment import give_entailment
from runners.errors import RunError
from runners.metrics import summarise
from runners.reuse import stored_config
from runners.scoring import scored
from runners.storage import finished_run
from runners.wandb_logger import forget
from tasks import registry as tasks
from tasks.base import Task


def rescore(path: Path, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Score a finished run again with the code and scoring of today.

    Parameters
    ----------
    path : Path
        Of the run.
    options : dict or None
        Options of the task to score with; what changes answers cannot be among them.

    Returns
    -------
    dict
        The new metrics record, which has replaced the old one.

    Raises
    ------
    RunError
        No finished run is there, or what its task scores with cannot be loaded.
    """
    run = finished_run(path)
    with run.lock():
        config = stored_config(run)
        task = _task(config["task"], options or {})
        give_entailment(task)
        config["task"] = dataclasses.asdict(task.config)
        rows = [row | scored(task, row) for row in run.read_rows()]
        facts = {**run.read_metrics(), "task_version": str(task.version)}
        facts["quality_metric"] = task.quality_metric
        facts["hallucination_metric"] = task.hallucination_metric
        facts |= declared_metrics(task)
        metrics = summarise(rows, facts, seed=facts["seed"] or 0)
        with run.rescoring():
            run.finish(rows, metrics)
            forget(run.path)
            # Last: it says which scoring the scores are of.
            run.write_text("config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    return metrics


def declared_metrics(task: Task) -> dict[str, Any]:
    """The facts of a run that say which scores are metrics of its task; the means follow from the rows."""
    lower = [name for name in task.metrics if name in task.lower_is_better]
    return {"full_score_means": dict.fromkeys(task.metrics), "lower_is_better": lower or None}


def _task(stored: Mapping[str, Any], options: Mapping[str, Any]) -> Task:
    """The task of a run, with other options of its scoring."""
    allowed = type(tasks.create(stored["name"], stored).config).SCORING
    for name in options:
        if name not in allowed:
            raise RunError(
                f"task.{name} may change the answers, and rescore takes them as they are; it can change: "
                f"{', '.join(f'task.{one}' for one in allowed) or 'nothing'}"
            )
    return tasks.create(stored["name"], {**stored, **options})
