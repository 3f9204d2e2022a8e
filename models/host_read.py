"""Numbers on their way from the device to the host, while the device goes on."""

import torch
from torch import Tensor


class HostRead:
    """A copy to the host that is under way; only `tolist` waits for it.

    Parameters
    ----------
    values : Tensor
    """

    def __init__(self, values: Tensor):
        self._values, self._arrived = values, None
        if values.device.type == "cuda":
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def tolist(self) -> list[float]:
        """The numbers."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._values.tolist()
