"""The `hf` layer: one decoder layer opened into sub-layers, driving the transformers sub-modules."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from models.cache import KVCache
from models.compat import SlotCache, as_argument, cache_keyword, rotate, store_only
from models.counters import ATTENTION, FFN, Counters
from models.families import Family
from models.step import Step


class HFLayer:
    """One decoder layer. A sub-layer is skipped by not calling it; none changes its input.

    Parameters
    ----------
    index : int
    module : nn.Module
        The decoder layer of the transformers model.
    family : Family
    config : transformers config
    window : int or None
        Positions that the attention looks back on, itself included.
    rotary : callable (hidden, step) -> (cos, sin), or None
    cache : callable () -> KVCache
        The cache in use; it may be replaced by a larger one between batches.
    counters : Counters
    """

    def __init__(
        self,
        index: int,
        module: nn.Module,
        family: Family,
        *,
        config: Any,
        window: int | None,
        rotary: Callable[[Tensor, Step], tuple[Tensor, Tensor]] | None,
        cache: Callable[[], KVCache],
        counters: Counters,
    ):
        def part(path: str) -> Any:
            return attrgetter(path)(module)

        def call(path: str | None) -> Any:
            return _same if path is None else part(path).forward

        self.index = index
        # `forward` itself: looking for hooks at every call is a tenth of a step's cost beside its kernels.
        self._attention = part(family.attention)
        self._attend, self._ffn = self._attention.forward, [call(path) for path in family.ffn]
        norms: tuple[Any, Any] = call(family.attention_norm), call(family.ffn_norm)
        same: tuple[Any, Any] = (_same, _same)
        first = family.norm_first(config)
        self._attention_norm, self._ffn_norm = norms if first else same
        self._attention_last, self._ffn_last = same if first else norms
        self._attention_post, self._ffn_post = call(family.attention_post_norm), call(family.ffn_post_norm)
        self._parallel, self._window = family.parallel_residual(config), window
        self._rotary, self._cache, self._counters = rotary, cache, counters
        self._cache_keyword = cache_keyword(self._attention)
        self._family = family
        projections = [family.fused] if family.fused else [family.key, family.value]
        self.attention_weights = _parameters(self._attention)
        self.ffn_weights = sum(_parameters(part(path)) for path in family.ffn)
        self.kv_weights = sum(_parameters(self._part(path)) for path in projections)

    def _slots(self, step: Step) -> SlotCache:
        if "slots" not in step.derived:
            step.derived["slots"] = SlotCache(self._cache(), step)
        return step.derived["slots"]

    def _part(self, path: str) -> Any:
        return attrgetter(path)(self._attention)

    def attention(self, hidden: Tensor, step: Step, rows: Tensor | None = None) -> Tensor:
        """The state after the attention sub-layer; writes this layer's K,V of the step's slots.

        Parameters
        ----------
        hidden : Tensor [rows, T, width]
        step : Step
        rows : Tensor [n], int64, or None
            Run only these rows and pass the others through; None: all.

        Returns
        -------
        Tensor [rows, T, width]
        """
        state, step = (hidden, step) if rows is None else (hidden[rows], step.select(rows))
        self._counters.sub_layer(ATTENTION, self.index, step.tokens, step.rows)
        self._counters.attended(len(state) * step.length, len(state) * step.tokens)
        output = self._attend(
            self._attention_norm(state),
            position_embeddings=self._rotary(hidden, step) if self._rotary else None,
            attention_mask=self._mask(step, hidden.dtype),
            **{self._cache_keyword: self._slots(step)},
        )
        return _joined(hidden, self._attention_post(output[0]), rows, self._attention_last)

    def ffn_output(self, hidden: Tensor, layer_input: Tensor, rows: Tensor | None = None) -> Tensor:
        """The FFN's bare output, before its residual add; parameters as in `ffn`.

        Returns
        -------
        Tensor [rows or n, T, width]
            Of the rows that run.
        """
        self._counters.sub_layer(FFN, self.index, hidden.shape[1], rows)
        state = layer_input if self._parallel else hidden
        output = self._ffn_norm(state if rows is None else state[rows])
        for module in self._ffn:
            output = module(output)
        return self._ffn_post(output)

    def ffn_add(self, hidden: Tensor, output: Tensor, rows: Tensor | None = None) -> Tensor:
        """The state after the FFN sub-layer, from its bare output; parameters as in `ffn`."""
        return _joined(hidden, output, rows, self._ffn_last)

    def ffn(self, hidden: Tensor, layer_input: Tensor, rows: Tensor | None = None) -> Tensor:
        """The state after the FFN sub-layer.

        Parameters
        ----------
        hidden : Tensor [rows, T, width]
            The state after the layer's attention.
        layer_input : Tensor [rows, T, width]
            The state that entered the layer; read by families with a parallel residual.
        rows : Tensor [n], int64, or None
            Run only these rows and pass the others through; None: all.

        Returns
        -------
        Tensor [rows, T, width]
        """
        return self.ffn_add(hidden, self.ffn_output(hidden, layer_input, rows), rows)

    def write_kv(self, hidden: Tensor, step: Step, rows: Tensor | None = None) -> None:
        """Write this layer's own K,V of a given state into the step's slots, without attention.

        Parameters
        ----------
        hidden : Tensor [rows, T, width]
            The state that enters the layer.
        step : Step
        rows : Tensor [n], int64, or None
            Write only these rows; None: all.
        """
        if rows is not None:
            hidden, step = hidden[rows], step.select(rows)
        self._counters.kv_pass(self.index, len(hidden) * step.tokens)
        normed = self._attention_norm(hidden)
        family, rotary = self._family, self._rotary(hidden, step) if self._rotary else None
        if family.fused:
            rest = {"position_embeddings": rotary, "attention_mask": None}
            store_only(self._attention, normed, self._cache(), step, **rest)
            return
        shape = (*hidden.shape[:-1], -1, self._attention.head_dim)
        key = self._part(family.key)(normed).view(shape)
        if family.key_norm is not None:
            key = self._part(family.key_norm)(key)
        value = self._part(family.value)(normed).view(shape)
        key = key.transpose(1, 2)
        key = key if rotary is None else rotate(key, *rotary)
        self._cache().write(self.index, key, value.transpose(1, 2), step)

    def _mask(self, step: Step, dtype: torch.dtype) -> Tensor | None:
        """What this layer's queries see, [rows, 1, T, length]: the step's view, less its window, less
        holes."""
        cache = self._cache()
        window = self._window if self._window is not None and step.length > self._window else None
        key = ("mask", window, None if cache.valid is None else self.index)
        if key not in step.derived:
            visible = self._build_mask(step, cache, window)
            step.derived[key] = as_argument(visible, step, self._attention, dtype)
        return step.derived[key]

    def _build_mask(self, step: Step, cache: KVCache, window: int | None) -> Tensor | None:
        if window is None and cache.valid is None:
            return None if step.visible is None else step.visible[:, None]
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


def _same(state: Tensor) -> Tensor:
    return state


def _joined(hidden: Tensor, output: Tensor, rows: Tensor | None, last: Callable[[Tensor], Tensor]) -> Tensor:
    """The residual add of an output that exists for some rows only (None: for all), and the norm after it."""
    if rows is None:
        return last(hidden + output)
    return hidden.index_copy(0, rows, last(hidden[rows] + output))


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
