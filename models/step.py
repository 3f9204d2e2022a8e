"""Where one pass over the model stands: what it feeds, where it writes, what it sees."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One pass of T tokens for some rows; immutable.

    A *position* is a token's place in its sequence (rotary and learned embeddings read it). A *slot* is a
    column of the KV cache. They differ as soon as rows are padded or a pass is a draft that writes past the
    end.

    Attributes
    ----------
    positions : Tensor [rows, T], int64
    slots : Tensor [T], int64
        Where K and V of the T tokens go; the same columns for every row.
    length : int
        Attention reads the slots [0, length).
    visible : Tensor [rows, T, length], bool, or None
        What each query sees. None: everything, for one token; plain causality, for a pass that starts at slot
        0.
    start : int or None
        First slot, when the slots are contiguous (a slice is written faster than an index).
    rows : Tensor [rows], int64, or None
        The cache's rows that take part; None: all.
    """

    positions: Tensor
    slots: Tensor
    length: int
    visible: Tensor | None = None
    start: int | None = None
    rows: Tensor | None = None
    # What layers derive from this step and share (rotary tables, masks by window): computed once a pass.
    derived: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def causal(cls, start: int, tokens: int, pads: Tensor, allowed: Tensor | None) -> "Step":
        """The pass that appends `tokens` tokens at slot `start`.

        Parameters
        ----------
        start, tokens : int
        pads : Tensor [rows], int64
            Left padding of each row, in slots; position = slot - pad, and 0 within the padding.
        allowed : Tensor [rows, capacity], bool, or None
            Slots that hold no padding; None when there is none, which lets attention go without a mask.
        """
        end = start + tokens
        slots = torch.arange(start, end, device=pads.device)
        positions = (slots - pads[:, None]).clamp_min(0)
        visible = None
        if tokens > 1 and (start > 0 or allowed is not None):
            visible = causal_mask(slots, end)
        if allowed is not None:
            visible = allowed[:, None, :end] if visible is None else visible & allowed[:, None, :end]
            if tokens > 1:
                # A padding query sees at least itself: a row of attention without any key is NaN.
                visible = visible | (slots[:, None] == torch.arange(end, device=slots.device))
        elif visible is not None:
            visible = visible.expand(len(pads), -1, -1)
        return cls(positions=positions, slots=slots, length=end, visible=visible, start=start)

    @classmethod
    def tree(cls, start: int, parents: Sequence[int], pads: Tensor, allowed: Tensor | None) -> "Step":
        """The pass of a token at slot `start` and a tree of tokens below it, in the slots after it.

        A token sees its ancestors and what lies before `start`; its position is its depth.

        Parameters
        ----------
        start : int
        parents : sequence of int
            Index of each token's parent in the tree, which comes before it; -1: the token at `start`.
        pads, allowed
            As in `causal`.
        """
        end, device = start + 1 + len(parents), pads.device
        depths, sees = [0], torch.zeros(1 + len(parents), end, dtype=torch.bool)
        sees[0, : start + 1] = True
        for node, parent in enumerate(parents, start=1):
            depths.append(depths[parent + 1] + 1)
            sees[node] = sees[parent + 1]
            sees[node, start + node] = True
        visible = sees.to(device)[None].expand(len(pads), -1, -1)
        if allowed is not None:
            visible = visible & allowed[:, None, :end]
        positions = start + torch.tensor(depths, device=device) - pads[:, None]
        slots = torch.arange(start, end, device=device)
        return cls(positions=positions, slots=slots, length=end, visible=visible, start=start)

    @property
    def tokens(self) -> int:
        """T, the tokens each row feeds."""
        return self.positions.shape[1]

    def select(self, rows: Tensor) -> "Step":
        """The same pass for some of its rows only.

        Parameters
        ----------
        rows : Tensor [n], int64
            Indices into this step's rows.
        """
        # Layers ask for the same rows one after the other; the key holds on to `rows`, so its id stays its
        # own.
        key = ("select", id(rows))
        if key not in self.derived:
            selected = replace(
                self,
                positions=self.positions[rows],
                visible=None if self.visible is None else self.visible[rows],
                rows=rows if self.rows is None else self.rows[rows],
                derived={},
            )
            self.derived[key] = (rows, selected)
        return self.derived[key][1]

    def away(self, part: int, device: torch.device) -> "Step":
        """The same pass for the layers of a part that lies on another device; part 0 is the home."""
        if part == 0:
            return self
        key = ("away", part)
        if key not in self.derived:
            self.derived[key] = replace(
                self,
                positions=self.positions.to(device),
                slots=self.slots.to(device),
                visible=None if self.visible is None else self.visible.to(device),
                rows=None if self.rows is None else self.rows.to(device),
                derived={},
            )
        return self.derived[key]

    def explicit(self) -> Tensor:
        """`visible` written out, also where it is None."""
        if self.visible is not None:
            return self.visible
        return causal_mask(self.slots, self.length).expand(len(self.positions), -1, -1)


def causal_mask(slots: Tensor, length: int) -> Tensor:
    """Tensor [1, T, length], bool: the query at a slot sees that slot and those before it."""
    return (torch.arange(length, device=slots.device) <= slots[:, None])[None]
