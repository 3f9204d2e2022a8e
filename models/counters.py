"""Work counted where it is done, so that a method cannot report a skip that did not happen."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

ATTENTION, FFN = 0, 1


@dataclass
class Tally:
    """Work of one purpose since the counters began.

    Attributes
    ----------
    passes : list of [layers] int, by ATTENTION and FFN
        Times a sub-layer's weights were read.
    runs : Tensor [2, layers, rows], int64
        Token runs: one row at one position through a sub-layer.
    kv_passes : list of int
        Times a layer's K,V projections were read by `write_kv`.
    head : float
        Evaluations of the LM head; a share of its columns counts as that share.
    kv_read, kv_written : int
        Slots of one layer's K,V of one row.
    """

    passes: list[list[int]]
    runs: Tensor
    kv_passes: list[int]
    head: float = 0.0
    kv_read: int = 0
    kv_written: int = 0


@dataclass
class Counters:
    """Tallies by purpose: prefill, final, decision, drafted, verified, searched, replayed.

    Runs that every row takes part in are counted as one number a sub-layer on the host; only runs of some of
    the rows touch a tensor, which may live on the device.
    """

    layers: int
    device: torch.device
    tallies: dict[str, Tally] = field(default_factory=dict)
    skipped_steps: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.begin(1)

    def begin(self, rows: int) -> None:
        """Start counting for a batch of `rows` sequences."""
        self.tallies = {}
        self._purpose = "final"
        self._rows = rows
        self._live = torch.arange(rows, device=self.device)
        with torch.inference_mode(False):
            self.skipped_steps = torch.zeros(rows, dtype=torch.int64, device=self.device)
        self._end_step()
        self._open()

    def _end_step(self) -> None:
        # What of the counts since the last fold belongs to steps that are over.
        self._shared_before: int = 0
        self._own_before: Tensor | int = 0

    def _open(self) -> None:
        if self._purpose not in self.tallies:
            self.tallies[self._purpose] = self._new_tally()
        self._tally = self.tallies[self._purpose]
        self._restart()

    # Made inside inference mode, a tally could not be added to after it.
    @torch.inference_mode(False)
    def _new_tally(self) -> Tally:
        return Tally(
            passes=[[0] * self.layers, [0] * self.layers],
            runs=torch.zeros(2, self.layers, self._rows, dtype=torch.int64, device=self.device),
            kv_passes=[0] * self.layers,
        )

    def _restart(self) -> None:
        self._shared = [[0] * self.layers, [0] * self.layers]
        self._own: Tensor | None = None

    def _fold(self) -> None:
        """Move what was counted for the rows alive now into the tally of all rows."""
        if self._purpose == "final":
            # A step may be interrupted by work of another purpose: what it has run so far stays its own.
            shared, own = self._totals()
            self._shared_before -= shared
            self._own_before = self._own_before - own
        runs = torch.tensor(self._shared, device=self.device)[:, :, None]
        self._tally.runs[:, :, self._live] += runs if self._own is None else runs + self._own
        self._restart()

    def _totals(self) -> tuple[int, Tensor | int]:
        """Runs since the last fold: by every row alike, and by each row besides."""
        shared = sum(self._shared[ATTENTION]) + sum(self._shared[FFN])
        return shared, 0 if self._own is None else self._own.sum((0, 1))

    @contextmanager
    def purpose(self, name: str) -> Iterator[None]:
        """Count what runs inside under another purpose than `final`."""
        before = self._purpose
        self._fold()
        self._purpose = name
        self._open()
        try:
            yield
        finally:
            self._fold()
            self._purpose = before
            self._open()

    def sub_layer(self, kind: int, layer: int, tokens: int, rows: Tensor | None) -> None:
        """One pass of `tokens` tokens for the given rows (None: all that are alive)."""
        self._tally.passes[kind][layer] += 1
        if rows is None:
            self._shared[kind][layer] += tokens
        else:
            if self._own is None:
                live = len(self._live)
                self._own = torch.zeros(2, self.layers, live, dtype=torch.int64, device=self.device)
            self._own[kind, layer, rows] += tokens

    def step_done(self) -> None:
        """Close a decode step of one token a row: notes the rows in which anything was skipped."""
        shared, own = self._totals()
        run = shared - self._shared_before + own - self._own_before
        self._shared_before, self._own_before = shared, own
        if isinstance(run, Tensor):
            self.skipped_steps[self._live] += run < 2 * self.layers
        elif run < 2 * self.layers:
            self.skipped_steps[self._live] += 1

    def keep_rows(self, rows: list[int]) -> None:
        """Go on with some of the live rows; a step has ended before its rows do."""
        self._fold()
        self._end_step()
        self._live = self._live[torch.tensor(rows, dtype=torch.int64, device=self.device)]

    def kv_pass(self, layer: int, slots: int) -> None:
        """K,V of `slots` slots projected and written without the attention around it."""
        self._tally.kv_passes[layer] += 1
        self._tally.kv_written += slots

    def attended(self, read: int, written: int) -> None:
        """Slots of K,V that one attention pass read and wrote, over all its rows."""
        self._tally.kv_read += read
        self._tally.kv_written += written

    def head(self, share: float) -> None:
        """One evaluation of the LM head, or of a share of its columns."""
        self._tally.head += share

    def tally(self, name: str) -> Tally:
        """What was counted under a purpose; zeros if nothing was."""
        self._fold()
        return self.tallies.get(name) or self._new_tally()
