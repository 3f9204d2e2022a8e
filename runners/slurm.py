"""A study as an array of SLURM jobs: queued with `sbatch`, watched with `squeue`; no accounting is needed."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runners.errors import RunError
from runners.study import Study

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "slurm_array.sbatch"
# States of SLURM from which a job does not come back.
_OVER = {
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"),
    # Without being queued again; with it the job is PENDING.
    "PREEMPTED",
}
_POLL_S = 5.0


@dataclass(frozen=True)
class SlurmConfig:
    """What `hydra.launcher` says of a SLURM array; None leaves a thing to the cluster.

    Attributes
    ----------
    partition, account, qos, time, gpus, cpus, mem
        Of one job, as `sbatch` reads them.
    at_once : int or None
        Jobs at a time.
    options : list of str
        More options of `sbatch`.
    wait : bool
        Watch the jobs until all have ended.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | None = None
    gpus: str | None = None
    cpus: int | None = None
    mem: str | None = None
    at_once: int | None = None
    options: list[str] = field(default_factory=list)
    wait: bool = True


def submit(study: Study, numbers: Sequence[int], config: SlurmConfig, program: Path) -> str:
    """Queue jobs of a study as one array and return SLURM's number of it.

    Raises
    ------
    RunError
        There is no SLURM here, or it refuses; with its own words.
    """
    named = {
        "partition": config.partition,
        "account": config.account,
        "qos": config.qos,
        "time": config.time,
        "gpus-per-task": config.gpus,
        "cpus-per-task": config.cpus,
        "mem": config.mem,
    }
    at_once = "" if config.at_once is None else f"%{config.at_once}"
    folder = study.folder.resolve()
    command = [
        *("sbatch", "--parsable", "--ntasks=1", f"--job-name={study.group}"),
        f"--array={','.join(map(str, numbers))}{at_once}",
        # A percent sign in a path would be one of sbatch's patterns.
        f"--output={str(folder).replace('%', '%%')}/%a.log",
        *(f"--{name}={value}" for name, value in named.items() if value is not None),
        *config.options,
        *(str(SCRIPT), str(folder), str(program)),
    ]
    return _said(command).split(";")[0].strip()


def watch(study: Study, numbers: Sequence[int], array: str) -> None:
    """Return when every job of an array has ended, with a status for each, also for those that died."""
    left, seen = set(numbers), dict.fromkeys(numbers, "")
    while left:
        states = _states(array)
        seen.update(states)
        for number in sorted(left):
            # SLURM forgets a job some minutes after its end.
            if states.get(number) in _OVER or (number not in states):
                study.ended(number, _how(study, number, seen[number]))
                left.discard(number)
        if left:
            time.sleep(_POLL_S)


def _how(study: Study, number: int, state: str) -> str:
    said = f"SLURM says {state}" if state else "SLURM no longer knows it"
    return f"its process ended without a word ({said}); see {study.folder / f'{number}.log'}"


def _states(array: str) -> dict[int, str]:
    """The state of every task of an array that SLURM still knows."""
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={array}", "--format=%K %T"]
    try:
        lines = _said(command).splitlines()
    except RunError as error:
        if "Invalid job id" in str(error):
            return {}
        raise
    pairs = (line.split() for line in lines)
    return {int(pair[0]): pair[1] for pair in pairs if len(pair) == 2 and pair[0].isdecimal()}


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable}
        )
    except FileNotFoundError:
        raise RunError(
            f"there is no SLURM here ({command[0]} was not found); leave hydra/launcher to its default"
        ) from None
    if done.returncode:
        raise RunError(f"{command[0]}: {' '.join((done.stderr or done.stdout).split())}")
    return done.stdout
