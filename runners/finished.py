"""Runs that need no decoding any more: read, scored again, judged, and what was promised to W&B."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.places import same
from runners.judging import judge_run
from runners.notices import say
from runners.rescore import rescore
from runners.reuse import changed_code, stored_config
from runners.settings import Job
from runners.storage import RunFolder
from runners.wandb_logger import Destination, is_told, log_run


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes
    ----------
    metrics : dict
    folder : Path
    fresh : bool
        It was run now, at least in part.
    """

    metrics: dict[str, Any]
    folder: Path
    fresh: bool


def read_finished(run: RunFolder, job: Job) -> Finished:
    """A run that needs no decoding; it is scored again if other scoring is asked for."""
    asked = scoring_to_redo(run, job)
    if changed_code(run):
        say(f"The code of method={job.method_name} has changed since {run.run_id}; force=true runs it again")
    metrics = run.read_metrics() if asked is None else rescore(run.path, asked)
    to = Destination.of(job.logger)
    # Somebody else's run can be read all the same.
    if not is_told(run.path, to) and os.access(run.path, os.W_OK):
        with run.lock(wait=True):
            # Another process may have told it in the meantime.
            if not is_told(run.path, to):
                log_run(stored_config(run), run.read_metrics(), run.read_rows(), run.path, to)
    return judged(Finished(metrics, run.path, fresh=False), job)


def scoring_to_redo(run: RunFolder, job: Job) -> dict[str, Any] | None:
    """The scoring options of a job if a finished run was scored by others, or by them in part, else None."""
    stored = stored_config(run).get("task", {})
    asked = {name: getattr(job.task, name) for name in job.task.SCORING}
    differs = any(not same(stored.get(name), value) for name, value in asked.items())
    return asked if differs or run.is_half_rescored() else None


def judged(finished: Finished, job: Job) -> Finished:
    """A finished run with the verdicts of the judge that is asked for, which cost nothing the second time."""
    if job.judge.name == "none":
        return finished
    metrics = judge_run(finished.folder, job.judge, to=Destination.of(job.logger))
    return dataclasses.replace(finished, metrics=metrics)
