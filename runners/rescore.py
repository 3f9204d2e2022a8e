"""New scores and metrics from stored outputs, without a model."""

from pathlib import Path
from typing import Any

from runners.errors import RunError
from runners.metrics import summarise
from runners.pair import score_columns
from runners.reuse import stored_config
from runners.storage import RunFolder
from tasks import registry as tasks
from tasks.base import Answer, Task


def rescore(path: Path) -> dict[str, Any]:
    """Score a finished run again with the code and scoring of today.

    Returns
    -------
    dict
        The new metrics record, which has replaced the old one.

    Raises
    ------
    RunError
        No finished run is there.
    """
    if not path.is_dir():
        raise RunError(f"{path} is not a folder; give the folder of a finished run, results/<run_id>")
    run = RunFolder(path.resolve().parent, path.resolve().name)
    if not run.is_done():
        raise RunError(f"{path} is not a finished run (it has no DONE); run its command again to finish it")
    with run.lock():
        config = stored_config(run)
        task = tasks.create(config["task"]["name"], config["task"])
        rows = [row | _scored(task, row, "") | _scored(task, row, "full_") for row in run.read_rows()]
        facts = {**run.read_metrics(), "task_version": str(task.version)}
        metrics = summarise(rows, facts, seed=facts["seed"] or 0)
        run.finish(rows, metrics)
    return metrics


def _scored(task: Task, row: dict[str, Any], prefix: str) -> dict[str, Any]:
    if row[f"{prefix}output_text"] is None:
        return {}
    answer = Answer(
        text=row[f"{prefix}output_text"],
        output_ids=row[f"{prefix}output_ids"],
        finish_reason=row[f"{prefix}finish_reason"],
        references=row["reference"],
        prompt=row["prompt"],
        question=row["question"],
    )
    return {prefix + name: value for name, value in score_columns(task.score(answer)).items()}
