"""Where the jobs of a study run: here one after the other, here side by side, or on a cluster."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import torch

from runners.errors import RunError
from runners.job_process import run_here
from runners.resources import JOBS_AT_ONCE
from runners.slurm import SlurmConfig, submit, watch
from runners.study import Study


class Launcher(Protocol):
    """Starts the jobs of a study, and returns when they have ended or need this process no more.

    Attributes
    ----------
    looks_first : bool
        A job that is finished is found here, and needs no process.
    """

    looks_first: ClassVar[bool]

    def run(self, study: Study, numbers: Sequence[int], program: Path) -> None:
        """Run these jobs of a study with `program`, which is `run.py`."""


@dataclass(frozen=True)
class Basic:
    """One job after the other on this machine."""

    looks_first: ClassVar[bool] = True

    def run(self, study: Study, numbers: Sequence[int], program: Path) -> None:
        """Run the jobs in turn."""
        run_here(study, numbers, program)


@dataclass(frozen=True)
class Joblib:
    """Several jobs at a time on this machine, each on a GPU of its own.

    Attributes
    ----------
    n_jobs : int or None
        Jobs at a time; None: one for each GPU.
    """

    n_jobs: int | None = None
    looks_first: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.n_jobs is not None and self.n_jobs < 1:
            raise RunError(f"hydra.launcher.n_jobs={self.n_jobs} is out of range: it must be at least 1")

    def run(self, study: Study, numbers: Sequence[int], program: Path) -> None:
        """Run the jobs side by side.

        Raises
        ------
        RunError
            More jobs at a time than GPUs.
        """
        run_here(study, numbers, program, self.places())

    def places(self) -> list[Mapping[str, str]]:
        """What the environment of the jobs in each place has of its own."""
        gpus = _gpus()
        count = self.n_jobs or max(1, len(gpus))
        if gpus and count > len(gpus):
            raise RunError(
                f"hydra.launcher.n_jobs={count} is too many: each job has a GPU of its own, and there are "
                f"{len(gpus)}"
            )
        if gpus:
            return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:count]]
        # Threads of several processes on one core wait for each other.
        share = str(max(1, (os.cpu_count() or 1) // count))
        threads = os.environ.get("OMP_NUM_THREADS", share)
        return [{"OMP_NUM_THREADS": threads, JOBS_AT_ONCE: str(count)} for _ in range(count)]


@dataclass(frozen=True)
class Slurm(SlurmConfig):
    """An array of SLURM jobs."""

    # A run is one of its device, and that of the nodes is not known here: they find what is finished.
    looks_first: ClassVar[bool] = False

    def run(self, study: Study, numbers: Sequence[int], program: Path) -> None:
        """Leave all jobs to the nodes; with `wait` return when they have ended."""
        array = submit(study, numbers, self, program)
        print(f"SLURM array {array}: {len(numbers)} jobs, which go on without this process.")
        print(f"python run.py status {study.folder}   shows how they stand; scancel {array} ends them.")
        sys.stdout.flush()
        if self.wait:
            watch(study, numbers, array)


LAUNCHERS: dict[str, type[Basic] | type[Joblib] | type[Slurm]] = {
    "basic": Basic,
    "joblib": Joblib,
    "slurm": Slurm,
}


def _gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA knows them by."""
    if not torch.cuda.is_available():
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",") if given else [str(gpu) for gpu in range(torch.cuda.device_count())]
