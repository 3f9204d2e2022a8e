"""One decoder layer opened into sub-layers; the implementations are `models.hf`, `fused` and `native`."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.cache import KVCache
from models.counters import ATTENTION, FFN, Counters
from models.step import Step

Rotary = Callable[[Tensor, Step], tuple[Tensor, Tensor]]
Rows = Tensor | Sequence[int]
Measure = Callable[[Tensor, Tensor, Tensor], Tensor]


class Layer:
    """One decoder layer. A sub-layer is skipped by not calling it; none changes its input.

    An implementation says what the two blocks compute; this class counts, picks rows and draws masks.

    Attributes
    ----------
    index : int
    attention_weights, ffn_weights, kv_weights : int
        Parameters that a pass of the attention block, of the FFN, and of `write_kv` reads.
    """

    attention_weights: int
    ffn_weights: int
    kv_weights: int

    def __init__(self, index: int, *, window: int | None, cache: Callable[[], KVCache], counters: Counters):
        self.index = index
        self._window, self._cache, self._counters = window, cache, counters

    # What an implementation computes, for rows already picked and counted.

    def _attended(self, state: Tensor, step: Step) -> Tensor:
        """The attention block's output of states [n, T, width], before the residual add; writes their K,V."""
        raise NotImplementedError

    def _fed(self, state: Tensor) -> Tensor:
        """The FFN's output of states [n, T, width], before the residual add."""
        raise NotImplementedError

    def _stored(self, state: Tensor, step: Step) -> None:
        """Write the K,V of states [n, T, width]."""
        raise NotImplementedError

    def matrices(self) -> list[Tensor]:
        """The weight matrices that a pass of both sub-layers reads."""
        raise NotImplementedError

    # The two sub-layers as a whole; an implementation that has them in one piece overrides them.

    def _attention_sum(self, state: Tensor, step: Step) -> Tensor:
        """States [n, T, width] after the attention sub-layer."""
        return _normed(state + self._attended(state, step), self._attention_last)

    def _ffn_sum(self, hidden: Tensor, state: Tensor) -> Tensor:
        """States [n, T, width] after the FFN sub-layer: of `hidden`, from an FFN that reads `state`."""
        return _normed(hidden + self._fed(state), self._ffn_last)

    def _ffn_measured(self, hidden: Tensor, state: Tensor, measure: Measure) -> tuple[Tensor, Tensor]:
        """The same, and what is measured."""
        output = self._fed(state)
        after = _normed(hidden + output, self._ffn_last)
        return after, measure(hidden, output, after)

    # The norm after a residual add, in families that have it there.
    _attention_last: Callable[[Tensor], Tensor] | None = None
    _ffn_last: Callable[[Tensor], Tensor] | None = None
    # The FFN reads the layer's input.
    _parallel = False

    def attention(self, hidden: Tensor, step: Step, rows: Rows | None = None) -> Tensor:
        """The state after the attention sub-layer; writes this layer's K,V of the step's slots.

        Parameters
        ----------
        hidden : Tensor [rows, T, width]
        step : Step
        rows : Tensor [n] or sequence of int, or None
            Run only these rows and pass the others through; None: all.

        Returns
        -------
        Tensor [rows, T, width]
        """
        rows = _indices(rows, hidden)
        state, step = (hidden, step) if rows is None else (hidden[rows], step.select(rows))
        self.note_attention(len(state), step)
        return _placed(hidden, self._attention_sum(state, step), rows)

    def ffn_measured(
        self, hidden: Tensor, layer_input: Tensor, measure: Measure, rows: Rows | None = None
    ) -> tuple[Tensor, Tensor]:
        """The FFN sub-layer, and what a method wants to know about it.

        Parameters
        ----------
        hidden, layer_input, rows
            As in `ffn`.
        measure : callable (before, output, after) -> Tensor
            Takes states [n, T, width] of the rows that run: before the FFN, its bare output, and after the
            residual add.

        Returns
        -------
        Tensor [rows, T, width], Tensor
            The state as `ffn` gives it, and what was measured.
        """
        rows = _indices(rows, hidden)
        self.note_ffn(hidden.shape[1], rows)
        entered = layer_input if self._parallel else hidden
        if rows is None:
            return self._ffn_measured(hidden, entered, measure)
        after, measured = self._ffn_measured(hidden[rows], entered[rows], measure)
        return _placed(hidden, after, rows), measured

    def ffn(self, hidden: Tensor, layer_input: Tensor, rows: Rows | None = None) -> Tensor:
        """The state after the FFN sub-layer.

        Parameters
        ----------
        hidden : Tensor [rows, T, width]
            The state after the layer's attention.
        layer_input : Tensor [rows, T, width]
            The state that entered the layer; read by families with a parallel residual.
        rows : Tensor [n] or sequence of int, or None
            Run only these rows and pass the others through; None: all.

        Returns
        -------
        Tensor [rows, T, width]
        """
        rows = _indices(rows, hidden)
        self.note_ffn(hidden.shape[1], rows)
        entered = layer_input if self._parallel else hidden
        if rows is None:
            return self._ffn_sum(hidden, entered)
        return _placed(hidden, self._ffn_sum(hidden[rows], entered[rows]), rows)

    def note_attention(self, rows: int, step: Step) -> None:
        """Count one pass of the attention sub-layer over so many rows."""
        self._counters.sub_layer(ATTENTION, self.index, step.tokens, step.rows)
        self._counters.attended(rows * step.length, rows * step.tokens)

    def note_ffn(self, tokens: int, rows: Tensor | None = None) -> None:
        """Count one pass of the FFN sub-layer; rows as in `ffn`."""
        self._counters.sub_layer(FFN, self.index, tokens, rows)

    def write_kv(self, hidden: Tensor, step: Step, rows: Rows | None = None) -> None:
        """Write this layer's own K,V of a given state into the step's slots, without attention.

        Parameters
        ----------
        hidden : Tensor [rows, T, width]
            The state that enters the layer.
        step : Step
        rows : Tensor [n] or sequence of int, or None
            Write only these rows; None: all.
        """
        rows = _indices(rows, hidden)
        if rows is not None:
            hidden, step = hidden[rows], step.select(rows)
        self._counters.kv_pass(self.index, len(hidden) * step.tokens)
        self._stored(hidden, step)

    def _visible(self, step: Step) -> Tensor | None:
        """What this layer's queries see, [rows, 1, T, length], bool: the step's view, less its window, less
        holes. None: all of it for one token, plain causality for a pass from slot 0."""
        cache = self._cache()
        window = self._window if self._window is not None and step.length > self._window else None
        if step.visible is None and window is None and cache.valid is None:
            return None
        key = ("visible", window, None if cache.valid is None else self.index)
        if key not in step.derived:
            step.derived[key] = self._narrowed(step, cache, window)
        return step.derived[key]

    def _narrowed(self, step: Step, cache: KVCache, window: int | None) -> Tensor:
        visible = step.explicit()
        rows = slice(0, cache.rows) if step.rows is None else step.rows
        if window is not None:
            positions = cache.positions[rows, : step.length]
            visible = visible & (step.positions[:, :, None] - positions[:, None] < window)
        if cache.valid is not None:
            # The step's own slots are about to be written.
            own = (step.slots[:, None] == torch.arange(step.length, device=step.slots.device)).any(0)
            visible = visible & (cache.valid[self.index, rows, : step.length] | own)[:, None]
        return visible[:, None]


def _indices(rows: Rows | None, hidden: Tensor) -> Tensor | None:
    """Rows as a tensor of their numbers; a mask would pick the right rows and put them back elsewhere."""
    if rows is None or (isinstance(rows, Tensor) and rows.dtype == torch.int64):
        return rows
    given = torch.as_tensor(rows, device=hidden.device)
    return given.nonzero().flatten() if given.dtype == torch.bool else given.long()


def _normed(summed: Tensor, last: Callable[[Tensor], Tensor] | None) -> Tensor:
    return summed if last is None else last(summed)


def _placed(hidden: Tensor, after: Tensor, rows: Tensor | None) -> Tensor:
    """The states of all rows, of which some (None: all) have changed."""
    return after if rows is None else hidden.index_copy(0, rows, after)
