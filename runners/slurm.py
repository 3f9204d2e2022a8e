"""A study as arrays of SLURM jobs, queued with `sbatch`; what is queued or runs is not sent again."""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runners.errors import RunError
from runners.files import explained, held, write_text
from runners.slurm_queue import Queue, answer
from runners.study import Study

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "slurm_array.sbatch"
BASELINES = ("shared", "own")
# What a job reads of its environment: kept where SBATCH_EXPORT says that nothing is.
_VARIABLES = ("SKIPBENCH_", "HF_", "TRANSFORMERS_", "WANDB_", "OPENAI_", "OMP_NUM_THREADS", "XDG_CACHE_HOME")


@dataclass(frozen=True)
class SlurmConfig:
    """What `hydra.launcher` says of a SLURM array; None leaves a thing to the cluster.

    Attributes
    ----------
    partition, account, qos, time, gpus, gres, cpus, mem
        Of one job, as `sbatch` reads them.
    at_once : int or None
        Jobs at a time.
    options : list of str
        More options of `sbatch`.
    setup : list of str
        Commands of the shell that a job begins with, one after the other; one that fails ends it.
    baseline : str
        shared: the full model answers once per setting, and the jobs reuse its answers and times; own: as
        `runner.baseline` says, by default in every job.
    wait : bool
        Watch the jobs until all have ended.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | None = None
    gpus: str | None = None
    gres: str | None = None
    cpus: int | None = None
    mem: str | None = None
    at_once: int | None = None
    options: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    baseline: str = "shared"
    wait: bool = True

    def __post_init__(self) -> None:
        if self.baseline not in BASELINES:
            raise RunError(
                f"hydra.launcher.baseline={self.baseline} is unknown; choose {', '.join(BASELINES)}"
            )


def submit(
    study: Study, numbers: Sequence[int], config: SlurmConfig, program: Path, after: Sequence[str] = ()
) -> str:
    """Queue jobs of a study as one array and return SLURM's name of it: its number, `;` and the cluster if
    there are several.

    Parameters
    ----------
    after
        Jobs that have to end first, however they end.

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
        "gres": config.gres,
        "cpus-per-task": config.cpus,
        "mem": config.mem,
        "dependency": ":".join(("afterany", *after)) if after else None,
        "export": _exported(),
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
        *(str(SCRIPT), str(folder), str(program), sys.executable),
    ]
    return answer(command).strip()


def send(
    study: Study, numbers: Sequence[int], config: SlurmConfig, program: Path, queue: Queue
) -> dict[int, str]:
    """Queue those of these jobs that are not queued yet; return the array of every one.

    Jobs that reuse a run of the full model wait for it.

    Raises
    ------
    RunError
        There is no SLURM here, it refuses or does not answer, and nothing is sent.
    """
    busy = f"another process is sending jobs of {study.folder}"
    with held(study.folder / "sending.lock", busy, wait=True):
        known = _arrays(study)
        there = queue.holds({number: known[number] for number in numbers if number in known})
        if there:
            print(f"Queued or running already, and not sent again: {len(there)} of {len(numbers)} jobs.")
        new = [number for number in numbers if number not in there]
        if new:
            _write_setup(study, config.setup)
        reuse = any("runner.baseline=reuse" in study.jobs[number - 1] for number in new)
        first = [number for number in new if reuse and _is_full(study, number)]
        for part in (first, [number for number in new if number not in first]):
            if part:
                full = [] if part == first else [number for number in there if _is_full(study, number)]
                after = [_task(there[number], number) for number in sorted(full)] if reuse else []
                there |= dict.fromkeys(part, _sent(study, part, config, program, after))
    return there


def _sent(
    study: Study, numbers: Sequence[int], config: SlurmConfig, program: Path, after: Sequence[str]
) -> str:
    before = {number: study.status(number) for number in numbers}
    # Not afterwards, when the first may run already.
    for number in numbers:
        study.tell(number, "waiting")
    try:
        array = submit(study, numbers, config, program, after)
    except RunError:
        for number, status in before.items():
            study.write(number, status)
        raise
    write_text(_record(study), json.dumps({**_arrays(study), **dict.fromkeys(numbers, array)}) + "\n")
    name, _, cluster = array.partition(";")
    jobs = f"{len(numbers)} jobs, which go" if len(numbers) > 1 else "1 job, which goes"
    print(f"SLURM array {name}: {jobs} on without this process.")
    there = f" --clusters={cluster}" if cluster else ""
    print(f"python run.py status {study.folder}   shows how they stand; scancel{there} {name} ends them.")
    return array


def _is_full(study: Study, number: int) -> bool:
    return "method=full" in study.jobs[number - 1]


def _task(array: str, number: int) -> str:
    return f"{array.partition(';')[0]}_{number}"


def _record(study: Study) -> Path:
    return study.folder / "arrays.json"


def _arrays(study: Study) -> dict[int, str]:
    """The array in which each job was last sent."""
    path = _record(study)
    with explained("read", path):
        try:
            return {int(number): str(array) for number, array in json.loads(path.read_text()).items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError, RecursionError) as error:
            raise RunError(f"{path}: not a list of arrays; remove it once squeue shows no job") from error


def _write_setup(study: Study, lines: Sequence[str]) -> None:
    path = study.folder / "setup.sh"
    if lines:
        told = [(shlex.quote(line), shlex.quote(f"failed: {line}")) for line in lines]
        write_text(path, "".join(f"eval {line} || {{ echo {why} >&2; return 1; }}\n" for line, why in told))
    else:
        with explained("remove", path):
            path.unlink(missing_ok=True)


def _exported(environment: Mapping[str, str] = os.environ) -> str | None:
    """`--export` where SBATCH_EXPORT would keep from a job what it needs; names alone, no values."""
    asked = environment.get("SBATCH_EXPORT", "ALL").split(",")
    if "ALL" in map(str.upper, asked):
        return None
    own = sorted(name for name in environment if name.startswith(_VARIABLES))
    return ",".join([name for name in asked if name.upper() not in ("NONE", "NIL")] + own) or None
