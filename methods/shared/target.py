"""Equal compute: which parameter of a method `target_skip` solves, and how."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

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
    counts : bool
        Whether the value is a number of sub-layers that all steps leave out, whatever the answers are.
    """

    name: str
    at: Callable[[float], float | int]
    rises: bool
    counts: bool = False


@dataclass(frozen=True, kw_only=True)
class TargetParams:
    """Parameters of every method that can be set to a realised skip.

    Attributes
    ----------
    SOLVED : str
        The parameter that is solved; subclasses name it.
    target_skip : float or None
        Realised skip, warm-up included, to solve the method's parameter for on calibration prompts. An
        explicit value of that parameter switches solving off; with another target than the usual one it is
        refused.
    target_unit : str
        weighted: sub-layers weighted by their parameters; ffn or attention: FFNs or attention blocks alone.
    """

    SOLVED: ClassVar[str]
    target_skip: float | None = None
    target_unit: str = "weighted"

    def __post_init__(self) -> None:
        if self.target_skip is not None and not 0 <= self.target_skip < 1:
            raise MethodError(
                f"target_skip={self.target_skip} is out of range: it must lie in [0, 1), or be null"
            )
        one_of(self, "target_unit", *UNITS)

    @property
    def given(self) -> Any:
        """The value of the parameter that is solved otherwise; None: it is to be solved, if it can be."""
        return getattr(self, self.SOLVED)

    @property
    def to_solve(self) -> bool:
        """Whether there is a target, and not yet a value for it."""
        return self.target_skip is not None and self.given is None

    def refuse_both(self) -> None:
        """Refuse a target beside the parameter that would be solved for it.

        That is no check of `__post_init__`, since a solved parameter stands beside its target.

        Raises
        ------
        MethodError
            Both are given. The usual target does not count: nobody need have given it.
        """
        if self.given is None or self.target_skip in (None, type(self).target_skip):
            return
        raise MethodError(
            f"{self.SOLVED}={self.given} and target_skip={self.target_skip} exclude each other: "
            f"target_skip is what {self.SOLVED} is solved for; leave one of them out"
        )
