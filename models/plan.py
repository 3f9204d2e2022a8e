"""A set of sub-layers that is known before the step."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Which sub-layers a pass runs.

    Attributes
    ----------
    attention, ffn : tuple of bool
        One entry a layer; False: that sub-layer is not called.
    """

    attention: tuple[bool, ...]
    ffn: tuple[bool, ...]

    @classmethod
    def full(cls, layers: int) -> "Plan":
        """Everything."""
        return cls((True,) * layers, (True,) * layers)

    @classmethod
    def of_layers(cls, layers: int, kept: Iterable[int]) -> "Plan":
        """Whole layers: the kept ones run both their sub-layers."""
        kept = frozenset(kept)
        runs = tuple(layer in kept for layer in range(layers))
        return cls(runs, runs)

    def without_ffn(self, skipped: Iterable[int]) -> "Plan":
        """The same plan with the FFNs of some layers left out."""
        skipped = frozenset(skipped)
        return Plan(self.attention, tuple(run and i not in skipped for i, run in enumerate(self.ffn)))
