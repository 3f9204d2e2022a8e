"""Being asked to stop: a scheduler's signal ends a run between two batches, not within one."""

import signal
from types import FrameType

# What SLURM sends before it takes a machine away: when it preempts, and when the time is nearly up.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interrupted(Exception):
    """The run was asked to stop, and did so with everything finished on disk."""


class StopRequest:
    """Whether somebody has asked this process to stop."""

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> None:
        """Take the signals of a scheduler as a request, for the rest of this process."""
        for number in SIGNALS:
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def check(self) -> None:
        """Raise `Interrupted` if a stop has been asked for."""
        if self.asked:
            raise Interrupted("asked to stop; the finished examples are kept")
