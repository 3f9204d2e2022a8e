"""Drop the last layers while decoding: the plain static early exit that AdaSkip's code compares with."""

from dataclasses import dataclass

from methods.shared.dropped import DroppedLayers
from methods.shared.method import Method
from methods.shared.target import Solvable
from models.plan import Plan
from models.stack import Stack


@dataclass(frozen=True)
class DropLastParams(DroppedLayers):
    """Parameters of the static cut: how many layers it drops, from the top."""


class DropLast(Method):
    """Static, so the dropped layers' K,V of generated tokens are never read."""

    drawn = "#0072B2 o"
    Params = DropLastParams
    params: DropLastParams
    kv_policy = "nested"

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        depth = len(stack.layers)
        self._plan = Plan.of_layers(depth, range(depth - self.params.count(depth)))
        self.solves = Solvable("layers", at=lambda share: round(share * (depth - 1)), rises=True, counts=True)

    @property
    def nominal_skip(self) -> float:
        return (self.params.layers or 0) / len(self.stack.layers)

    def plan(self, index: int) -> Plan:
        return self._plan
