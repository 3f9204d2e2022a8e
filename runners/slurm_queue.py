"""What `squeue` says of jobs, and the wait until they have ended; no accounting is needed."""

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runners.errors import RunError
from runners.notices import say
from runners.study import Study

# States of SLURM from which a job does not come back.
_OVER = {
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"),
    # Without being queued again; with it the job is PENDING.
    "PREEMPTED",
}
_POLL_S, _LONGEST_S = 5.0, 60.0
# For SLURM itself, whose own limit is about as long.
_ANSWER_S = 60.0
# As long as a network file system may show another machine's file as it was.
_STALE_S = 60.0
# Before anything is sent: two minutes and a half.
_TRIES = 6


class NoAnswerError(RunError):
    """SLURM was asked and did not answer, which it may do later."""


class NotThereError(RunError):
    """The program is not installed."""


@dataclass(frozen=True)
class Clock:
    """The time in seconds, and a way to let some pass."""

    seconds: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Queue:
    """The jobs of arrays, by what `squeue` says."""

    clock: Clock = Clock()

    def states(self, arrays: Mapping[int, str]) -> dict[int, str]:
        """The state of every job that SLURM still knows.

        Parameters
        ----------
        arrays
            The array of each job.

        Raises
        ------
        NoAnswerError
            It did not answer.
        """
        known = {array: _states(array) for array in sorted(set(arrays.values()))}
        return {number: known[array][number] for number, array in arrays.items() if number in known[array]}

    def holds(self, arrays: Mapping[int, str]) -> dict[int, str]:
        """Those of the jobs that are queued or run, with their arrays.

        Raises
        ------
        RunError
            It did not answer for some minutes.
        """
        for pause in (*_pauses(_TRIES - 1), None):
            try:
                states = self.states(arrays)
                return {number: arrays[number] for number, state in states.items() if state not in _OVER}
            except NoAnswerError as error:
                if pause is None:
                    raise RunError(
                        f"{error}; without it nobody knows which jobs are queued already, and nothing was "
                        "sent: try again later"
                    ) from error
                say(f"{error}; it is asked again in {pause:.0f} s")
                self.clock.sleep(pause)
        raise AssertionError

    def watch(self, study: Study, arrays: Mapping[int, str]) -> None:
        """Return when every job has ended, with a status for each, also for those that died.

        Parameters
        ----------
        study
        arrays
            The array of each job.
        """
        left, seen = dict(arrays), dict.fromkeys(arrays, "")
        gone: dict[int, float] = {}
        silent = 0
        while True:
            try:
                states = self.states(left)
            except NoAnswerError as error:
                if not silent:
                    say(f"{error}; the jobs go on, and it is asked again")
                silent += 1
                ended = [number for number in left if study.status(number).has_ended]
            else:
                if silent:
                    say("squeue answers again")
                silent = 0
                seen.update(states)
                # SLURM forgets a job some minutes after its end.
                ended = [number for number in left if states.get(number, "COMPLETED") in _OVER]
            now = self.clock.seconds()
            gone = {number: gone.get(number, now) for number in ended}
            for number, since in gone.items():
                if study.status(number).has_ended or now - since >= _STALE_S:
                    study.ended(number, _how(study, number, seen[number]))
                    del left[number]
            if not left:
                return
            self.clock.sleep(_pauses(silent)[-1] if silent else _POLL_S)


def _pauses(count: int) -> list[float]:
    return [min(_POLL_S * 2**number, _LONGEST_S) for number in range(count)]


def _how(study: Study, number: int, state: str) -> str:
    said = f"SLURM says {state}" if state else "SLURM no longer knows it"
    return f"its process ended without a word ({said}); see {study.folder / f'{number}.log'}"


def _states(array: str) -> dict[int, str]:
    """The state of every task of an array that SLURM still knows."""
    number, _, cluster = array.partition(";")
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={number}", "--format=%K %T"]
    if cluster:
        command.append(f"--clusters={cluster}")
    try:
        lines = answer(command, _ANSWER_S).splitlines()
    except NotThereError:
        raise
    except RunError as error:
        if "Invalid job id" in str(error):
            return {}
        raise NoAnswerError(str(error)) from error
    pairs = (line.split() for line in lines)
    return {int(pair[0]): pair[1] for pair in pairs if len(pair) == 2 and pair[0].isdecimal()}


def answer(command: list[str], most_s: float | None = None) -> str:
    """What a program of SLURM's prints; it may take so many seconds.

    Raises
    ------
    RunError
        It refuses, in its own words; `NotThereError`: there is none; `NoAnswerError`: it takes too long.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=most_s)
    except FileNotFoundError:
        raise NotThereError(
            f"there is no SLURM here ({command[0]} was not found); leave hydra/launcher to its default"
        ) from None
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"{command[0]} did not answer within {most_s:.0f} s") from None
    if done.returncode:
        raise RunError(f"{command[0]}: {' '.join((done.stderr or done.stdout).split())}")
    return done.stdout
