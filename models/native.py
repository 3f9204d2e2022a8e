"""The `native` layer: a fused layer whose passes of few tokens run in this project's own kernels, on a CPU.

One call per sub-layer. Torch's kernels are left with prompts, and with batches so large that arithmetic takes
the time and not the reading of weights.
"""

import ctypes
import statistics
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from models.fused import FusedLayer
from models.kernels import LayerParts, PassParts, pointer
from models.layers import Measure
from models.product import Products
from models.step import Step


class NativeLayer(FusedLayer):
    """A fused layer with native sub-layers; parameters as there. `products` has kernels."""

    def __init__(self, *args: Any, products: Products, **more: Any):
        super().__init__(*args, products=products, **more)
        assert products.library is not None
        self._kernels, self._products = products.library, products
        self._bytes = self._qkv.weight.itemsize
        norms = (self._attention_norm, self._ffn_norm, self._query_norm, self._key_norm)
        products_of = (self._qkv, self._out, self._gate_up, self._down)
        read = [norm.plain for norm in norms if norm is not None]
        read += [tensor for one in products_of for tensor in (one.weight, one.bias) if tensor is not None]
        # The kernels are told addresses and one type.
        self._readable = all(
            tensor.dtype == self._qkv.weight.dtype and tensor.is_contiguous() for tensor in read
        )

    @cached_property
    def _most(self) -> int:
        """Most tokens of a pass, over all rows, that the kernels take.

        Half of the products decide: one that torch does a little faster is made up for by the attention.
        """
        return statistics.median_high(self._products.choice(matrix).most for matrix in self.matrices())

    # At the first pass: by then the products are settled.
    @cached_property
    def _parts(self) -> LayerParts:
        head_norms = [None if norm is None else norm.plain for norm in (self._query_norm, self._key_norm)]
        parts = LayerParts(
            width=self._qkv.weight.shape[1],
            ffn_width=self._down.weight.shape[1],
            heads=self._heads,
            kv_heads=self._kv_heads,
            head_width=self._width,
            scale=self._scale,
            epsilon=self._attention_norm.epsilon,
            attention_norm=pointer(self._attention_norm.plain),
            qkv=pointer(self._qkv.weight),
            qkv_bias=pointer(self._qkv.bias),
            query_norm=pointer(head_norms[0]),
            key_norm=pointer(head_norms[1]),
            out=pointer(self._out.weight),
            out_bias=pointer(self._out.bias),
            ffn_norm=pointer(self._ffn_norm.plain),
            gate_up=pointer(self._gate_up.weight),
            gate_up_bias=pointer(self._gate_up.bias),
            down=pointer(self._down.weight),
            down_bias=pointer(self._down.bias),
        )
        for ways, matrix in zip(parts.ways, self.matrices(), strict=True):
            ways[:] = self._products.choice(matrix).ways
        return parts

    @cached_property
    def _layer(self) -> int:
        return ctypes.addressof(self._parts)

    def _fits(self, state: Tensor) -> bool:
        few = 0 < state.shape[0] * state.shape[1] <= self._most
        return few and self._readable and state.dtype == self._qkv.weight.dtype

    def _attention_sum(self, state: Tensor, step: Step) -> Tensor:
        if not self._fits(state):
            return super()._attention_sum(state, step)
        state, after = state.contiguous(), torch.empty_like(state, memory_format=torch.contiguous_format)
        keys, values = self._cache().whole(self.index)
        self._kernels.attention(
            *(self._bytes, self._layer, self._pass(state, step), keys.data_ptr(), values.data_ptr()),
            *(state.data_ptr(), after.data_ptr(), torch.get_num_threads()),
        )
        self._cache().note(self.index, step)
        return after

    def _stored(self, state: Tensor, step: Step) -> None:
        if not self._fits(state):
            super()._stored(state, step)
            return
        state = state.contiguous()
        keys, values = self._cache().whole(self.index)
        self._kernels.write_kv(
            *(self._bytes, self._layer, self._pass(state, step), keys.data_ptr(), values.data_ptr()),
            *(state.data_ptr(), torch.get_num_threads()),
        )
        self._cache().note(self.index, step)

    def _ffn_sum(self, hidden: Tensor, state: Tensor) -> Tensor:
        if not self._fits(state):
            return super()._ffn_sum(hidden, state)
        return self._ffn_native(hidden, state, None)

    def _ffn_measured(self, hidden: Tensor, state: Tensor, measure: Measure) -> tuple[Tensor, Tensor]:
        if not self._fits(state):
            return super()._ffn_measured(hidden, state, measure)
        output = torch.empty_like(hidden, memory_format=torch.contiguous_format)
        after = self._ffn_native(hidden, state, output)
        return after, measure(hidden, output, after)

    def _ffn_native(self, hidden: Tensor, state: Tensor, output: Tensor | None) -> Tensor:
        """The state after the FFN; its bare output goes into `output`."""
        state, hidden = state.contiguous(), hidden.contiguous()
        after = torch.empty_like(hidden)
        self._kernels.ffn(
            *(self._bytes, self._layer, state.data_ptr(), hidden.data_ptr(), pointer(output)),
            *(after.data_ptr(), state.shape[0] * state.shape[1], torch.get_num_threads()),
        )
        return after

    def _pass(self, state: Tensor, step: Step) -> int:
        """The address of what the kernels have to know of a pass; made once for all layers that see the
        same."""
        visible = self._visible(step)
        # The step holds on to what is visible, so its id stays its own.
        key = ("native", id(visible))
        if key not in step.derived:
            if visible is None and step.tokens > 1:
                visible = step.explicit()[:, None]
            cos, sin = (table.contiguous() for table in self._tables(state, step))
            mask = None
            if visible is not None:
                rows, _, tokens, length = visible.shape
                mask = torch.zeros(rows, tokens, length, dtype=torch.float32)
                mask.masked_fill_(~visible[:, 0], float("-inf"))
            kept = (cos, sin, mask, step.slots, step.rows)
            row_stride, head_stride = self._cache().keys[0].stride()[:2]
            parts = PassParts(*state.shape[:2], step.length, *map(pointer, kept), row_stride, head_stride)
            step.derived[key] = (ctypes.addressof(parts), parts, kept)
        return step.derived[key][0]
