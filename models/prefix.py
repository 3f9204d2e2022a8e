"""The pass over prompts, kept: the same sequences are read once and decoded from often."""

from torch import Tensor

from models.stack import Stack


class Prefix:
    """What the pass over a batch's prompts left: its K,V and the state after each prompt's last token.

    For batches of the same prompts alone, on the same stack. It costs as much memory as the prompts' K,V.

    Parameters
    ----------
    most_bytes : int
        Nothing is kept beyond; the prompts are then read again.

    Attributes
    ----------
    bytes : int
        Memory of what is kept.
    """

    def __init__(self, most_bytes: int):
        self._most_bytes = most_bytes
        self._last: Tensor | None = None
        self._parts: list[tuple[Tensor, Tensor]] = []
        self.bytes = 0

    def keep(self, stack: Stack, slots: int, last: Tensor) -> None:
        """Copy the first `slots` slots of the live rows, and `last` [rows, width]."""
        parts = [cache.filled(slots) for cache in stack.cache.parts]
        size = sum(tensor.nbytes for part in parts for tensor in part)
        if size > self._most_bytes:
            return
        try:
            copied = [(blocks.clone(), positions.clone()) for blocks, positions in parts]
        except (RuntimeError, MemoryError):
            # Memory that holds the sequences need not hold them twice.
            return
        self._parts, self._last, self.bytes = copied, last.clone(), size

    def put_back(self, stack: Stack) -> Tensor | None:
        """Fill the cache as the pass would; the state [rows, width] it ended with, or None."""
        for cache, (blocks, positions) in zip(stack.cache.parts, self._parts, strict=False):
            own_blocks, own_positions = cache.filled(blocks.shape[4])
            own_blocks.copy_(blocks)
            own_positions.copy_(positions)
        return self._last
