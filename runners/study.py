"""The folder of a study: which jobs it has, and how each of them stands."""

import hashlib
import json
import os
import shlex
import socket
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from runners.errors import RunError
from runners.files import explained, held, is_held, remove_temporaries, write_text

# In the order in which they are counted.
STATES = ("finished", "finished before", "failed", "interrupted", "running", "waiting")


@dataclass(frozen=True)
class Status:
    """How a job stands.

    Attributes
    ----------
    state : str
        One of `STATES`.
    reason : str or None
        Why it failed or was interrupted, in one line.
    run : str or None
        The folder of its run, once finished.
    host, process, at
        Who said so, and when (UTC).
    """

    state: str
    reason: str | None = None
    run: str | None = None
    host: str = ""
    process: int = 0
    at: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of the job as it was started."""
        return self.state in ("finished", "finished before", "failed")


class Study:
    """`<folder>/jobs.txt`, one job a line as the overrides of `run.py`; `<n>.json`, the status of line n
    (from 1); `<n>.lock`, held by the process that is at it; on a cluster `<n>.log`, all that it printed.

    Results do not lie here: a job's run folder is found by what it computes, in whatever study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "jobs.txt"
        with explained("read", path):
            lines = path.read_text(encoding="utf-8").splitlines()
        try:
            self.jobs = [shlex.split(line) for line in lines]
        except ValueError as error:
            raise RunError(f"{path}: {error}; write one job a line, as behind python run.py") from error

    @classmethod
    def create(cls, root: Path, jobs: Sequence[Sequence[str]]) -> "Study":
        """The study of these jobs below a folder: the same one for the same jobs, which stand as they did."""
        text = _lines(jobs)
        folder = _folder(root, text)
        write_text(folder / "jobs.txt", text)
        remove_temporaries(folder, now=folder / "jobs.txt")
        return cls(folder)

    @classmethod
    def growing(cls, root: Path, command: Sequence[str]) -> "Study":
        """The study of a command whose jobs turn out one by one: the same one for the same command."""
        folder = _folder(root, shlex.join(command))
        if not (folder / "jobs.txt").exists():
            write_text(folder / "jobs.txt", "")
        return cls(folder)

    def number_of(self, job: Sequence[str]) -> int:
        """The number of a job, which is added if the study has none like it."""
        if list(job) not in self.jobs:
            self.jobs.append(list(job))
            write_text(self.folder / "jobs.txt", _lines(self.jobs))
        return self.jobs.index(list(job)) + 1

    @property
    def numbers(self) -> range:
        """The numbers of the jobs, from 1."""
        return range(1, len(self.jobs) + 1)

    @property
    def group(self) -> str:
        """What its runs are grouped by: the name of the experiment if it is one, else its folder's."""
        experiments = {word.partition("=")[2] for job in self.jobs for word in job if "experiment=" in word}
        return experiments.pop() if len(experiments) == 1 else self.folder.name

    def label(self, number: int) -> str:
        """What tells a job from the others of its study."""
        # What all jobs have in common tells none from another.
        common = set.intersection(*map(set, self.jobs)) if len(self.jobs) > 1 else set()
        return shlex.join(word for word in self.jobs[number - 1] if word not in common)

    def tell(self, number: int, state: str, reason: str | None = None, run: Path | None = None) -> None:
        """Write the status of a job."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.write(
            number,
            Status(state, reason, None if run is None else str(run), socket.gethostname(), os.getpid(), now),
        )

    def write(self, number: int, status: Status) -> None:
        """Replace the status of a job."""
        write_text(self._path(number), json.dumps(asdict(status), ensure_ascii=False) + "\n")

    def status(self, number: int) -> Status:
        """Return how a job stands; one that nobody has told of is waiting."""
        path = self._path(number)
        with explained("read", path):
            try:
                return Status(**json.loads(path.read_text(encoding="utf-8")))
            except FileNotFoundError:
                return Status("waiting")
            except (ValueError, TypeError, RecursionError) as error:
                raise RunError(f"{path}: not a status; remove the file") from error

    def ended(self, number: int, how: str, state: str = "failed") -> None:
        """Note that a process of a job is gone: if it has not told how it ended, it failed; but not if
        another is at the job, which then had refused it."""
        if self.status(number).state in ("running", "waiting") and not self.is_at_work(number):
            self.tell(number, state, how)

    def at_work(self, number: int) -> AbstractContextManager[None]:
        """Hold a job for this process.

        Raises
        ------
        RunError
            Another process is at it.
        """
        return held(self._lock(number), f"job {number} of {self.folder} is at work in another process")

    def is_at_work(self, number: int) -> bool:
        """Return whether a process is at a job, as far as the file system tells."""
        return is_held(self._lock(number))

    def standing(self) -> "Standing":
        """How all jobs stand now."""
        return Standing(self, [self.status(number) for number in self.numbers])

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.json"

    def _lock(self, number: int) -> Path:
        return self.folder / f"{number}.lock"


def _folder(root: Path, text: str) -> Path:
    """The folder of the study that is told by a text."""
    folder = root / hashlib.sha256(text.encode()).hexdigest()[:8]
    with explained("create", folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _lines(jobs: Sequence[Sequence[str]]) -> str:
    return "".join(shlex.join(job) + "\n" for job in jobs)


@dataclass(frozen=True)
class Standing:
    """How the jobs of a study stood at one moment; `statuses` in their order."""

    study: Study
    statuses: Sequence[Status]

    def errors(self) -> list[str]:
        """One line for each job that failed: which, and why."""
        told = zip(self.study.numbers, self.statuses, strict=True)
        return [f"{self.study.label(number)}: {one.reason}" for number, one in told if one.state == "failed"]

    def summary(self) -> str:
        """How many jobs there are in which state, in one line."""
        counts = Counter(one.state for one in self.statuses)
        told = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
        jobs = len(self.statuses)
        return f"Study {self.study.folder}: {jobs} job{'s' if jobs > 1 else ''}, {told}"

    def runs(self) -> list[Path]:
        """The folders of the finished runs, each once, in the order of the jobs."""
        return [Path(run) for run in dict.fromkeys(one.run for one in self.statuses) if run is not None]
