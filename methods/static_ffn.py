"""Control of FFN-SkipLLM: one fixed set of FFNs for every token, the paper's ablation without
input-adaptivity."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from methods.full import Full
from methods.shared.eligible import EligibleFFNs
from methods.shared.errors import MethodError
from methods.shared.method import Method
from methods.shared.ranges import at_least
from methods.shared.similarity import mean_cosines
from methods.shared.target import Solvable
from models.batch import Batch
from models.plan import Plan
from models.stack import Stack


@dataclass(frozen=True)
class StaticFFNParams(EligibleFFNs):
    """Parameters of the static control.

    Attributes
    ----------
    count : int or None
        FFNs to skip: those with the highest mean cosine between the residual stream before and after them.
        None: whatever `target_skip` solves, else none.
    """

    SOLVED: ClassVar[str] = "count"
    count: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 0, "count")


class StaticFFN(Method):
    """The set is chosen on calibration prompts and never changes."""

    drawn = "#009E73 p"
    Params = StaticFFNParams
    params: StaticFFNParams
    needs_calibration = True

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        self.eligible = self.params.layers(len(stack.layers))
        most = len(self.eligible)
        self.solves = Solvable("count", at=lambda share: round(share * most), rises=True, counts=True)
        if self.params.count is not None and self.params.count > most:
            raise MethodError(
                f"count={self.params.count} is out of range: {most} FFNs are eligible in this model"
            )
        self.similarity: list[float] = []
        self._choose()

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Mean cosine of every eligible FFN over decode steps of the full model on calibration prompts."""
        cosines = mean_cosines(Full(), self.stack, batches).ffn
        self.similarity = [cosines[layer] for layer in self.eligible]
        self._choose()

    @property
    def calibration(self) -> dict[str, Any]:
        return {"similarity": self.similarity}

    def restore(self, calibration: dict[str, Any]) -> None:
        self.similarity = calibration["similarity"]
        self._choose()

    def _choose(self) -> None:
        order = sorted(range(len(self.similarity)), key=lambda place: -self.similarity[place])
        skipped = [self.eligible[place] for place in order[: self.params.count or 0]]
        self._static = self.full.without_ffn(skipped)

    def schedule(self, max_new_tokens: int) -> None:
        super().schedule(max_new_tokens)
        self.warmup = self.params.warmup(max_new_tokens)

    def plan(self, index: int) -> Plan:
        return self.full if index < self.warmup else self._static
