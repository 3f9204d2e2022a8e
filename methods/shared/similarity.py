"""How much each sub-layer turns the residual stream, measured where it will be skipped: in decode steps."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from methods.shared.method import Method
from methods.shared.profile import full_steps
from models.batch import Batch
from models.numerics import cosine
from models.stack import Stack


@dataclass(frozen=True)
class MeanCosines:
    """Mean cosines of the state before and after, by layer.

    Attributes
    ----------
    ffn : list of float
        Before and after the FFN's add.
    layer : list of float
        Before and after the whole layer.
    """

    ffn: list[float]
    layer: list[float]


def mean_cosines(full: Method, stack: Stack, batches: Iterable[Batch]) -> MeanCosines:
    """Average the cosines over all decode steps of the full model.

    Parameters
    ----------
    full : Method
        The full model.
    stack : Stack
    batches : iterable of Batch

    Raises
    ------
    MethodError
        There was no decode step.
    """
    full.bind(stack)
    totals = torch.zeros(2, len(stack.layers), dtype=torch.float64, device=stack.device)
    steps = 0
    for batch, seen in full_steps(full, batches):
        for layer, states in enumerate(seen):
            totals[0, layer] += cosine(states.before, states.above).sum()
            totals[1, layer] += cosine(states.below, states.above).sum()
        steps += batch.rows
    ffn, layers = (totals / steps).tolist()
    return MeanCosines(ffn, layers)
