"""Progress bars, for whoever watches a terminal."""

from threading import RLock
from typing import Any

from tqdm import tqdm


class Bar(tqdm):  # type: ignore[type-arg]
    """A bar of this process alone.

    tqdm's own lock is a semaphore of the system, for bars that several processes draw together; one of them
    that is killed while it holds it stops the others for ever.
    """

    _lock: Any = RLock()

    def __init__(self, total: int, unit: str, initial: int = 0):
        super().__init__(total=total, initial=initial, unit=unit, disable=None, leave=False)
