"""Whether drafting pays, by the clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

# Plain passes that tell what a token costs without drafts; drafted passes of a trial; plain passes after the
# first lost trial, twice as many after each further one, so that losing trials become rare; and trials won in
# a row after which the plain cost is taken anew.
PROBE, TRIAL, PAUSE, AGAIN = 4, 16, 64, 16


@dataclass
class Payoff:
    """Says pass by pass whether to draft.

    Attributes
    ----------
    clock : callable () -> float
        Seconds.
    """

    clock: Callable[[], float] = time.perf_counter
    _left: int = PROBE
    _trying: bool = False
    _lost: int = 0
    _won: int = 0
    _tokens: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    _seconds: dict[bool, float] = field(default_factory=lambda: {False: 0.0, True: 0.0})

    @property
    def tries(self) -> bool:
        """Whether the next pass should draft."""
        return self._trying

    def took(self, tokens: int, seconds: float) -> None:
        """A pass gave so many tokens in so much time."""
        self._tokens[self._trying] += tokens
        self._seconds[self._trying] += seconds
        self._left -= 1
        if self._left:
            return
        if not self._trying:
            self._begin(trying=True, passes=TRIAL)
        elif self._rate(True) < self._rate(False):
            self._begin(trying=False, passes=PAUSE * 2**self._lost)
            self._lost, self._won = self._lost + 1, 0
        else:
            self._lost, self._won = 0, self._won + 1
            probing = self._won % AGAIN == 0
            self._begin(trying=not probing, passes=PROBE if probing else TRIAL)

    def _begin(self, *, trying: bool, passes: int) -> None:
        """The next passes, timed from nothing."""
        self._trying, self._left = trying, passes
        self._tokens[trying], self._seconds[trying] = 0, 0.0

    def _rate(self, trying: bool) -> float:
        return self._tokens[trying] / self._seconds[trying] if self._seconds[trying] else 0.0
