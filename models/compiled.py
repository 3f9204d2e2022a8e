"""The fused layer with the passes of one token compiled: what stands between two products is one kernel.

A sub-layer is compiled once for all layers of a model, with the weights as inputs; the number of rows, the
length of the cache and its capacity stay open. Passes of several tokens, and attention for some of the rows,
are left to the fused layer.
"""

from typing import Any

import torch
from torch import Tensor

from models.fused import FusedLayer
from models.programs import Shape, programs_of
from models.step import Step


class CompiledLayer(FusedLayer):
    """A fused layer whose decode steps run compiled programs; parameters as there."""

    def __init__(self, *args: Any, **more: Any):
        super().__init__(*args, **more)
        norms = [norm.plain for norm in (self._query_norm, self._key_norm) if norm is not None]
        self._programs = programs_of(
            Shape(
                width=self._qkv.weight.shape[1],
                ffn_width=self._down.weight.shape[1],
                heads=self._heads,
                kv_heads=self._kv_heads,
                head_width=self._width,
                scale=self._scale,
                epsilon=self._attention_norm.epsilon,
                dtype=self._qkv.weight.dtype,
                qkv_bias=self._qkv.bias is not None,
                out_bias=self._out.bias is not None,
                gate_up_bias=self._gate_up.bias is not None,
                down_bias=self._down.bias is not None,
                head_norms=bool(norms),
            )
        )
        first = self._attention_norm.plain
        biases = _present(self._qkv.bias, self._out.bias)
        self._attention_weights = [first, self._qkv.weight, self._out.weight, *biases, *norms]
        self._kv_weights = [first, self._kv.weight, *_present(self._kv.bias), *norms[1:]]
        self._ffn_weights = [self._ffn_norm.plain, self._gate_up.weight, self._down.weight]
        self._ffn_weights += _present(self._gate_up.bias, self._down.bias)
        self.reserve(1)

    def reserve(self, rows: int) -> None:
        self._programs.ready(rows)

    def _attention_sum(self, state: Tensor, step: Step) -> Tensor:
        if step.tokens > 1 or step.rows is not None:
            return super()._attention_sum(state, step)
        where = self._where(state, step)
        where.insert(3, self._seen(step))
        run = self._programs.find("attention", len(state))
        (summed,) = run([*where, *self._attention_weights])
        self._cache().note(self.index, step)
        return summed

    def _stored(self, state: Tensor, step: Step) -> None:
        if step.tokens > 1 or step.rows is not None:
            super()._stored(state, step)
            return
        self._programs.find("write_kv", len(state))([*self._where(state, step), *self._kv_weights])
        self._cache().note(self.index, step)

    def _ffn_sum(self, hidden: Tensor, state: Tensor) -> Tensor:
        if state.shape[1] > 1:
            return super()._ffn_sum(hidden, state)
        if not len(state):
            return state
        flat = state.reshape(-1, state.shape[-1]).contiguous()
        (summed,) = self._programs.find("ffn", len(flat))([flat, *self._ffn_weights])
        return summed.view(state.shape)

    def _where(self, state: Tensor, step: Step) -> list[Tensor]:
        """State, rotary tables, slot, and this layer's whole keys and values."""
        # A program takes its inputs for as dense as those it was traced with.
        return [
            state.contiguous(),
            *self._tables(state, step),
            step.slots,
            *self._cache().whole(self.index),
        ]

    def _seen(self, step: Step) -> Tensor:
        """What the queries see as a number to add, [rows, 1, 1, length]; it also tells the length."""
        visible = self._visible(step)
        key = ("seen", id(visible))
        if key not in step.derived:
            mask = torch.zeros(len(step.positions), 1, 1, step.length, device=step.slots.device)
            step.derived[key] = mask if visible is None else mask.masked_fill_(~visible, float("-inf"))
        return step.derived[key]


def _present(*tensors: Tensor | None) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor is not None]
