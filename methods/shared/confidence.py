"""When a prediction counts as settled: CALM's confidences and decaying threshold (Schuster et al. 2022,
section 3)."""

import math

from torch import Tensor

from models.numerics import cosine
from models.stack import Stack

DECAYS = ("calm", "free", "none")


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


def softmax_response(stack: Stack, hidden: Tensor) -> Tensor:
    """p1 - p2 of the head on states [rows, width], untempered; [rows], float32. Costs one head evaluation."""
    with stack.counters.purpose("decision"):
        top = stack.head(hidden).float().softmax(-1).topk(2, dim=-1).values
    return top[:, 0] - top[:, 1]


def saturation(hidden: Tensor, below: Tensor) -> Tensor:
    """Cosine of the outputs [rows, width] of a layer and of the one below; [rows], float32."""
    return cosine(below, hidden)
