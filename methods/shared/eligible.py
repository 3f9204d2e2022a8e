"""What FFN-SkipLLM and its controls share: which FFNs may be skipped, and from which decode step on."""

import math
from dataclasses import dataclass

from methods.shared.errors import MethodError
from methods.shared.ranges import MOST
from methods.shared.target import TargetParams


@dataclass(frozen=True)
class EligibleFFNs(TargetParams):
    """Cold regions and warm-up (Jaiswal et al. 2024, Algorithm 1); base of the parameters of ffnskip and its
    controls.

    Attributes
    ----------
    warmup_tokens : int or "auto"
        Decode steps that run in full. auto: min(25, ceil(.08 * max_new_tokens)); the paper speaks of 25 to 30
        tokens, or of 5 to 10 % of the length.
    cold_start, cold_end : int or float
        Only layers cold_start <= l < cold_end may lose their FFN. An int is a layer, a float a share of it.
    """

    target_skip: float | None = 0.2
    warmup_tokens: int | str = "auto"
    cold_start: int | float = 0.15
    cold_end: int | float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_tokens != "auto" and (
            isinstance(self.warmup_tokens, str) or not 0 <= self.warmup_tokens <= MOST
        ):
            raise MethodError(
                f"warmup_tokens={self.warmup_tokens} is out of range: it must be auto, 0 or more"
            )
        for name in ("cold_start", "cold_end"):
            value = getattr(self, name)
            if not 0 <= value <= (1 if isinstance(value, float) else MOST):
                raise MethodError(
                    f"{name}={value} is out of range: it must be a layer (int, 0 or more) "
                    "or a share of the depth (float in [0, 1])"
                )

    def layers(self, depth: int) -> range:
        """The layers whose FFN may be skipped, in a model of `depth` layers."""
        start, end = (
            round(value * depth) if isinstance(value, float) else value
            for value in (self.cold_start, self.cold_end)
        )
        if not 0 <= start < end <= depth:
            raise MethodError(
                f"cold_start={self.cold_start} and cold_end={self.cold_end} leave no layer in {start}..{end} "
                f"in a model of {depth} layers: 0 <= cold_start < cold_end <= {depth} must hold"
            )
        return range(start, end)

    def warmup(self, max_new_tokens: int) -> int:
        """Decode steps that run in full."""
        if isinstance(self.warmup_tokens, str):
            return min(25, math.ceil(0.08 * max_new_tokens))
        return self.warmup_tokens
