"""One run of the full model for all jobs of a study that differ in nothing but the method.

Where every job decodes the baseline itself, two hundred jobs decode it two hundred times. Here one job per
setting does; the others reuse its answers and times, and replay some of them with both sides in turn, which
tells how much slower or faster the full model is where and when they run (`baseline_drift`).
"""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from methods.full import Full
from methods.shared.registry import method_class
from runners.configure import composed, job_from
from runners.settings import Job, RunnerConfig, parsed_moment

# Enough for the drift, as in the studies of conf/experiment.
_REPLAYED = 8


@dataclass(frozen=True)
class Line:
    """A job of a study: the words behind `run.py`, and what they mean (or why they mean nothing)."""

    words: list[str]
    job: Job | str


def with_shared_baselines(lines: Sequence[Line], conf: Path) -> list[Line]:
    """The jobs of a study with one run of the full model per setting, which comes first.

    A job stays as it is if it says itself where its baseline comes from, if it would be the only one of its
    setting, or if replay could not tell how the machine has changed: in batches, and for methods that change
    no answer.
    """
    sharing: dict[str, list[int]] = defaultdict(list)
    full: set[str] = set()
    for place, line in enumerate(lines):
        if isinstance(line.job, Job):
            if line.job.method_name == "full":
                full.add(_setting(line.job))
            elif _can_share(line.words, line.job):
                sharing[_setting(line.job)].append(place)
    added, changed = [], dict(enumerate(lines))
    for setting, places in sharing.items():
        if len(places) == 1 and setting not in full:
            continue
        if setting not in full:
            added.append(_baseline(lines[places[0]].words, conf))
        changed |= {place: _reusing(lines[place]) for place in places}
    return [*added, *changed.values()]


def _can_share(words: Sequence[str], job: Job) -> bool:
    if any(_key(word) in ("runner.baseline", "runner.replay") for word in words):
        return False
    method = method_class(job.method_name)(job.method)
    apart = method.lossless or method.own_engine
    return job.runner.baseline == "paired" and job.settings.batch_size == 1 and not apart


def _setting(job: Job) -> str:
    """All that two jobs have to agree in if one run of the full model is to serve both."""
    own = job.runner
    now = None if own.now is None else parsed_moment(own.now, "runner.now").isoformat()
    runner = RunnerConfig(first_token=own.first_token, fixed_length=own.fixed_length, now=now)
    return repr(dataclasses.replace(job, method_name="full", method=None, runner=runner, judge=None))  # type: ignore[arg-type]


def _baseline(words: Sequence[str], conf: Path) -> Line:
    """The full model's job in the setting of another, which nobody judges: comparing its answers is for the
    jobs that have others."""
    apart = ("method", "judge")
    kept = [word for word in words if _key(word).partition(".")[0] not in apart and not _of_runner(word)]
    kept += ["method=full", "runner.baseline=none", "judge=none"]
    config = composed(conf, kept)
    # What a study's file says of its method has no place in this one.
    known = {"name", *(field.name for field in dataclasses.fields(Full.Params))}
    words = [*kept, *(f"~method.{key}" for key in config.method if key not in known)]
    if config.runner.replay:
        words.append("runner.replay=false")
    return Line(words, job_from(composed(conf, words)))


def _reusing(line: Line) -> Line:
    assert isinstance(line.job, Job)
    own = line.job.runner
    told = (
        {"baseline": "reuse"}
        if own.replay
        else {"baseline": "reuse", "replay": True, "replay_examples": _REPLAYED}
    )
    words = [f"runner.{name}={str(value).lower()}" for name, value in told.items()]
    runner = dataclasses.replace(own, **told)  # type: ignore[arg-type]
    kept = [word for word in line.words if own.replay or not _of_runner(word)]
    return Line([*kept, *words], dataclasses.replace(line.job, runner=runner))


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _of_runner(word: str) -> bool:
    return _key(word) in ("runner.baseline", "runner.replay", "runner.replay_examples")
