"""Which layer every token left at."""

from typing import Any

import torch
from torch import Tensor

from models.batch import Batch


def runs_up_to(leaves: Tensor) -> Tensor:
    """Token runs [2, layers] of steps that end after the first layer which they leave, or after the last.

    Parameters
    ----------
    leaves : Tensor [steps, layers], bool
    """
    depth = leaves.shape[1]
    last = torch.where(leaves.any(1), leaves.int().argmax(1), depth - 1)
    runs = (torch.arange(depth) <= last[:, None]).sum(0).float()
    return torch.stack([runs, runs])


class Exits:
    """Exit layers of a batch, by original row, one entry a decode step; the last layer where nothing was left
    out.

    Parameters
    ----------
    batch : Batch
    """

    def __init__(self, batch: Batch):
        self.layers: list[list[int]] = [[] for _ in batch.prompts]
        self._batch = batch
        self._last = len(batch.stack.layers) - 1

    def note(self, rows: list[int], layer: int) -> None:
        """Rows, numbered as in the current tensors, leave at a layer."""
        for row in rows:
            self.layers[self._batch.live[row]].append(layer)

    def rest(self) -> None:
        """Whatever row has not left in this step ran to the end."""
        for row in self._batch.live:
            if len(self.layers[row]) <= self._batch.step_index:
                self.layers[row].append(self._last)

    def columns(self, row: int) -> dict[str, Any]:
        """Columns of the results, of a row (original number).

        Skipped steps by the exits: a step that takes waiting states along may count more than one full pass.
        """
        exits = self.layers[row]
        return {"exit_layers": exits, "skipped_steps": sum(layer < self._last for layer in exits)}
