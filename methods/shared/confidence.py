"""When a prediction counts as settled: CALM's confidences and decaying threshold (Schuster et al. 2022,
section 3)."""

import math
from dataclasses import dataclass

from torch import Tensor

from models.numerics import cosine
from models.stack import Stack

DECAYS = ("calm", "free", "none")
# The least that each can be: a difference of probabilities, a cosine.
CONFIDENCES = {"softmax": 0.0, "saturation": -1.0}


def decayed(threshold: float, decay: str, tau: float, index: int, horizon: int) -> float:
    """lambda_i of decode step `index` of at most `horizon`.

    Parameters
    ----------
    threshold : float
        lambda.
    decay : str
        calm: clip(.9 lambda + .1 exp(-tau i/N), 0, 1), the paper's; free: .9 lambda + .1 lambda exp(-tau
        i/N), as FREE's code has it; none: lambda.
    """
    fall = math.exp(-tau * index / horizon)
    if decay == "calm":
        return min(max(0.9 * threshold + 0.1 * fall, 0.0), 1.0)
    return 0.9 * threshold + 0.1 * threshold * fall if decay == "free" else threshold


@dataclass(frozen=True)
class ExitRule:
    """When a state is good enough to leave with; `kind` is softmax or saturation, the rest as in `decayed`.

    A threshold of None, or above 1, is never reached, whatever the decay.
    """

    kind: str
    threshold: float | None
    decay: str
    tau: float

    def threshold_at(self, share: float) -> float:
        """The threshold at a place in [0, 1] of the interval that `target_skip` searches.

        Cosines of neighbouring layers crowd below 1: it is even in the logarithm of their distance from it.
        """
        return 1 - 10 ** (-4 * share) if self.kind == "saturation" else share

    def needed(self, index: int, max_new_tokens: int) -> float:
        """The confidence that an exit needs in decode step `index`."""
        if self.threshold is None or self.threshold > 1:
            return math.inf
        return decayed(self.threshold, self.decay, self.tau, index, max_new_tokens)

    def confidence(self, stack: Stack, hidden: Tensor, below: Tensor) -> Tensor:
        """Confidence [rows] in states [rows, width] after a layer, with the state below it."""
        return softmax_response(stack, hidden) if self.kind == "softmax" else saturation(hidden, below)


def softmax_response(stack: Stack, hidden: Tensor) -> Tensor:
    """p1 - p2 of the head on states [rows, width], untempered; [rows], float32. Costs one head evaluation."""
    with stack.counters.purpose("decision"):
        top = stack.head(hidden).float().softmax(-1).topk(2, dim=-1).values
    return top[:, 0] - top[:, 1]


def saturation(hidden: Tensor, below: Tensor) -> Tensor:
    """Cosine of the outputs [rows, width] of a layer and of the one below; [rows], float32."""
    return cosine(below, hidden)
