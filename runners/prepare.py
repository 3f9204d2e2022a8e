"""Before the first example: calibration and `target_skip`, or what the cache remembers of them."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from methods.shared.method import Method
from methods.shared.profile import Profile
from methods.shared.target import TargetParams
from models.batch import Batch
from runners.decoding import Decoding
from runners.halving import told_if_too_large
from runners.method_code import method_code
from runners.notices import say
from runners.prompts import Prompt, PromptEncoder, selection
from runners.settings import Job
from runners.target_skip import ROWS, Skip, Solution, cached, solve, with_value
from tasks.base import Example, Task
from tasks.errors import DataError

# What makes a calibration skip worth quoting: where there are fewer, more prompts are taken.
_LEAST_STEPS = 500


def calibration_examples(job: Job, method: Method, task: Task) -> list[Example]:
    """What the method is calibrated or `target_skip` solved on; nothing if it needs neither, or nothing is
    there.

    Raises
    ------
    MethodError
        A target is given beside the parameter that would be solved for it.
    """
    params = method.params
    to_solve = False
    if isinstance(params, TargetParams):
        params.refuse_both()
        to_solve = params.to_solve
    if not (to_solve or method.needs_calibration):
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
        `target_skip` is out of reach.
    DataError
        There is nothing to calibrate on.
    """
    to_solve, params = wants_solving(method), method.params
    if isinstance(params, TargetParams) and params.target_skip is not None and not to_solve:
        say(f"{params.SOLVED}={params.given} is given: target_skip={params.target_skip} is not solved for")
    if not (to_solve or method.needs_calibration):
        return method, None
    pool = selection(task.calibration(), None)
    examples = examples or pool[: job.runner.calibration_prompts]
    # Where rows have to agree, what is skipped depends on how many there are.
    rows = job.settings.batch_size if method.batch_policy == "all" else ROWS
    tuning = _Tuning(job, method, task, decoding, encoder, conditions, rows)
    if method.needs_calibration:
        tuning.calibrate(examples)
    if not to_solve:
        return method, None
    found = tuning.solution(examples, pool)
    assert method.solves is not None
    if found.steps < _LEAST_STEPS and not method.solves.counts:
        say(_few_steps(found))
    return with_value(method, found.value), found


def _few_steps(found: Solution) -> str:
    """What so few steps are worth."""
    counted = f"{found.prompts} calibration prompts" if found.prompts > 1 else "1 calibration prompt"
    worth = "and nothing tells how exactly" if found.margin is None else f"± {found.margin:.2f} (95 %)"
    return (
        f"target_skip was solved on {found.steps} decode steps only, of {counted}, and there are no more: "
        f"{found.parameter}={found.value:.5g} skips {found.skip:.2f} {worth}"
    )


@dataclass(frozen=True)
class _Tuning:
    """What a method's calibration and solution depend on."""

    job: Job
    method: Method
    task: Task
    decoding: Decoding
    encoder: PromptEncoder
    conditions: dict[str, Any]
    rows: int

    def _prompts(self, examples: Sequence[Example]) -> list[Prompt]:
        return [self.encoder.encode(self.task.prompt(one, 0, ()), one.example_id) for one in examples]

    def _key(self, examples: Sequence[Example], prompts: Sequence[Prompt]) -> dict[str, Any]:
        aside = ("batch_size", "threads")
        return {
            "rows": self.rows,
            "conditions": {name: value for name, value in self.conditions.items() if name not in aside},
            "method": [self.job.method_name, dataclasses.asdict(self.job.method)],
            "code": method_code(self.job.method_name),
            "prompts": [prompt.sha256 for prompt in prompts],
            "temperatures": [example.temperature for example in examples],
        }

    def calibrate(self, examples: Sequence[Example]) -> None:
        """Have the method learn from the full model's answers, or from what it learnt before."""
        prompts, keys = self._prompts(examples), [(example.example_id, 0) for example in examples]

        def read() -> Iterator[Batch]:
            for start in range(0, len(prompts), ROWS):
                ids = [one.ids for one in prompts[start : start + ROWS]]
                yield self.decoding.batch(self.method, ids, keys[start : start + ROWS])

        def learnt() -> dict[str, Any]:
            with torch.inference_mode(), told_if_too_large(min(ROWS, len(prompts))):
                self.method.calibrate(read())
            return self.method.calibration

        cached({**self._key(examples, prompts), "what": "calibration"}, learnt, self.method.restore)

    def solution(self, examples: Sequence[Example], pool: Sequence[Example]) -> Solution:
        """Solve on these examples, and on more of the pool where their answers are too short to tell."""
        key = self._key(examples, self._prompts(examples))
        key["pool"] = [[example.example_id, example.source_sha256] for example in pool]
        return cached(
            {**key, "what": "solution"},
            lambda: dataclasses.asdict(self._solved(examples, pool)),
            lambda stored: Solution(**stored),
        )

    def _solved(self, examples: Sequence[Example], pool: Sequence[Example]) -> Solution:
        method = self.method
        assert method.solves is not None
        measure, seen, steps = self._measured(examples)
        while steps < _LEAST_STEPS and len(examples) < len(pool) and not method.solves.counts:
            wanted = math.ceil(1.1 * len(examples) * _LEAST_STEPS / max(steps, 1))
            examples = pool[: max(wanted, len(examples) + 1)]
            measure, seen, steps = self._measured(examples)
        say(
            f"Solving {method.solves.name} for {method.params.target_skip:g} skipped, on {len(examples)} "
            "calibration prompts"
        )
        found = solve(method, measure, len(examples), seen)
        few = found.steps < _LEAST_STEPS and not method.solves.counts
        margin = measure.margin(with_value(method, found.value)) if few else None
        return dataclasses.replace(found, prompts=len(examples), margin=margin)

    def _measured(self, examples: Sequence[Example]) -> tuple[Skip, Profile | None, int]:
        """What measures skips on some examples, what their answers foretell, and how many steps they have."""
        method, prompts = self.method, self._prompts(examples)
        keys = [(example.example_id, 0) for example in examples]
        temperatures = [example.temperature for example in examples]
        measure = Skip(self.decoding, prompts, keys, temperatures, method.params.target_unit, self.rows)
        if not method.foretells:
            return measure, None, measure(method)[1]
        # One for all targets; and for all methods, if they decide by no state.
        params = dataclasses.asdict(dataclasses.replace(self.job.method, target_skip=None))
        by = None if type(method).signal is Method.signal else [self.job.method_name, params]
        code = method_code("full" if by is None else self.job.method_name)
        key = {**self._key(examples, prompts), "method": by, "code": code, "what": "profile"}
        seen = cached(key, lambda: measure.profile(method).as_json(), Profile.of_json)
        return measure, seen, sum(seen.lengths)


def wants_solving(method: Method) -> bool:
    """Whether `target_skip` is set and the parameter it solves is not."""
    params = method.params
    return method.solves is not None and isinstance(params, TargetParams) and params.to_solve
