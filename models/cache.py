"""The KV cache: preallocated, addressed by slot, never cloned."""

import torch
from torch import Tensor

from models.step import Step

# Slots by which caches grow: what is made for one length serves those just below it.
BLOCK = 256


def whole_blocks(slots: int) -> int:
    """So many slots, rounded up to whole blocks."""
    return -(-slots // BLOCK) * BLOCK


class KVCache:
    """Keys and values of every layer.

    There is no cache-wide length: who decodes knows how far each sequence is, and a skipping policy may leave
    a layer without K,V at some slots. What a query sees is said by its `Step`.

    Attributes
    ----------
    blocks : Tensor [layers, 2, rows, kv_heads, capacity, head_dim]
        Keys and values.
    keys, values : list of Tensor [rows, kv_heads, capacity, head_dim], one a layer
        Views of it.
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
        self.blocks = torch.zeros(layers, 2, rows, heads, capacity, width, dtype=dtype, device=device)
        self.keys, self.values = (list(half.unbind(0)) for half in self.blocks.unbind(1))
        self.positions = torch.zeros(rows, capacity, dtype=torch.int64, device=device)
        self.valid: Tensor | None = None
        self.device = device
        self._live(rows)
        self._all_rows = rows
        self.capacity = capacity

    @property
    def parts(self) -> "tuple[KVCache, ...]":
        """Itself, which is all there is; see `devices.SplitCache`."""
        return (self,)

    def begin(self, rows: int) -> None:
        """Start new sequences in the first `rows` rows."""
        self._live(rows)
        self.valid = None

    def _live(self, rows: int) -> None:
        self.rows = rows
        self._whole: list[tuple[Tensor, Tensor]] | None = None

    def fits(self, rows: int, slots: int) -> bool:
        """Whether `rows` sequences of `slots` slots fit without a new allocation."""
        return rows <= self._all_rows and slots <= self.capacity

    def write(self, layer: int, key: Tensor, value: Tensor, step: Step) -> None:
        """Store K and V, [rows, kv_heads, T, head_dim], of a step's tokens."""
        if step.rows is None and step.start is not None:
            written = self._views(step)[0][layer]
            written[0].copy_(key)
            written[1].copy_(value)
        else:
            where = self._where(step)
            # Indexing with two tensors apart moves the indexed axes to the front: [rows, T, heads, width].
            apart = step.rows is not None
            self.keys[layer][where] = key.transpose(1, 2) if apart else key
            self.values[layer][where] = value.transpose(1, 2) if apart else value
        self.note(layer, step)

    def write_both(self, layer: int, both: Tensor, step: Step) -> None:
        """The same for K and V in one tensor [rows, 2, kv_heads, T, head_dim], in one copy where possible."""
        if step.rows is None and step.start is not None:
            self._views(step)[0][layer].copy_(both.transpose(0, 1))
            self.note(layer, step)
        else:
            self.write(layer, both[:, 0], both[:, 1], step)

    def read(self, layer: int, step: Step) -> tuple[Tensor, Tensor]:
        """K and V, [rows, kv_heads, length, head_dim], of the slots that a step may see."""
        if step.rows is not None:
            keys, values = self.keys[layer], self.values[layer]
            return keys[step.rows, :, : step.length], values[step.rows, :, : step.length]
        _, all_keys, all_values = self._views(step)
        return all_keys[layer], all_values[layer]

    def whole(self, layer: int) -> tuple[Tensor, Tensor]:
        """K and V of a layer, [rows, kv_heads, capacity, head_dim], of all slots of the live rows."""
        if self._whole is None:
            live = self.blocks.narrow(2, 0, self.rows)
            self._whole = [(keys, values) for keys, values in (block.unbind(0) for block in live.unbind(0))]
        return self._whole[layer]

    def _views(self, step: Step) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
        """By layer: where a step of all rows writes, [2, rows, kv_heads, T, head_dim], and what it reads.

        Made for all layers at once: one by one, views cost a step more than its small kernels.
        """
        if "kv" not in step.derived:
            live = self.blocks.narrow(2, 0, self.rows)
            start = step.start or 0
            written = live.narrow(4, start, step.tokens).unbind(0)
            keys, values = (half.unbind(0) for half in live.narrow(4, 0, step.length).unbind(1))
            step.derived["kv"] = (written, keys, values)
        return step.derived["kv"]

    def note(self, layer: int, step: Step) -> None:
        """Mark a step's slots as valid in a layer, where validity is kept."""
        if self.valid is not None:
            rows, _, slots = self._where(step)
            self.valid[layer, rows, slots] = True

    def copy_layer(self, source: int, target: int, step: Step) -> None:
        """Give a layer another layer's K,V of a step's slots."""
        self.copy_from(self, source, target, step, step)

    def copy_from(self, other: "KVCache", source: int, target: int, there: Step, here: Step) -> None:
        """Give a layer the K,V of a layer in another cache; the step as it is there and here."""
        for own, others in ((self.keys, other.keys), (self.values, other.values)):
            own[target][self._where(here)] = others[source][other._where(there)].to(self.device)

    def _where(self, step: Step) -> tuple[Tensor | slice, slice, Tensor]:
        """A step's rows and slots, as indices of a layer's keys or values."""
        return (slice(0, self.rows) if step.rows is None else step.rows[:, None], slice(None), step.slots)

    def place(self, step: Step) -> None:
        """Remember which positions a step puts into its slots."""
        if step.rows is None:
            self.positions[: self.rows, step.slots] = step.positions
        else:
            self.positions[step.rows[:, None], step.slots] = step.positions

    def filled(self, slots: int) -> tuple[Tensor, Tensor]:
        """Views of the live rows' first `slots` slots: K,V [layers, 2, rows, kv_heads, slots, head_dim] and
        positions [rows, slots]."""
        return self.blocks[:, :, : self.rows, :, :slots], self.positions[: self.rows, :slots]

    def track_holes(self, filled: int) -> None:
        """Keep validity bits from here on; the first `filled` slots are valid in every layer."""
        valid = torch.zeros(
            len(self.keys), self._all_rows, self.capacity, dtype=torch.bool, device=self.positions.device
        )
        valid[:, :, :filled] = True
        # A hole is masked, and what an earlier sequence left there must not be a NaN: 0 x NaN is NaN.
        self.blocks[:, :, :, :, filled:] = 0
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
        self.blocks[:, :, : self.rows, :, start:end] = self.blocks[:, :, : self.rows, :, slots]
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
            self.blocks[:, :, target, :, :filled].copy_(self.blocks[:, :, row, :, :filled])
            self.positions[target].copy_(self.positions[row])
            if self.valid is not None:
                self.valid[:, target].copy_(self.valid[:, row])
        self._live(len(rows))
