"""Equal compute: which parameter of a method `target_skip` solves, and how."""

from collections.abc import Callable
from dataclasses import dataclass

from methods.shared.errors import MethodError
from methods.shared.ranges import one_of

UNITS = ("weighted", "ffn", "attention")


@dataclass(frozen=True)
class Solvable:
    """The parameter that `target_skip` solves.

    Attributes
    ----------
    name : str
    at : callable (share) -> value
        The value at a place in the search interval [0, 1].
    rises : bool
        Whether the skip rises along the interval, on the whole.
    """

    name: str
    at: Callable[[float], float | int]
    rises: bool


@dataclass(frozen=True, kw_only=True)
class TargetParams:
    """Parameters of every method that can be set to a realised skip.

    Attributes
    ----------
    target_skip : float or None
        Realised skip, warm-up included, to solve the method's parameter for on calibration prompts. An
        explicit value of that parameter switches solving off.
    target_unit : str
        weighted: sub-layers weighted by their parameters; ffn or attention: FFNs or attention blocks alone.
    """

    target_skip: float | None = None
    target_unit: str = "weighted"

    def __post_init__(self) -> None:
        if self.target_skip is not None and not 0 <= self.target_skip < 1:
            raise MethodError(
                f"target_skip={self.target_skip} is out of range: it must lie in [0, 1), or be null"
            )
        one_of(self, "target_unit", *UNITS)
