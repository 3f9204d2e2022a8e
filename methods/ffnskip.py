"""FFN-SkipLLM: skip the FFNs after the one that no longer turns the residual stream.

Jaiswal et al., "FFN-SkipLLM: A Hidden Gem for Autoregressive Decoding with Adaptive Feed Forward Skipping",
EMNLP 2024, Algorithm 1.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.shared.eligible import EligibleFFNs
from methods.shared.method import Method
from methods.shared.profile import Profile, Seen
from methods.shared.ranges import at_least, one_of, within
from methods.shared.target import Solvable
from models.counters import FFN
from models.host_read import HostRead
from models.layers import Layer
from models.numerics import cosine
from models.stack import Stack
from models.step import Step


@dataclass(frozen=True)
class FFNSkipParams(EligibleFFNs):
    """Parameters of FFN-SkipLLM; the paper's threshold and span are not public, so `target_skip` finds the
    threshold.

    Attributes
    ----------
    threshold : float or None
        Similarity from which on an FFN counts as saturated. None: whatever `target_skip` solves, else never.
    skip_span : int or None
        FFNs skipped after a saturated one before the next test. None: all up to `cold_end`.
    similarity : str
        residual: cosine of the residual stream before and after the FFN's add, as in the paper;
        raw: cosine of the residual stream and the FFN's bare output, a misreading worth measuring.
    batch_policy : str
        gather: every row skips for itself; all: an FFN is skipped only when every row would skip it.
    """

    SOLVED: ClassVar[str] = "threshold"
    threshold: float | None = None
    skip_span: int | None = None
    similarity: str = "residual"
    batch_policy: str = "gather"

    def __post_init__(self) -> None:
        super().__post_init__()
        # A cosine.
        within(self, -1, 1, "threshold")
        at_least(self, 1, "skip_span")
        one_of(self, "similarity", "residual", "raw")
        one_of(self, "batch_policy", "gather", "all")


class FFNSkip(Method):
    """Attention always runs, so no K,V is ever missing; FFNs are skipped by token and row."""

    drawn = "#009E73 ^"
    Params = FFNSkipParams
    params: FFNSkipParams
    # Cosines crowd below 1, so the search is even in the logarithm of their distance from it.
    solves = Solvable("threshold", at=lambda share: 1 - 10 ** (-4 * share), rises=False)

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        self.eligible = self.params.layers(len(stack.layers))
        self.batch_policy = self.params.batch_policy

    def schedule(self, max_new_tokens: int) -> None:
        super().schedule(max_new_tokens)
        self.warmup = self.params.warmup(max_new_tokens)

    def forward(self, ids: Tensor, step: Step) -> Tensor:
        threshold = self.params.threshold
        if threshold is None or self.batch.step_index < self.warmup:
            return self.stack.run(self.full, ids, step)
        hidden = self.stack.embed(ids, step)
        skip_left = [0] * len(hidden)
        tested: tuple[list[int], int, HostRead] | None = None
        for layer in self.stack.layers:
            layer_input = hidden
            hidden = layer.attention(hidden, step)
            if tested is not None:
                # Not before: on a GPU the attention runs while the host waits for the test.
                running, span, similarities = tested
                for row, similarity in zip(running, similarities.tolist(), strict=True):
                    skip_left[row] = span if similarity >= threshold else 0
                tested = None
            if layer.index not in self.eligible:
                hidden = layer.ffn(hidden, layer_input)
                continue
            running = [row for row, left in enumerate(skip_left) if left == 0]
            skip_left = [max(left - 1, 0) for left in skip_left]
            if running:
                hidden, similar = self._run(layer, hidden, layer_input, running)
                tested = running, self._span(layer.index), HostRead(similar)
        return hidden

    def signal(self, layer: int, seen: Seen) -> Tensor | None:
        if layer not in self.eligible:
            return None
        measure = _residual if self.params.similarity == "residual" else _raw
        return measure(seen.before[:, None], seen.output[:, None], seen.above[:, None])

    def predicted_runs(self, profile: Profile) -> Tensor:
        steps, depth = profile.signals.shape
        runs = torch.full((2, depth), float(steps))
        threshold = math.inf if self.params.threshold is None else self.params.threshold
        cold = profile.indices >= self.params.warmup(profile.max_new_tokens)
        skip_left = torch.zeros(steps, dtype=torch.int64)
        for layer in self.eligible:
            running = skip_left == 0
            runs[FFN, layer] = float(running.sum())
            saturated = running & cold & (profile.signals[:, layer] >= threshold)
            skip_left = torch.where(saturated, self._span(layer), (skip_left - 1).clamp_min(0))
        return runs

    def _span(self, layer: int) -> int:
        """FFNs to skip after a saturated one."""
        return self.eligible.stop - layer - 1 if self.params.skip_span is None else self.params.skip_span

    def _run(
        self, layer: Layer, hidden: Tensor, layer_input: Tensor, running: list[int]
    ) -> tuple[Tensor, Tensor]:
        """The FFN for the rows that run, or for all under `batch_policy: all`; similarities of those that
        run."""
        measure = _residual if self.params.similarity == "residual" else _raw
        if len(running) == len(hidden):
            return layer.ffn_measured(hidden, layer_input, measure)
        rows = torch.tensor(running, device=hidden.device)
        if self.batch_policy == "gather":
            return layer.ffn_measured(hidden, layer_input, measure, rows)
        hidden, similar = layer.ffn_measured(hidden, layer_input, measure)
        return hidden, similar[rows]


def _residual(before: Tensor, output: Tensor, after: Tensor) -> Tensor:
    return cosine(before, after)[:, -1]


def _raw(before: Tensor, output: Tensor, after: Tensor) -> Tensor:
    return cosine(before, output)[:, -1]
