"""Unified Layer Skipping: one static set of evenly spaced layers for a target speedup.

Liu, Meng, Zhou, "Accelerating Inference in Large Language Models with a Unified Layer Skipping Strategy",
2024, arXiv 2404.06954. The paper fine-tunes the model for each target; without, this is an untrained
ablation.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from methods.shared.errors import MethodError
from methods.shared.method import Method
from methods.shared.ranges import at_least, one_of
from methods.shared.target import Solvable, TargetParams
from models.plan import Plan
from models.stack import Stack


@dataclass(frozen=True)
class UnifiedParams(TargetParams):
    """Parameters of Unified Layer Skipping.

    Attributes
    ----------
    target_speedup : float or None
        Depth / layers kept. None: whatever `target_skip` solves, else 2.
    rule : str
        official: the released code's, which below 2x drops one contiguous block near the top;
        balanced: evenly spaced skipped layers; auto: official from 2x on, balanced below.
    """

    SOLVED: ClassVar[str] = "target_speedup"
    target_speedup: float | None = None
    rule: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "target_speedup")
        one_of(self, "rule", "auto", "official", "balanced")


def official(depth: int, kept: int) -> list[int]:
    """Layers kept by the released code: both ends, and multiples of depth // (kept - 1) from below until
    enough."""
    interval = depth // (kept - 1)
    chosen = {0, depth - 1}
    for layer in range(1, depth - 1):
        if len(chosen) < kept and layer % interval == 0:
            chosen.add(layer)
    return sorted(chosen)


def balanced(depth: int, kept: int) -> list[int]:
    """Layers kept when the skipped ones are spread evenly between the ends."""
    skip = depth - kept
    skipped = {1 + (2 * k + 1) * (depth - 2) // (2 * skip) for k in range(skip)}
    return [layer for layer in range(depth) if layer not in skipped]


class Unified(Method):
    """Static, so the skipped layers' K,V of generated tokens are never read."""

    drawn = "#E69F00 d"
    Params = UnifiedParams
    params: UnifiedParams
    trained_in_paper = True
    kv_policy = "nested"

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        depth = len(stack.layers)
        given = self.params.target_speedup
        # Exact arithmetic: 30 / 1.2 is 24.999... in binary. Unasked, two layers stay in the shallowest model.
        speedup = min(Fraction(2), Fraction(depth, 2)) if given is None else Fraction(str(given))
        kept = int(depth / speedup)
        if kept < 2:
            raise MethodError(
                f"target_speedup={float(speedup):g} would keep {kept} of {depth} layers; "
                f"at least 2 must stay: ask for {depth / 2:g} or less"
            )
        rule = self.params.rule
        if rule == "auto":
            rule = "official" if speedup >= 2 else "balanced"
        self.kept = official(depth, kept) if rule == "official" else balanced(depth, kept)
        self._plan = Plan.of_layers(depth, self.kept)

        def at(share: float) -> float:
            layers = round(depth - share * (depth - 2))
            # Rounded down, so that depth / value does not fall below the layers meant.
            return int(depth / layers * 10**4) / 10**4

        self.solves = Solvable("target_speedup", at=at, rises=True, counts=True)

    @property
    def nominal_skip(self) -> float:
        return 1 - len(self.kept) / len(self.stack.layers)

    def plan(self, index: int) -> Plan:
        return self._plan
