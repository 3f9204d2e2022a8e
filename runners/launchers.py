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
from runners.slurm import SlurmConfig, send
from runners.slurm_queue import Queue
from runners.study import Study


@dataclass(frozen=True)
class Wanted:
    """What the jobs of a study say of devices.

    Attributes
    ----------
    devices : frozenset of str
        Their `device`.
    spread : bool
        A model takes all GPUs (`engine.device_map`).
    """

    devices: frozenset[str] = frozenset({"auto"})
    spread: bool = False


class Launcher(Protocol):
    """Starts the jobs of a study, and returns when they have ended or need this process no more."""

    @property
    def waits(self) -> bool:
        """Whether all jobs have ended when `run` returns."""

    def looks_first(self, wanted: Wanted) -> bool:
        """Whether a finished job is found by this process, so that it needs none of its own."""

    @property
    def shares_baseline(self) -> bool:
        """Whether jobs of one setting reuse one run of the full model."""

    def run(self, study: Study, numbers: Sequence[int], program: Path, wanted: Wanted) -> None:
        """Run these jobs of a study with `program`, which is `run.py`."""


@dataclass(frozen=True)
class Basic:
    """One job after the other on this machine."""

    waits: ClassVar[bool] = True
    shares_baseline: ClassVar[bool] = False

    def looks_first(self, wanted: Wanted) -> bool:
        """Yes: jobs run as they would in this process."""
        return True

    def run(self, study: Study, numbers: Sequence[int], program: Path, wanted: Wanted) -> None:
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
    waits: ClassVar[bool] = True
    shares_baseline: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.n_jobs is not None and self.n_jobs < 1:
            raise RunError(f"hydra.launcher.n_jobs={self.n_jobs} is out of range: it must be at least 1")

    def looks_first(self, wanted: Wanted) -> bool:
        """Where jobs share the processor they have fewer threads than this process, which is another run."""
        return bool(_gpus(wanted)) or self.n_jobs in (None, 1)

    def run(self, study: Study, numbers: Sequence[int], program: Path, wanted: Wanted) -> None:
        """Run the jobs side by side.

        Raises
        ------
        RunError
            More jobs at a time than GPUs, or a job that wants other GPUs than the one it is given.
        """
        run_here(study, numbers, program, self.places(wanted, len(numbers)))

    def places(self, wanted: Wanted, jobs: int) -> list[Mapping[str, str]]:
        """What the environment of the jobs in each place has of its own."""
        gpus = _gpus(wanted)
        if gpus:
            count = self.n_jobs or len(gpus)
            if count > len(gpus):
                raise RunError(
                    f"hydra.launcher.n_jobs={count} is too many: each job has a GPU of its own, and "
                    f"there are {len(gpus)}"
                )
            _one_is_enough(wanted)
            return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[: min(count, jobs)]]
        count = min(self.n_jobs or 1, jobs)
        if count == 1:
            return [{}]
        # Threads of several processes on one core wait for each other.
        share = max(1, torch.get_num_threads() // count)
        return [{"OMP_NUM_THREADS": str(share), JOBS_AT_ONCE: str(count)} for _ in range(count)]


@dataclass(frozen=True)
class Slurm(SlurmConfig):
    """An array of SLURM jobs."""

    @property
    def waits(self) -> bool:
        """As its options say."""
        return self.wait

    @property
    def shares_baseline(self) -> bool:
        """As its options say."""
        return self.baseline == "shared"

    def looks_first(self, wanted: Wanted) -> bool:
        """No: a run is one of its device, and that of the nodes is not known here."""
        return False

    def run(self, study: Study, numbers: Sequence[int], program: Path, wanted: Wanted) -> None:
        """Leave all jobs to the nodes; with `wait` return when they have ended."""
        queue = Queue()
        arrays = send(study, numbers, self, program, queue)
        sys.stdout.flush()
        if self.wait:
            queue.watch(study, arrays)


LAUNCHERS: dict[str, type[Basic] | type[Joblib] | type[Slurm]] = {
    "basic": Basic,
    "joblib": Joblib,
    "slurm": Slurm,
}


def _one_is_enough(wanted: Wanted) -> None:
    if named := sorted(device for device in wanted.devices if device.startswith("cuda:")):
        raise RunError(
            f"device={named[0]} is for one job; hydra/launcher=joblib gives each a GPU: device=cuda"
        )
    if wanted.spread:
        raise RunError("hydra/launcher=joblib gives each job one GPU, and engine.device_map=auto wants all")


def _gpus(wanted: Wanted) -> list[str]:
    """The GPUs for jobs, by the names that CUDA knows them by."""
    if wanted.devices == {"cpu"} or not torch.cuda.is_available():
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in given.split(",") if name.strip()]
    count = torch.cuda.device_count()
    return names[:count] or [str(gpu) for gpu in range(count)]
