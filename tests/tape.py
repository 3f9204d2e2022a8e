"""A recorder for the CPU that behaves like a CUDA graph: kernels and addresses stay, Python is not run."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TapeRecorder:
    """Plays back kernels, each on the tensors it was recorded with.

    Attributes
    ----------
    recordings, plays : int
    """

    def __init__(self):
        self.recordings = self.plays = 0

    def record(self, run: Callable[[], tuple[Tensor, ...]]) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        # As often as the real one runs it before it records.
        run()
        tape = _Tape()
        with tape:
            outputs = run()
        self.recordings += 1

        def play() -> None:
            self.plays += 1
            for kernel, args, named, written in tape.calls:
                for old, new in zip(written, _tensors(kernel(*args, **named)), strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)

        return outputs, play


class _Tape(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict, list[Tensor]]] = []

    def __torch_dispatch__(self, kernel, types, args=(), kwargs=None):
        # What waits for the device cannot be recorded: the host would go on with an old value.
        assert kernel not in _WAITING, f"{kernel} asks the device while a pass is recorded"
        result = kernel(*args, **(kwargs or {}))
        self.calls.append((kernel, args, kwargs or {}, _tensors(result)))
        return result


_WAITING = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.masked_select.default,
}


def _tensors(result: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
