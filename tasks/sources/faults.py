"""Records that cannot be read: the first is an error, or they are left out, counted and named."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from tasks.errors import DataError

T = TypeVar("T")
# So few may be bad whatever their share, unless they are most of all.
_FEW = 10
_SHARE = 10


class Faults:
    """Nothing may be wrong: the first record that cannot be read is an error.

    Attributes
    ----------
    found : sequence of str
        What was wrong with those that were left out, where and why.
    """

    found: Sequence[str] = ()

    def read(self, make: Callable[[], T]) -> T | None:
        """What `make` returns; None if it raises a `DataError` that is put up with."""
        try:
            return make()
        except DataError as error:
            self.note(error)
            return None

    def note(self, error: DataError) -> None:
        """Put up with a record, or raise its error."""
        raise error

    def check(self, kept: int) -> None:
        """Raise a `DataError` if so many are wrong, beside those kept, that the whole must be something
        else."""


class LeftOut(Faults):
    """Records that cannot be read are left out."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def note(self, error: DataError) -> None:
        self.found.append(str(error))

    def check(self, kept: int) -> None:
        """Most must be readable, and of more than a few nine in ten."""
        bad = len(self.found)
        if not bad or (bad <= kept and (bad <= _FEW or bad * _SHARE <= bad + kept)):
            return
        if not kept and bad == 1:
            raise DataError(self.found[0])
        told = f"{bad} of {bad + kept} records cannot be read, too many to leave them out"
        raise DataError(f"{told}; the first: {self.found[0]}")


STRICT = Faults()
