"""Control of FFN-SkipLLM: the same eligible FFNs and warm-up, but skipped at random, token by token."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.shared.draws import draw
from methods.shared.eligible import EligibleFFNs
from methods.shared.method import Method
from methods.shared.profile import Profile
from methods.shared.ranges import within
from methods.shared.target import Solvable
from models.counters import FFN
from models.stack import Stack
from models.step import Step


@dataclass(frozen=True)
class RandomFFNParams(EligibleFFNs):
    """Parameters of the random control.

    Attributes
    ----------
    share : float or None
        Share of the eligible FFNs that each token skips. None: whatever `target_skip` solves, else none.
    """

    SOLVED: ClassVar[str] = "share"
    share: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, 0, 1, "share")


class RandomFFN(Method):
    """Every token skips its own random set; the count is exact up to a stochastic rounding."""

    drawn = "#56B4E9 P"
    Params = RandomFFNParams
    params: RandomFFNParams
    solves = Solvable("share", at=lambda share: share, rises=True)
    batch_policy = "gather"

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        self.eligible = self.params.layers(len(stack.layers))

    def schedule(self, max_new_tokens: int) -> None:
        super().schedule(max_new_tokens)
        self.warmup = self.params.warmup(max_new_tokens)

    def predicted_runs(self, profile: Profile) -> Tensor:
        steps = len(profile.indices)
        drawing = int((profile.indices >= self.params.warmup(profile.max_new_tokens)).sum())
        runs = torch.full((2, len(self.stack.layers)), float(steps))
        runs[FFN, list(self.eligible)] -= drawing * (self.params.share or 0)
        return runs

    def forward(self, ids: Tensor, step: Step) -> Tensor:
        if not self.params.share or self.batch.step_index < self.warmup:
            return self.stack.run(self.full, ids, step)
        skipped = [draw(self.eligible, self.params.share, noise) for noise in self.batch.noise]
        if len(skipped) == 1:
            return self.stack.run(self.full.without_ffn(skipped[0]), ids, step)
        hidden = self.stack.embed(ids, step)
        for layer in self.stack.layers:
            layer_input = hidden
            hidden = layer.attention(hidden, step)
            running = [row for row, out in enumerate(skipped) if layer.index not in out]
            if running:
                everyone = len(running) == len(skipped)
                rows = None if everyone else torch.tensor(running, device=hidden.device)
                hidden = layer.ffn(hidden, layer_input, rows)
        return hidden
