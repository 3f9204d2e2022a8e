"""The jobs of a study, each in a process of its own: that process, and the one that starts them."""

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from omegaconf import OmegaConf

from models.places import expanded
from runners.configure import composed, job_from
from runners.errors import RunError
from runners.execute import execute
from runners.notices import say
from runners.result_line import result_line
from runners.stopping import Interrupted, StopRequest
from runners.study import Study
from runners.user_errors import USER_ERRORS, one_line

# "Temporary failure; the user is invited to try again" (sysexits.h): the job wants to be queued again.
TRY_AGAIN = 75
_STOPPED_BY_KEYBOARD = 130


def job_command(arguments: Sequence[str], conf: Path) -> int:
    """`run.py job <study> <n>`: run line n of a study's `jobs.txt`, leave a status, return the exit status.

    0: finished; 1: failed; `TRY_AGAIN`: stopped by a signal of the scheduler, with what was finished kept.
    Anything that is a bug is told in the status as well, and raised.

    Raises
    ------
    RunError
        There is no such job, or another process is at it, whose status stays.
    """
    study, number = _job(arguments)
    stop = StopRequest()
    stop.listen()
    with study.at_work(number):
        return _at_work(study, number, conf, stop)


def _at_work(study: Study, number: int, conf: Path, stop: StopRequest) -> int:
    study.tell(number, "running")
    say(f"Job {number} of {len(study.jobs)} on {socket.gethostname()}: {shlex.join(study.jobs[number - 1])}")
    overrides = study.jobs[number - 1]
    if int(os.environ.get("SLURM_RESTART_COUNT") or 0):
        # Queued again: what it had finished is its own, and `force` has done its work.
        overrides = [*overrides, "force=false"]
    try:
        config = composed(conf, overrides)
        if OmegaConf.select(config, "logger.group") is None:
            OmegaConf.update(config, "logger.group", study.group)
        finished = execute(job_from(config), stop)
    except Interrupted as interrupted:
        return _ended(study, number, "interrupted", str(interrupted), TRY_AGAIN)
    except KeyboardInterrupt:
        return _ended(study, number, "interrupted", "stopped by the keyboard", _STOPPED_BY_KEYBOARD)
    except USER_ERRORS as error:
        return _ended(study, number, "failed", one_line(error, conf), 1)
    except BaseException as error:
        study.tell(number, "failed", " ".join(f"{type(error).__name__}: {error}".split()))
        raise
    study.tell(number, "finished" if finished.fresh else "finished before", run=finished.folder)
    say(result_line(finished.metrics, finished.folder))
    return 0


def _ended(study: Study, number: int, state: str, why: str, status: int) -> int:
    study.tell(number, state, why)
    say(f"{state.capitalize()}: {why}")
    return status


def _job(arguments: Sequence[str]) -> tuple[Study, int]:
    usage = "job needs a study and the number of a job: python run.py job results/.sweep/<study> <n>"
    if len(arguments) != 2 or not arguments[1].isdecimal():
        raise RunError(usage)
    study, number = Study(expanded(arguments[0])), int(arguments[1])
    if number not in study.numbers:
        raise RunError(f"{study.folder} has no job {number}: it has {len(study.jobs)}")
    return study, number


def run_here(
    study: Study, numbers: Iterable[int], program: Path, places: Sequence[Mapping[str, str]] = ({},)
) -> None:
    """Run jobs of a study on this machine; one that ends, however it ends, ends alone.

    Parameters
    ----------
    study
    numbers
        Which of its jobs.
    program
        `run.py`.
    places
        The jobs of each run one after the other, beside those of the others: what their environment has that
        this process's has not.

    Raises
    ------
    KeyboardInterrupt
        The study was asked to stop, by the keyboard or by SIGTERM.
    """
    free = []
    for number in numbers:
        if study.is_at_work(number):
            say(f"Job {number} of {len(study.jobs)} is at work in another process")
        else:
            study.tell(number, "waiting")
            free.append(number)
    jobs = _Jobs(study, free, program)
    before = signal.signal(signal.SIGTERM, jobs.stop)
    try:
        with ThreadPoolExecutor(len(places)) as pool:
            try:
                for place in [pool.submit(jobs.work, place) for place in places]:
                    place.result()
            except BaseException:
                # The keyboard has told the children too, and being told twice is no harm; who told this
                # process alone has not. The pool waits for them.
                jobs.stop(signal.SIGTERM, None)
                raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if jobs.stopped:
        raise KeyboardInterrupt


class _Jobs:
    """Jobs that wait, and the processes of those that run."""

    def __init__(self, study: Study, numbers: Iterable[int], program: Path) -> None:
        self._study, self._program = study, program
        self._waiting = deque(numbers)
        self._running: set[subprocess.Popen] = set()
        self.stopped = False

    def work(self, place: Mapping[str, str]) -> None:
        """Run one job after the other in a place, until none is left or the study stops."""
        try:
            while not self.stopped and (number := self._next()) is not None:
                self._one(number, place)
        except BaseException:
            # Not after all that the other places would still begin.
            self.stopped = True
            raise

    def stop(self, signal_number: int, frame: FrameType | None) -> None:
        """Begin no more jobs, and ask those that run to end; the handler of a signal."""
        self.stopped = True
        for process in tuple(self._running):
            process.send_signal(signal_number)

    def _next(self) -> int | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _one(self, number: int, place: Mapping[str, str]) -> None:
        process = subprocess.Popen(
            [sys.executable, str(self._program), "job", str(self._study.folder), str(number)],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **place},
        )
        self._running.add(process)
        if self.stopped:
            # It was being started when the others were told.
            process.send_signal(signal.SIGTERM)
        status = process.wait()
        self._running.discard(process)
        if self.stopped:
            # Told to stop, perhaps before it could listen.
            self._study.ended(number, "stopped before it began", "interrupted")
        else:
            self._study.ended(number, how_it_ended(status))
        if self._study.status(number).state == "interrupted":
            self.stopped = True


def how_it_ended(status: int) -> str:
    """The end of a process that did not tell of it itself, in words."""
    if status >= 0:
        return f"its process ended with status {status} and without a word"
    name = signal.Signals(-status).name
    memory = ", as the system does when memory runs out" if -status == signal.SIGKILL else ""
    return f"its process was ended by {name}{memory}"
