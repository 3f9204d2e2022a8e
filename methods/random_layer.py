"""Control of the layer-skipping methods: every token skips random layers, the first and the last excepted."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.shared.draws import draw
from methods.shared.method import Method
from methods.shared.profile import Profile
from methods.shared.ranges import within
from methods.shared.target import Solvable, TargetParams
from models.step import Step


@dataclass(frozen=True)
class RandomLayerParams(TargetParams):
    """Parameters of the random control.

    Attributes
    ----------
    share : float or None
        Share of the layers between the first and the last that each token skips. None: whatever `target_skip`
        solves, else none.
    """

    SOLVED: ClassVar[str] = "share"
    target_skip: float | None = 0.2
    share: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, 0, 1, "share")


class RandomLayer(Method):
    """The count is exact up to a stochastic rounding; a skipped layer gets its own K,V of the state passing
    by."""

    drawn = "#7F7F7F X"
    Params = RandomLayerParams
    params: RandomLayerParams
    solves = Solvable("share", at=lambda share: share, rises=True)
    kv_policy = "propagate"
    batch_policy = "gather"

    @property
    def nominal_skip(self) -> float | None:
        depth = len(self.stack.layers)
        return None if self.params.share is None else self.params.share * (depth - 2) / depth

    def predicted_runs(self, profile: Profile) -> Tensor:
        runs = torch.full((2, len(self.stack.layers)), float(sum(profile.lengths)))
        runs[:, 1:-1] *= 1 - (self.params.share or 0)
        return runs

    def forward(self, ids: Tensor, step: Step) -> Tensor:
        if not self.params.share:
            return self.stack.run(self.full, ids, step)
        middle = range(1, len(self.stack.layers) - 1)
        skipped = [draw(middle, self.params.share, noise) for noise in self.batch.noise]
        hidden = self.stack.embed(ids, step)
        for layer in self.stack.layers:
            running = [row for row, out in enumerate(skipped) if layer.index not in out]
            passing = [row for row in range(len(skipped)) if row not in running]
            below = hidden
            if passing:
                layer.write_kv(hidden, step, torch.tensor(passing, device=hidden.device) if running else None)
            if running:
                rows = torch.tensor(running, device=hidden.device) if passing else None
                hidden = layer.attention(hidden, step, rows)
                hidden = layer.ffn(hidden, below, rows)
        return hidden
