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

from models.places import expanded
from runners.configure import build, job_from
from runners.errors import RunError
from runners.execute import Finished, execute, finished_before
from runners.launchers import LAUNCHERS, Launcher, Wanted
from runners.search import Search, SearchConfig
from runners.settings import Job
from runners.shared_baseline import Line, with_shared_baselines
from runners.still_finished import still_finished
from runners.storage import finished_run
from runners.study import Study
from runners.typed import as_typed
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
    """One combination as Hydra composed it: the words behind `run.py`, and what they amount to."""

    overrides: list[str]
    config: DictConfig


@dataclass(frozen=True)
class _Place:
    """Where the jobs of a study run, and below which folder it lies."""

    root: Path
    launcher: Launcher
    wanted: Wanted

    @classmethod
    def of(cls, told: HydraConf, composed: Sequence[_Composed]) -> "_Place":
        name = told.runtime.choices["hydra/launcher"]
        if name not in LAUNCHERS:
            raise RunError(f"hydra/launcher={name} is not supported; choose {', '.join(LAUNCHERS)}")
        launcher: Launcher = build(LAUNCHERS[name], _options(told.launcher), "hydra.launcher.")
        devices = frozenset(str(one.config.get("device")) for one in composed)
        spread = any(OmegaConf.select(one.config, "engine.device_map") for one in composed)
        return cls(expanded(told.sweep.dir), launcher, Wanted(devices, spread))

    def run(self, study: Study, numbers: Sequence[int], program: Path) -> None:
        """Run jobs of a study there."""
        self.launcher.run(study, numbers, program, self.wanted)


def _options(plugin: Any) -> dict[str, Any]:
    options = OmegaConf.to_container(plugin, resolve=True)
    assert isinstance(options, dict)
    return {str(key): value for key, value in options.items() if key != "_target_"}


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
    studies: list[HydraConf] = []

    @hydra.main(version_base="1.3", config_path=str(conf), config_name="config")
    def take(config: DictConfig) -> None:
        told = HydraConfig.get()
        if told.mode == RunMode.MULTIRUN:
            studies.append(told)
        # As they were written: an interpolation is for each job to resolve.
        words: Any = OmegaConf.to_container(told.overrides.task, resolve=False)
        composed.append(_Composed(words, config))

    # Hydra makes the folder of a study before anybody else sees its name.
    OmegaConf.register_new_resolver("expanded", lambda path: str(expanded(str(path))), replace=True)
    # Hydra reads the command line by itself.
    sys.argv[1:] = as_typed(sys.argv[1:])
    # Nothing is run from within Hydra, which adds lines of its own to every error.
    try:
        take()
    except (OSError, ValueError, RuntimeError) as error:
        raise not_composed(error) from error
    if studies:
        told, place = studies[0], _Place.of(studies[0], composed)
        if told.runtime.choices["hydra/sweeper"] == "optuna":
            return _search(composed[0].overrides, told, place, program)
        return _study(composed, place, conf, program)
    return Report([execute(job_from(one.config)) for one in composed])


def _study(composed: Sequence[_Composed], place: _Place, conf: Path, program: Path) -> Report:
    lines = [Line(one.overrides, _checked(one.config, conf)) for one in composed]
    if place.launcher.shares_baseline:
        lines = with_shared_baselines(lines, conf)
        told = sum("runner.baseline=reuse" in line.words for line in lines)
        if told > sum("runner.baseline=reuse" in one.overrides for one in composed):
            print(
                f"{told} jobs share a run of the full model per setting; hydra.launcher.baseline=own lets "
                "each decode it itself."
            )
    refused = {number: line.job for number, line in enumerate(lines, 1) if isinstance(line.job, str)}
    if len(refused) == len(lines):
        return Report(errors=list(dict.fromkeys(refused.values())), status=2)
    study = Study.create(place.root, [line.words for line in lines])
    for number, why in refused.items():
        study.tell(number, "failed", why)
    ready = {number: line.job for number, line in enumerate(lines, 1) if isinstance(line.job, Job)}
    done = _done if place.launcher.looks_first(place.wanted) else _done_elsewhere
    ready = {number: job for number, job in ready.items() if not done(study, number, job, conf)}
    if ready:
        place.run(study, list(ready), program)
    return report_of(study)


def _search(arguments: Sequence[str], told: HydraConf, place: _Place, program: Path) -> Report:
    if not place.launcher.waits:
        raise RunError("a search has to see its trials end; leave hydra.launcher.wait=true")
    options = _options(told.sweeper)
    # As Hydra's own sweepers have it: what is swept may stand in a file.
    swept = [f"{key}={value}" for key, value in (options.pop("params", None) or {}).items()]
    search = Search(place.root, [*swept, *arguments], build(SearchConfig, options, "hydra.sweeper."))
    search.run(lambda study, numbers: place.run(study, numbers, program))
    report = report_of(search.study)
    if front := search.front():
        report.summary = f"{report.summary}\n{front}"
    return report


def _checked(config: DictConfig, conf: Path) -> Job | str:
    """The job of a composed configuration, or why it cannot be run."""
    try:
        return job_from(config)
    except USER_ERRORS as error:
        return one_line(error, conf)


def _done(study: Study, number: int, job: Job, conf: Path) -> bool:
    """Whether a job needs no process: it is finished, or cannot begin."""
    try:
        folder = finished_before(job)
    except USER_ERRORS as error:
        study.tell(number, "failed", one_line(error, conf))
        return True
    if folder is not None:
        study.tell(number, "finished before", run=folder)
    return folder is not None


def _done_elsewhere(study: Study, number: int, job: Job, conf: Path) -> bool:
    """Whether a job is finished as far as its own status tells: whose device this machine need not have."""
    folder = still_finished(study.status(number), job)
    if folder is not None:
        study.tell(number, "finished before", run=folder)
    return folder is not None


def status_command(arguments: Sequence[str]) -> Report:
    """`run.py status <study>`: the table of what is finished, and how every job stands."""
    if len(arguments) != 1:
        raise RunError("status needs the folder of a study: python run.py status results/.sweep/<study>")
    return report_of(Study(expanded(arguments[0])))


def report_of(study: Study) -> Report:
    """How a study stands."""
    standing = study.standing()
    fresh = {one.run for one in standing.statuses if one.state == "finished"}
    finished, errors = [], standing.errors()
    for folder in standing.runs():
        try:
            finished.append(Finished(finished_run(folder).read_metrics(), folder, str(folder) in fresh))
        except RunError as error:
            # Removed since, or damaged; the others can be shown.
            errors.append(str(error))
    status = 1 if errors or {one.state for one in standing.statuses} & {"failed", "interrupted"} else 0
    return Report(finished, standing.summary(), errors, status)
