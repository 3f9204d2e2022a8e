"""Before the first example: calibration and `target_skip`, or what the cache remembers of them."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch

from methods.shared.method import Method
from methods.shared.profile import Profile
from methods.shared.target import TargetParams
from models.batch import Batch
from runners.decoding import Decoding
from runners.errors import RunError
from runners.halving import told_if_too_large
from runners.notices import say
from runners.prompts import PromptEncoder, selection
from runners.settings import Job
from runners.target_skip import ROWS, Skip, Solution, cached, solve, with_value
from tasks.base import Example, Task
from tasks.errors import DataError

# What makes a calibration skip worth quoting.
_LEAST_STEPS = 500


def calibration_examples(job: Job, method: Method, task: Task) -> list[Example]:
    """What the method is calibrated or `target_skip` solved on; nothing if it needs neither, or nothing is
    there.

    It may be called before `bind`, when some methods do not know yet which parameter is solved: those get the
    examples in case they need them.
    """
    target = method.params.target_skip if isinstance(method.params, TargetParams) else None
    given = method.solves is not None and getattr(method.params, method.solves.name) is not None
    if not method.needs_calibration and (target is None or given):
        return []
    # What is missing is told by `prepared`, which knows whether it is needed.
    with contextlib.suppress(DataError):
        return selection(task.calibration(), job.runner.calibration_prompts)
    return []


def prepared(
    job: Job,
    method: Method,
    task: Task,
    examples: list[Example],
    decoding: Decoding,
    encoder: PromptEncoder,
    conditions: dict[str, Any],
) -> tuple[Method, Solution | None]:
    """The method ready to decode, and how its parameter was solved (None: it was not).

    Parameters
    ----------
    examples
        Of `calibration_examples`.

    Raises
    ------
    RunError
        `target_skip` is out of reach, or there is nothing to calibrate on.
    """
    to_solve = wants_solving(method)
    if not (to_solve or method.needs_calibration):
        return method, None
    examples = examples or selection(task.calibration(), job.runner.calibration_prompts)
    prompts = [encoder.encode(task.prompt(example, 0, ()), example.example_id) for example in examples]
    keys = [(example.example_id, 0) for example in examples]
    # Where rows have to agree, what is skipped depends on how many there are.
    rows = job.settings.batch_size if method.batch_policy == "all" else ROWS
    key = {
        "rows": rows,
        "conditions": {
            name: value for name, value in conditions.items() if name not in ("batch_size", "threads")
        },
        "method": [job.method_name, dataclasses.asdict(job.method)],
        "prompts": [prompt.sha256 for prompt in prompts],
        "temperatures": [example.temperature for example in examples],
    }

    def read() -> Iterator[Batch]:
        for start in range(0, len(prompts), ROWS):
            ids = [one.ids for one in prompts[start : start + ROWS]]
            yield decoding.batch(method, ids, keys[start : start + ROWS])

    def calibration() -> dict[str, Any]:
        with torch.inference_mode(), told_if_too_large(min(ROWS, len(prompts))):
            method.calibrate(read())
        return method.calibration

    if method.needs_calibration:
        cached({**key, "what": "calibration"}, calibration, method.restore)
    if not to_solve:
        return method, None

    def solution() -> dict[str, Any]:
        assert method.solves is not None
        say(
            f"Solving {method.solves.name} for {method.params.target_skip:g} skipped, on {len(prompts)} "
            "calibration prompts"
        )
        temperatures = [example.temperature for example in examples]
        measure = Skip(decoding, prompts, keys, temperatures, method.params.target_unit, rows)
        # One for all targets; and for all methods, if they decide by no state.
        params = dataclasses.asdict(dataclasses.replace(job.method, target_skip=None))
        by = None if type(method).signal is Method.signal else [job.method_name, params]
        profile_key = {**key, "method": by, "what": "profile"}
        seen = None
        if method.foretells:
            seen = cached(profile_key, lambda: measure.profile(method).as_json(), Profile.of_json)
        return dataclasses.asdict(solve(method, measure, len(prompts), seen))

    found = cached({**key, "what": "solution"}, solution, lambda stored: Solution(**stored))
    more = len(task.calibration()) - len(prompts)
    # Where all there are were used, no more can be asked for.
    if found.steps < _LEAST_STEPS and more:
        raise RunError(
            f"target_skip was solved on only {found.steps} decode steps, fewer than {_LEAST_STEPS}; raise "
            f"runner.calibration_prompts (there are {len(prompts) + more})"
        )
    return with_value(method, found.value), found


def wants_solving(method: Method) -> bool:
    """Whether `target_skip` is set and the parameter it solves is not."""
    params = method.params
    return (
        method.solves is not None
        and isinstance(params, TargetParams)
        and params.target_skip is not None
        and getattr(params, method.solves.name) is None
    )
