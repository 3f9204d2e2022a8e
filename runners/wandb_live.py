"""Progress on W&B while a run goes on, for those who ask for it: once a minute, from a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING

from runners.wandb_logger import Destination, environment_below

if TYPE_CHECKING:
    from runners.settings import LoggerConfig

# As often as a log has a line.
EVERY_S = 60.0
_log = getLogger(__name__)


class Live:
    """Tells W&B how many examples are answered; nothing that W&B does can hold up or harm the run.

    Parameters
    ----------
    process
        Reads a line of JSON each time; None: nobody is told.
    total, done
        Examples, and how many of them earlier tries answered.
    """

    def __init__(
        self,
        process: "subprocess.Popen[bytes] | None",
        total: int,
        done: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._process, self._total, self._done, self._clock = process, total, done, clock
        self._told = clock()

    @classmethod
    def of(cls, logger: "LoggerConfig", folder: Path, total: int, done: int) -> "Live":
        """What `logger=` says of a run in a folder."""
        return cls(_started(folder, Destination.of(logger)) if logger.live else None, total, done)

    def update(self, examples: int, tokens_per_s: float | None) -> None:
        """So many more examples are answered."""
        self._done += examples
        if self._process is None or self._clock() - self._told < EVERY_S:
            return
        self._told = self._clock()
        told = {"progress/examples": self._done, "progress/share": self._done / self._total}
        told |= {} if tokens_per_s is None else {"progress/tokens_per_s": tokens_per_s}
        assert self._process.stdin is not None
        # Gone, or so far behind that the pipe is full.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(told).encode() + b"\n")

    def close(self) -> None:
        """Let it end, so that the results can be told to the same W&B run."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            status: int | None = process.wait(Destination.timeout_s)
        except subprocess.TimeoutExpired:
            status = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if status != 0:
            _log.warning("W&B was not told of the progress of this run, which goes on")


def _started(folder: Path, to: Destination) -> "subprocess.Popen[bytes] | None":
    home = folder.resolve() / "wandb"
    try:
        home.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "runners.wandb_process", "live"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd=Path(__file__).resolve().parents[1],
            env=environment_below(home),
            start_new_session=True,
        )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        where = {**asdict(to), "id": folder.name, "dir": str(home.parent)}
        process.stdin.write(json.dumps(where).encode() + b"\n")
    except OSError as error:
        _log.warning("W&B is not told of the progress of this run: %s", error)
        return None
    return process
