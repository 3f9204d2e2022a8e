"""What the methods that drop a fixed number of layers share."""

from dataclasses import dataclass
from typing import ClassVar

from methods.shared.errors import MethodError
from methods.shared.ranges import at_least
from methods.shared.target import TargetParams


@dataclass(frozen=True)
class DroppedLayers(TargetParams):
    """A number of layers to drop.

    Attributes
    ----------
    layers : int or None
        Layers dropped. None: whatever `target_skip` solves, else none.
    """

    SOLVED: ClassVar[str] = "layers"
    target_skip: float | None = 0.2
    layers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 0, "layers")

    def count(self, depth: int) -> int:
        """Layers dropped from a model of `depth` layers."""
        if (self.layers or 0) >= depth:
            raise MethodError(
                f"layers={self.layers} is out of range: the model has {depth}, and one must stay"
            )
        return self.layers or 0
