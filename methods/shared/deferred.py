"""Exited states that wait and catch up in one pass (synchronized parallel decoding, Bae et al. 2023)."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from methods.shared.exits import Exits
from models.batch import Batch
from models.step import Step

Leaves = Callable[[int, Tensor, Tensor], list[bool]]


class Deferred:
    """The waiting states of one sequence.

    A state that left after layer e waits in front of layer e + 1. When a later token runs that layer, every
    state waiting there joins its pass. So each layer's K,V are complete, and exact, whenever attention reads
    them.

    Parameters
    ----------
    batch : Batch
        Of one row.

    Attributes
    ----------
    waiting : dict of int to list of (slot, position, state [1, 1, width])
        By the layer in front of which they wait.
    """

    def __init__(self, batch: Batch):
        self._batch = batch
        self.waiting: dict[int, list[tuple[int, int, Tensor]]] = {}

    def forward(self, hidden: Tensor, step: Step, leaves: Leaves, taken: Exits) -> Tensor:
        """One decode step.

        Parameters
        ----------
        hidden : Tensor [1, 1, width]
            The embedded token.
        step : Step
        leaves : callable (layer, state [1, width], state below [1, width]) -> list of bool
        taken : Exits

        Returns
        -------
        Tensor [1, 1, width]
            The state that the token leaves with.
        """
        travellers = [(self._batch.slot, int(step.positions[0, 0]))]
        for layer in self._batch.stack.layers:
            if joining := self.waiting.pop(layer.index, []):
                travellers, hidden = _merged(travellers, hidden, joining)
                step = _joint_step(travellers, step)
            below = hidden
            hidden = layer.ffn(layer.attention(hidden, step), below)
            if leaves(layer.index, hidden[:, -1], below[:, -1])[0]:
                states = hidden.split(1, dim=1)
                # Others that left here before may be waiting there still.
                self.waiting.setdefault(layer.index + 1, []).extend(
                    (*traveller, state) for traveller, state in zip(travellers, states, strict=True)
                )
                taken.note([0], layer.index)
                break
        taken.rest()
        return hidden[:, -1:]


def _merged(
    travellers: list[tuple[int, int]], hidden: Tensor, joining: list[tuple[int, int, Tensor]]
) -> tuple[list[tuple[int, int]], Tensor]:
    """Two groups in the order of their slots; the current token, the newest, stays last."""
    states = [*zip(travellers, hidden.split(1, dim=1), strict=True)]
    states += [((slot, position), state) for slot, position, state in joining]
    states.sort(key=lambda pair: pair[0])
    return [traveller for traveller, _ in states], torch.cat([state for _, state in states], dim=1)


def _joint_step(travellers: list[tuple[int, int]], step: Step) -> Step:
    """The pass of tokens whose slots need not be contiguous; each sees the slots up to its own."""
    slots = torch.tensor([slot for slot, _ in travellers], device=step.slots.device)
    positions = torch.tensor([[position for _, position in travellers]], device=step.slots.device)
    visible = (torch.arange(step.length, device=slots.device) <= slots[:, None])[None]
    return replace(step, positions=positions, slots=slots, visible=visible, start=None, derived={})
