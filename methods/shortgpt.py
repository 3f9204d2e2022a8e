"""ShortGPT: drop the layers that change the residual stream least.

Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", 2024, arXiv
2403.03853. Block influence BI_l = 1 - E[cos(X_l, X_{l+1})] on calibration text. The paper prunes for the
prompt too; here the prompt is read in full, as by every method of the comparison.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from methods.full import Full
from methods.shared.dropped import DroppedLayers
from methods.shared.method import Method
from methods.shared.similarity import mean_cosines
from methods.shared.target import Solvable
from models.batch import Batch
from models.plan import Plan
from models.stack import Stack


@dataclass(frozen=True)
class ShortGPTParams(DroppedLayers):
    """Parameters of ShortGPT: how many layers it drops, those with the lowest block influence."""


class ShortGPT(Method):
    """Static and chosen once, on calibration prompts and the full model's answers to them."""

    drawn = "#0072B2 <"
    Params = ShortGPTParams
    params: ShortGPTParams
    kv_policy = "nested"
    needs_calibration = True

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        depth = len(stack.layers)
        self.solves = Solvable("layers", at=lambda share: round(share * (depth - 1)), rises=True, counts=True)
        self.influence: list[float] = []
        self._choose()

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Block influence of every layer."""
        self.influence = [1 - cosine for cosine in mean_cosines(Full(), self.stack, batches).layer]
        self._choose()

    @property
    def calibration(self) -> dict[str, Any]:
        return {"influence": self.influence}

    def restore(self, calibration: dict[str, Any]) -> None:
        self.influence = calibration["influence"]
        self._choose()

    def _choose(self) -> None:
        depth = len(self.stack.layers)
        least = sorted(range(len(self.influence)), key=self.influence.__getitem__)
        self.dropped = sorted(least[: self.params.count(depth)])
        self._plan = Plan.of_layers(depth, set(range(depth)) - set(self.dropped))

    @property
    def nominal_skip(self) -> float:
        return (self.params.layers or 0) / len(self.stack.layers)

    def plan(self, index: int) -> Plan:
        return self._plan
