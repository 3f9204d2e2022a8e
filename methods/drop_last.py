"""Drop the last layers while decoding: the plain static early exit that AdaSkip's code compares with."""

from dataclasses import dataclass

from methods.shared.errors import MethodError
from methods.shared.method import Method
from methods.shared.target import Solvable, TargetParams
from models.plan import Plan
from models.stack import Stack


@dataclass(frozen=True)
class DropLastParams(TargetParams):
    """Parameters of the static cut.

    Attributes
    ----------
    layers : int or None
        Layers dropped from the top. None: whatever `target_skip` solves, else none.
    """

    target_skip: float | None = 0.2
    layers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None and self.layers < 0:
            raise MethodError(f"layers={self.layers} is out of range: it must be 0 or more, or null")


class DropLast(Method):
    """Static, so the dropped layers' K,V of generated tokens are never read."""

    Params = DropLastParams
    params: DropLastParams
    kv_policy = "nested"

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        depth, dropped = len(stack.layers), self.params.layers or 0
        if dropped >= depth:
            raise MethodError(f"layers={dropped} is out of range: the model has {depth}, and one must stay")
        self._plan = Plan.of_layers(depth, range(depth - dropped))
        self.solves = Solvable("layers", at=lambda share: round(share * (depth - 1)), rises=True)

    @property
    def nominal_skip(self) -> float:
        return (self.params.layers or 0) / len(self.stack.layers)

    def plan(self, index: int) -> Plan:
        return self._plan
