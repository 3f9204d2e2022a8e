"""SkipDecode: every position has one exit for the whole batch, and it never rises.

Del Corro et al., "SkipDecode: Autoregressive Skip Decoding with Batching and Caching for Efficient LLM
Inference", 2023, arXiv 2307.02628. The paper fine-tunes the model with this schedule; without, this is an
untrained ablation.
"""

from dataclasses import dataclass
from typing import ClassVar

from methods.shared.errors import MethodError
from methods.shared.method import Method
from methods.shared.ranges import at_least
from methods.shared.target import Solvable, TargetParams
from models.plan import Plan
from models.stack import Stack

# Depth, and layers at the first and the last step, by the paper's model and target speedup. From second-hand
# accounts of its configurations: check them against it before quoting.
PRESETS = {
    "opt-1.3b-2x": (24, 16, 8),
    "opt-1.3b-3x": (24, 10, 6),
    "opt-1.3b-4x": (24, 6, 6),
    "opt-1.3b-5x": (24, 5, 5),
    "opt-6.7b-2x": (32, 22, 11),
    "opt-6.7b-3x": (32, 13, 9),
    "opt-6.7b-4x": (32, 9, 7),
    "opt-6.7b-5x": (32, 6, 6),
}


@dataclass(frozen=True)
class SkipDecodeParams(TargetParams):
    """Parameters of SkipDecode.

    Attributes
    ----------
    max_layers, min_layers : int or None
        Layers that run at decode step 0 and from `horizon` on. None: all of them; half of them, rounded up,
        or whatever `target_skip` solves for `min_layers`.
    horizon : int or None
        Decode steps over which the exit falls. None: `max_new_tokens`.
    warmup_layers : int
        Bottom layers that always run.
    preset : str or None
        `max_layers` and `min_layers` of one of the paper's configurations, a key of `PRESETS`.
    """

    SOLVED: ClassVar[str] = "min_layers"
    max_layers: int | None = None
    min_layers: int | None = None
    horizon: int | None = None
    warmup_layers: int = 1
    preset: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "max_layers", "min_layers", "horizon", "warmup_layers")
        if self.preset is not None:
            self._take_preset(self.preset)

    def _take_preset(self, preset: str) -> None:
        if preset not in PRESETS:
            raise MethodError(f"preset={preset} is unknown; choose {', '.join(PRESETS)}")
        _, most, least = PRESETS[preset]
        for name, value in (("max_layers", most), ("min_layers", least)):
            if getattr(self, name) not in (None, value):
                raise MethodError(f"preset={preset} means {name}={value}, not {getattr(self, name)}")
            object.__setattr__(self, name, value)


class SkipDecode(Method):
    """Runs the bottom `warmup_layers` and the top exit - warmup_layers layers.

    The sets are nested: a layer that runs at step i ran at every earlier position, so no K,V is ever missing.
    """

    drawn = "#D55E00 >"
    Params = SkipDecodeParams
    params: SkipDecodeParams
    trained_in_paper = True
    kv_policy = "nested"

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        depth, preset = len(stack.layers), self.params.preset
        if preset is not None and PRESETS[preset][0] != depth:
            raise MethodError(f"preset={preset} is for {PRESETS[preset][0]} layers; this model has {depth}")
        self.most = depth if self.params.max_layers is None else self.params.max_layers
        self.least = -(-depth // 2) if self.params.min_layers is None else self.params.min_layers
        if self.params.min_layers is None and self.params.max_layers is not None:
            self.least = min(self.least, self.most)
        warmup = self.params.warmup_layers
        if not warmup <= self.least <= self.most <= depth:
            raise MethodError(
                f"warmup_layers={warmup}, min_layers={self.least}, max_layers={self.most} do not fit {depth} "
                f"layers: 1 <= warmup_layers <= min_layers <= max_layers <= {depth} must hold"
            )
        most = self.most
        self.solves = Solvable(
            "min_layers", at=lambda share: round(most - share * (most - warmup)), rises=True
        )

    def schedule(self, max_new_tokens: int) -> None:
        super().schedule(max_new_tokens)
        self._active = frozenset(range(len(self.stack.layers)))

    def exit(self, index: int) -> int:
        """Layers that run at decode step `index`, rounded half to even."""
        t = min(1.0, index / (self.params.horizon or self.max_new_tokens))
        return round((1 - t) * self.most + t * self.least)

    def plan(self, index: int) -> Plan:
        depth, warmup = len(self.stack.layers), self.params.warmup_layers
        active = frozenset((*range(warmup), *range(depth - (self.exit(index) - warmup), depth)))
        assert active <= self._active, f"step {index} runs layers that an earlier position left out"
        self._active = active
        return Plan.of_layers(depth, active)
