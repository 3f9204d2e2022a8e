"""The folder of a study: which jobs it has, and how each of them stands."""

import hashlib
import json
import os
import shlex
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from runners.errors import RunError
from runners.files import explained, remove_temporaries, write_text

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


class Study:
    """`<folder>/jobs.txt`, one job a line as the overrides of `run.py`; `<n>.json`, the status of line n
    (from 1); on a cluster `<n>.log`, all that it printed.

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
        """The study of these jobs below a folder: the same one for the same jobs, with every job waiting."""
        text = _lines(jobs)
        folder = _folder(root, text)
        write_text(folder / "jobs.txt", text)
        remove_temporaries(folder, now=folder / "jobs.txt")
        study = cls(folder)
        for number in study.numbers:
            study.tell(number, "waiting")
        return study

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
        number = self.jobs.index(list(job)) + 1
        # Also one that an earlier command began: how it stood then is no news.
        self.tell(number, "waiting")
        return number

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
        status = Status(
            state, reason, None if run is None else str(run), socket.gethostname(), os.getpid(), now
        )
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
        """Note that the process of a job is gone: if it has not told how it ended, it failed."""
        if self.status(number).state in ("running", "waiting"):
            self.tell(number, state, how)

    def standing(self) -> "Standing":
        """How all jobs stand now."""
        return Standing(self, [self.status(number) for number in self.numbers])

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.json"


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
