"""Timing one batch: prefill and every decode call, between the moments at which tokens are on the host."""

import time
from collections.abc import Callable

import torch

Clock = Callable[[], float]


def synchroniser(device: torch.device) -> Callable[[], None]:
    """What has to be waited for before a clock on the host means anything."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


class Stopwatch:
    """A `Watch` that keeps every lap.

    Parameters
    ----------
    synchronise, clock
    arrived : callable or None
        Called after every decode call, off the clock.

    Attributes
    ----------
    prefill_s : float
        Seconds from the start to token 0.
    laps : list of (float, dict)
        Seconds of every decode call, and the tokens it gave each row that was running.
    """

    def __init__(
        self,
        synchronise: Callable[[], None],
        clock: Clock = time.perf_counter,
        arrived: Callable[[], None] | None = None,
    ):
        self._synchronise, self._clock, self._arrived = synchronise, clock, arrived
        self.prefill_s = 0.0
        self.laps: list[tuple[float, dict[int, int]]] = []
        synchronise()
        self._last = clock()

    def _lap(self) -> float:
        self._synchronise()
        now = self._clock()
        lap, self._last = now - self._last, now
        return lap

    def prefilled(self) -> None:
        """Token 0 is there."""
        self.prefill_s = self._lap()

    def decoded(self, taken: list[int], live: list[int]) -> None:
        """A decode call has ended."""
        self.laps.append((self._lap(), dict(zip(live, taken, strict=True))))
        if self._arrived is not None:
            self._arrived()
            self._last = self._clock()

    @property
    def decode_s(self) -> float:
        """Seconds of all decode calls."""
        return sum(seconds for seconds, _ in self.laps)

    def row(self, row: int) -> tuple[list[float], list[int]]:
        """Seconds and tokens of the decode calls in which one row was running."""
        mine = [(seconds, taken[row]) for seconds, taken in self.laps if row in taken]
        return [seconds for seconds, _ in mine], [tokens for _, tokens in mine]
