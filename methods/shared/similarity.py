"""How much each sub-layer turns the residual stream, measured where it will be skipped: in decode steps."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from methods.shared.errors import MethodError
from methods.shared.method import Method
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
    """Decode batches with the full model and average the cosines over all decode steps.

    Parameters
    ----------
    full : Method
        The full model, for the prefill.
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
    for batch in batches:
        if first := full.prefill(batch):
            batch.accept(first, fed=0)
        while batch.live:
            ids, step = batch.decode_step()
            hidden = stack.embed(ids, step)
            for layer in stack.layers:
                layer_input = hidden
                before = layer.attention(hidden, step)
                hidden = layer.ffn(before, layer_input)
                totals[0, layer.index] += cosine(before, hidden).sum()
                totals[1, layer.index] += cosine(layer_input, hidden).sum()
            steps += batch.rows
            batch.accept(batch.sample(stack.head(hidden[:, -1])), fed=1)
    if not steps:
        raise MethodError(
            "the calibration prompts yielded no decode step: every answer ended with its first token; "
            "raise max_new_tokens or give other calibration prompts"
        )
    ffn, layers = (totals / steps).tolist()
    return MeanCosines(ffn, layers)
