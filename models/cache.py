"""The KV cache: preallocated, addressed by slot, never cloned."""

import torch
from torch import Tensor

from models.step import Step


class KVCache:
    """Keys and values of every layer.

    There is no cache-wide length: who decodes knows how far each sequence is, and a skipping policy may leave
    a layer without K,V at some slots. What a query sees is said by its `Step`.

    Attributes
    ----------
    keys, values : list of Tensor [rows, kv_heads, capacity, head_dim], one a layer
    positions : Tensor [rows, capacity], int64
        The position of the token in each slot; kept only by models with sliding windows.
    valid : Tensor [layers, rows, capacity], bool, or None
        Slots that hold this layer's K,V; exists only after `track_holes`.
    """

    def __init__(
        self,
        layers: int,
        rows: int,
        heads: int,
        capacity: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
    ):
        # Zeros, not empty: a masked slot is multiplied by a weight of 0, and 0 x NaN is NaN.
        def block() -> Tensor:
            return torch.zeros(rows, heads, capacity, width, dtype=dtype, device=device)

        self.keys = [block() for _ in range(layers)]
        self.values = [block() for _ in range(layers)]
        self.positions = torch.zeros(rows, capacity, dtype=torch.int64, device=device)
        self.valid: Tensor | None = None
        self.rows = rows
        self._all_rows = rows
        self.capacity = capacity

    def begin(self, rows: int) -> None:
        """Start new sequences in the first `rows` rows."""
        self.rows = rows
        self.valid = None

    def fits(self, rows: int, slots: int) -> bool:
        """Whether `rows` sequences of `slots` slots fit without a new allocation."""
        return rows <= self._all_rows and slots <= self.capacity

    def write(self, layer: int, key: Tensor, value: Tensor, step: Step) -> None:
        """Store K and V, [rows, kv_heads, T, head_dim], of a step's tokens."""
        keys, values = self.keys[layer], self.values[layer]
        if step.rows is not None:
            where = (step.rows[:, None], slice(None), step.slots)
            # Indexing with two tensors apart moves the indexed axes to the front: [rows, T, heads, width].
            keys[where], values[where] = key.transpose(1, 2), value.transpose(1, 2)
        elif step.start is not None:
            # narrow is the cheapest view there is, and this runs in every layer of every step.
            self._live(keys).narrow(2, step.start, step.tokens).copy_(key)
            self._live(values).narrow(2, step.start, step.tokens).copy_(value)
        else:
            self._live(keys)[:, :, step.slots] = key
            self._live(values)[:, :, step.slots] = value
        if self.valid is not None:
            if step.rows is None:
                self.valid[layer, : self.rows, step.slots] = True
            else:
                self.valid[layer, step.rows[:, None], step.slots] = True

    def read(self, layer: int, step: Step) -> tuple[Tensor, Tensor]:
        """K and V, [rows, kv_heads, length, head_dim], of the slots that a step may see."""
        keys, values = self.keys[layer], self.values[layer]
        if step.rows is not None:
            return keys[step.rows, :, : step.length], values[step.rows, :, : step.length]
        return self._live(keys).narrow(2, 0, step.length), self._live(values).narrow(2, 0, step.length)

    def _live(self, block: Tensor) -> Tensor:
        """The rows in use of one layer's keys or values."""
        return block if self.rows == self._all_rows else block.narrow(0, 0, self.rows)

    def copy_layer(self, source: int, target: int, step: Step) -> None:
        """Give a layer another layer's K,V of a step's slots."""
        rows = slice(0, self.rows) if step.rows is None else step.rows[:, None]
        where = (rows, slice(None), step.slots)
        for blocks in (self.keys, self.values):
            blocks[target][where] = blocks[source][where]

    def place(self, step: Step) -> None:
        """Remember which positions a step puts into its slots."""
        if step.rows is None:
            self.positions[: self.rows, step.slots] = step.positions
        else:
            self.positions[step.rows[:, None], step.slots] = step.positions

    def track_holes(self, filled: int) -> None:
        """Keep validity bits from here on; the first `filled` slots are valid in every layer."""
        valid = torch.zeros(
            len(self.keys), self._all_rows, self.capacity, dtype=torch.bool, device=self.positions.device
        )
        valid[:, :, :filled] = True
        self.valid = valid

    def truncate(self, n: int) -> None:
        """Forget the slots from `n` on. Their K,V stay until overwritten: no step looks there."""
        if self.valid is not None:
            self.valid[:, :, n:] = False

    def keep(self, slots: Tensor, start: int) -> None:
        """Move what lies in `slots` (ascending, all >= `start`) to the contiguous run that begins at `start`.

        An accepted path through a draft tree is not contiguous; this makes it the continuation of its
        sequence.

        Parameters
        ----------
        slots : Tensor [n], int64
        start : int
        """
        end = start + len(slots)
        for block in (*self.keys, *self.values):
            block[: self.rows, :, start:end] = block[: self.rows, :, slots]
        self.positions[: self.rows, start:end] = self.positions[: self.rows, slots]
        if self.valid is not None:
            self.valid[:, : self.rows, start:end] = self.valid[:, : self.rows, slots]
        self.truncate(end)

    def keep_rows(self, rows: list[int], filled: int) -> None:
        """Go on with some rows (ascending) only, packed to the front; `filled` slots hold something.

        Moves in place: row i never moves up, so no row is overwritten before it has moved.
        """
        for target, row in enumerate(rows):
            if row == target:
                continue
            for block in (*self.keys, *self.values):
                block[target, :, :filled].copy_(block[row, :, :filled])
            self.positions[target].copy_(self.positions[row])
            if self.valid is not None:
                self.valid[:, target].copy_(self.valid[:, row])
        self.rows = len(rows)
