"""How far something long has come: a bar on a terminal, now and then a line in a log."""

import time
from collections.abc import Callable
from threading import RLock
from typing import Any, ClassVar
from weakref import WeakSet

from tqdm import tqdm

from runners.notices import say

# Seconds between two lines of a log.
EVERY_S = 60.0


class Bar(tqdm):  # type: ignore[type-arg]
    """A bar of this process alone; lines where there is no terminal.

    tqdm's own lock is a semaphore that forked processes share, for bars that they draw together: one of them
    that is killed while it holds it stops all others for ever.
    """

    _lock: ClassVar[Any] = RLock()
    _instances: ClassVar[Any] = WeakSet()
    monitor = None

    def __init__(
        self,
        total: int,
        unit: str,
        initial: int = 0,
        desc: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__(total=total, initial=initial, unit=unit, desc=desc, disable=None, leave=False)
        self._what, self._all, self._kind, self._clock = desc or "", total, unit, clock
        self._began = self._told = clock()
        self._before = self._done = initial
        self._note = ""

    def update(self, n: float | None = 1) -> bool | None:
        drawn: bool | None = super().update(n)
        self._done += int(n or 0)
        if self.disable and self._done < self._all and self._clock() - self._told >= EVERY_S:
            self._told = self._clock()
            left = (self._told - self._began) * (self._all - self._done) / (self._done - self._before)
            note = f", {self._note}" if self._note else ""
            say(
                f"{self._what}: {self._done} of {self._all} {self._kind}s{note}, about {_duration(left)} left"
            )
        return drawn

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        super().set_postfix_str(s, refresh)
        self._note = s


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
