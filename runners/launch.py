"""From a command line to finished runs: one combination in this process, several as a study."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runners.configure import build, job_from
from runners.errors import RunError
from runners.execute import Finished, execute, finished_before
from runners.job_process import run_here
from runners.slurm import SlurmConfig, submit, watch
from runners.storage import finished_run
from runners.study import Study
from runners.user_errors import USER_ERRORS, not_composed, one_line


@dataclass
class Report:
    """What came of a command.

    Attributes
    ----------
    finished : list of Finished
    summary : str or None
        Of a study.
    errors : list of str
        One line each.
    status : int
        The exit status: 0, 1 if a job of a study failed or was interrupted, 2 if nothing could begin.
    """

    finished: list[Finished] = field(default_factory=list)
    summary: str | None = None
    errors: list[str] = field(default_factory=list)
    status: int = 0

    @property
    def empty(self) -> bool:
        """Whether there was nothing to run."""
        return not (self.finished or self.errors or self.summary)


@dataclass(frozen=True)
class _Composed:
    """One combination as Hydra composed it."""

    overrides: list[str]
    config: DictConfig


@dataclass(frozen=True)
class _Place:
    """Where the jobs of a study run, and below which folder it lies."""

    root: Path
    slurm: SlurmConfig | None

    @classmethod
    def of(cls, told: HydraConf) -> "_Place":
        launcher = told.runtime.choices["hydra/launcher"]
        if launcher not in ("basic", "slurm"):
            raise RunError(f"hydra/launcher={launcher} is not supported; choose basic or slurm")
        options = {key: value for key, value in told.launcher.items() if key != "_target_"}
        slurm = build(SlurmConfig, options, "hydra.launcher.") if launcher == "slurm" else None
        return cls(Path(told.sweep.dir), slurm)


def launch(conf: Path, program: Path) -> Report:
    """Let Hydra compose the command line, and run what it asks for.

    Parameters
    ----------
    conf
        The folder of configurations.
    program
        `run.py`, which the jobs of a study are started with.

    Raises
    ------
    RunError, ModelError, MethodError, DataError, HydraException, OmegaConfBaseException
        A single combination cannot be run, or the command not be composed.
    KeyboardInterrupt
        A study was asked to stop.
    """
    composed: list[_Composed] = []
    place: list[_Place] = []

    @hydra.main(version_base="1.3", config_path=str(conf), config_name="config")
    def take(config: DictConfig) -> None:
        told = HydraConfig.get()
        if told.mode == RunMode.MULTIRUN:
            place.append(_Place.of(told))
        # As they were written: an interpolation is for each job to resolve.
        words: Any = OmegaConf.to_container(told.overrides.task, resolve=False)
        composed.append(_Composed(words, config))

    # Nothing is run from within Hydra, which adds lines of its own to every error.
    try:
        take()
    except (OSError, ValueError, RuntimeError) as error:
        raise not_composed(error) from error
    if place:
        return _study(composed, place[0], conf, program)
    return Report([execute(job_from(one.config)) for one in composed])


def _study(composed: Sequence[_Composed], place: _Place, conf: Path, program: Path) -> Report:
    refused = {number: line for number, one in enumerate(composed, 1) if (line := _refusal(one, conf))}
    if len(refused) == len(composed):
        return Report(errors=list(dict.fromkeys(refused.values())), status=2)
    study = Study.create(place.root, [one.overrides for one in composed])
    for number, line in refused.items():
        study.tell(number, "failed", line)
    ready = [number for number in study.numbers if number not in refused]
    if place.slurm is not None:
        _queue(study, ready, place.slurm, program)
    else:
        run_here(study, [n for n in ready if not _done(study, n, composed[n - 1])], program)
    return report_of(study)


def _queue(study: Study, numbers: Sequence[int], slurm: SlurmConfig, program: Path) -> None:
    """Leave all to the nodes: what is finished they find themselves, since a run is one of their device."""
    array = submit(study, numbers, slurm, program)
    print(f"SLURM array {array}: {len(numbers)} jobs, which go on without this process.")
    print(f"python run.py status {study.folder}   shows how they stand; scancel {array} ends them.")
    sys.stdout.flush()
    if slurm.wait:
        watch(study, numbers, array)


def _refusal(one: _Composed, conf: Path) -> str | None:
    """Why a combination cannot be run, as far as its configuration says."""
    try:
        job_from(one.config.copy())
    except USER_ERRORS as error:
        return one_line(error, conf)
    return None


def _done(study: Study, number: int, one: _Composed) -> bool:
    """Whether a job needs no process: it is finished, or cannot begin."""
    try:
        folder = finished_before(job_from(one.config.copy()))
    except USER_ERRORS as error:
        study.tell(number, "failed", " ".join(str(error).split()))
        return True
    if folder is not None:
        study.tell(number, "finished before", run=folder)
    return folder is not None


def status_command(arguments: Sequence[str]) -> Report:
    """`run.py status <study>`: the table of what is finished, and how every job stands."""
    if len(arguments) != 1:
        raise RunError("status needs the folder of a study: python run.py status results/.sweep/<study>")
    return report_of(Study(Path(arguments[0])))


def report_of(study: Study) -> Report:
    """How a study stands."""
    fresh = {one.run for number in study.numbers if (one := study.status(number)).state == "finished"}
    finished = [
        Finished(finished_run(folder).read_metrics(), folder, str(folder) in fresh) for folder in study.runs()
    ]
    states = {study.status(number).state for number in study.numbers}
    status = 1 if states & {"failed", "interrupted"} else 0
    return Report(finished, study.summary(), study.errors(), status)
