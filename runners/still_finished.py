"""Whether a run that was finished on another machine is still what a job asks for."""

import dataclasses
from pathlib import Path

from methods.shared.registry import method_class
from models.loading import model_revision
from runners import identity
from runners.errors import RunError
from runners.finished import scoring_to_redo
from runners.prepare import calibration_examples
from runners.prompts import selection
from runners.reuse import stored_config
from runners.settings import Job
from runners.storage import finished_run
from runners.study import Status
from runners.user_errors import USER_ERRORS
from runners.wandb_logger import is_promised
from tasks import registry as tasks


def still_finished(status: Status, job: Job) -> Path | None:
    """The folder of the run that a job left, if nothing is left to do for it, else None.

    What names a run belongs in part to the machine: its device, its threads, what `auto` means there. These
    are taken from the finished run, and all the rest anew from the job: configurations and data may have
    changed. Whatever keeps it from being known here (a model that only the nodes have) is for the job to
    find out.
    """
    if status.run is None or job.settings.force or job.judge.name != "none":
        return None
    try:
        run = finished_run(Path(status.run))
        if is_promised(run.path) or run.run_id != _name(job, stored_config(run), run.read_metrics()):
            return None
        return None if scoring_to_redo(run, job) else Path(status.run)
    except USER_ERRORS:
        return None


def _name(job: Job, config: dict, metrics: dict) -> str:
    """What the job's run would be called on the machine of a finished one."""
    settings = job.settings
    for key in ("device", "dtype", "threads"):
        if config.get(key) != getattr(settings, key):
            raise RunError(f"{key} differs")
    task = tasks.create(job.task_name, job.task)
    method = method_class(job.method_name)(job.method)
    # By names that every machine has.
    here = dataclasses.replace(job, settings=dataclasses.replace(settings, device="cpu", dtype="float32"))
    max_new_tokens = settings.max_new_tokens or task.max_new_tokens
    conditions = identity.conditions(here, model_revision(job.model), max_new_tokens)
    conditions |= {key: metrics[key] for key in ("device", "dtype", "threads")}
    examples = selection(task.load(), settings.limit)
    return identity.run_id(job, conditions, task, examples, calibration_examples(job, method, task))
