"""What makes two runs the same run, and what makes them comparable."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from models.dtypes import resolve_dtype
from models.loading import devices_of, model_place, resolve_device
from runners.resources import device_name
from runners.settings import Job, parsed_moment
from tasks.base import Example, Task


def conditions(job: Job, revision: str | None, max_new_tokens: int) -> dict[str, Any]:
    """All that changes tokens or times, but for the method and the choice of examples.

    Two runs whose conditions agree may be set against each other.
    """
    settings = job.settings
    device = resolve_device(settings.device)
    return {
        "model": {
            "path": model_place(job.model),
            "revision": revision,
            "remote_code": job.model.trust_remote_code,
            **({"template": job.model.chat_template_kwargs} if job.model.chat_template_kwargs else {}),
        },
        "task": {
            # Where a file lies says nothing of what is in it, and what is in it enters by the examples.
            name: None if name in job.task.FILES else value
            for name, value in dataclasses.asdict(job.task).items()
            if name not in (*job.task.SCORING, *job.task.READING)
        },
        # Without what is not said, so that an option that is new does not rename every run.
        "engine": {key: value for key, value in dataclasses.asdict(job.engine).items() if value is not None},
        "dtype": str(resolve_dtype(settings.dtype, device)).removeprefix("torch."),
        "device": device_name(devices_of(job.engine, device)),
        "threads": torch.get_num_threads(),
        "batch_size": settings.batch_size,
        "max_new_tokens": max_new_tokens,
        "max_prompt_tokens": settings.max_prompt_tokens,
        "on_overflow": settings.on_overflow,
        "sampling": dataclasses.asdict(settings.sampler),
        "seed": settings.seed,
        "first_token": job.runner.first_token,
        "fixed_length": job.runner.fixed_length,
    }


# What a result says by a name of its own, or by its model's; a seed does not keep two runs apart.
_NAMED = ("model", "engine", "dtype", "device", "threads", "batch_size", "max_new_tokens", "seed")


def remaining(conditions: dict[str, Any], dates: Mapping[str, str], file: Sequence[Example]) -> str:
    """Eight letters for those of the `conditions` that no other column of a result has.

    Parameters
    ----------
    conditions
    dates
        Which the prompts name, by their forms: two moments of a day are one date.
    file
        Every example of the file that the task reads, of which a result has the name alone.
    """
    rest = {name: value for name, value in conditions.items() if name not in _NAMED}
    if template := conditions["model"].get("template"):
        rest["template"] = template
    if dates:
        rest["dates"] = dict(dates)
    if file:
        rest["file"] = [[one.example_id, one.source_sha256] for one in file]
    return digest(rest)[:8]


def digest(value: Any) -> str:
    """Hex SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def run_id(
    job: Job,
    conditions: dict[str, Any],
    task: Task,
    examples: Sequence[Example],
    calibration: Sequence[Example],
) -> str:
    """`<model>-<task>-<method>-<8 hex>`, the same for the same tokens and times, whatever is logged or
    judged.

    Parameters
    ----------
    task
        Shows what is asked: the solved questions of a few-shot prompt come from outside the examples. Tuning
        may take more of its calibration examples than it begins with.
    examples, calibration
        What is scored, and what tuning the method begins with; nothing if it needs none.
    """

    def asked(example: Example) -> list[Any]:
        own = [] if example.temperature is None else [example.temperature]
        return [example.example_id, example.source_sha256, task.prompt(example, 0, ()), *example.turns, *own]

    now = job.runner.now
    pool = task.calibration() if calibration else []
    content = {
        "conditions": conditions,
        "method": [job.method_name, dataclasses.asdict(job.method)],
        "baseline": job.runner.baseline,
        "replay": job.runner.replay and job.runner.replay_examples,
        **({"now": parsed_moment(now, "runner.now").isoformat()} if now is not None else {}),
        "examples": [asked(example) for example in examples],
        "calibration": [asked(example) for example in calibration],
        "pool": [[example.example_id, example.source_sha256] for example in pool],
    }
    # Neither tasks nor methods have a hyphen in their names, so the id can be taken apart from its end.
    label = re.sub(r"[^A-Za-z0-9._-]+", "_", job.model.name).strip("._-")[:60] or "model"
    return f"{label}-{job.task_name}-{job.method_name}-{digest(content)[:8]}"
