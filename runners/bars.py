"""Progress bars, for whoever watches a terminal."""

from threading import RLock
from typing import Any, ClassVar
from weakref import WeakSet

from tqdm import tqdm


class Bar(tqdm):  # type: ignore[type-arg]
    """A bar of this process alone.

    tqdm's own lock is a semaphore that forked processes share, for bars that they draw together: one of them
    that is killed while it holds it stops all others for ever.
    """

    _lock: ClassVar[Any] = RLock()
    _instances: ClassVar[Any] = WeakSet()
    monitor = None

    def __init__(self, total: int, unit: str, initial: int = 0, desc: str | None = None):
        super().__init__(total=total, initial=initial, unit=unit, desc=desc, disable=None, leave=False)
