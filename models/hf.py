"""The `hf` layer: drives the transformers sub-modules; every family."""

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from models.compat import SlotCache, StoreOnly, as_argument, cache_keyword, rotate, store_only
from models.families import Family
from models.layers import Layer, Rotary
from models.product import Products, with_products
from models.step import Step


class HFLayer(Layer):
    """One decoder layer of a transformers model, untouched.

    Parameters
    ----------
    index : int
    module : nn.Module
        The decoder layer of the transformers model.
    family : Family
    config : transformers config
    rotary : callable (hidden, step) -> (cos, sin), or None
    products : Products
    **place
        What every layer takes: window, cache, counters.
    """

    def __init__(
        self,
        index: int,
        module: nn.Module,
        family: Family,
        *,
        config: Any,
        rotary: Rotary | None,
        products: Products,
        **place: Any,
    ):
        super().__init__(index, **place)
        module = with_products(module, products)

        def part(path: str) -> Any:
            return attrgetter(path)(module)

        def call(path: str | None) -> Any:
            return _same if path is None else part(path).forward

        self._attention = part(family.attention)
        # `forward` itself: looking for hooks at every call is a tenth of a step's cost beside its kernels.
        self._attend, self._ffn = self._attention.forward, [call(path) for path in family.ffn]
        norms: tuple[Any, Any] = call(family.attention_norm), call(family.ffn_norm)
        if family.norm_first(config):
            self._attention_norm, self._ffn_norm = norms
        else:
            self._attention_norm, self._ffn_norm = _same, _same
            self._attention_last, self._ffn_last = norms
        self._attention_post, self._ffn_post = call(family.attention_post_norm), call(family.ffn_post_norm)
        self._parallel = family.parallel_residual(config)
        # What the module calls its layer, less what its cache does.
        self._first = self._attention.layer_idx - index
        self._rotary = rotary
        self._cache_keyword = cache_keyword(self._attention)
        self._family = family
        blocks = [self._attention, *map(part, family.ffn)]
        self._matrices = [weight for block in blocks for weight in block.parameters() if weight.dim() == 2]
        projections = [family.packed_qkv] if family.packed_qkv else [family.key, family.value]
        self.attention_weights = _parameters(self._attention)
        self.ffn_weights = sum(_parameters(part(path)) for path in family.ffn)
        self.kv_weights = sum(_parameters(self._part(path)) for path in projections)

    def matrices(self) -> list[Tensor]:
        return self._matrices

    def _part(self, path: str) -> Any:
        return attrgetter(path)(self._attention)

    def _slots(self, step: Step) -> SlotCache:
        if "slots" not in step.derived:
            step.derived["slots"] = SlotCache(self._cache(), step, self._first)
        return step.derived["slots"]

    def _attended(self, state: Tensor, step: Step) -> Tensor:
        output = self._attend(
            self._attention_norm(state),
            position_embeddings=self._rotary(state, step) if self._rotary else None,
            attention_mask=self._mask(step, state.dtype),
            **{self._cache_keyword: self._slots(step)},
        )
        return self._attention_post(output[0])

    def _mask(self, step: Step, dtype: torch.dtype) -> Tensor | None:
        """The layer's view in the form that its attention function takes; once a step."""
        visible = self._visible(step)
        # The step holds on to what is visible, so its id stays its own.
        key = ("argument", id(visible))
        if key not in step.derived:
            step.derived[key] = as_argument(visible, step, self._attention, dtype)
        return step.derived[key]

    def _fed(self, state: Tensor) -> Tensor:
        output = self._ffn_norm(state)
        for module in self._ffn:
            output = module(output)
        return self._ffn_post(output)

    def _stored(self, state: Tensor, step: Step) -> None:
        normed = self._attention_norm(state)
        family, rotary = self._family, self._rotary(state, step) if self._rotary else None
        if family.packed_qkv:
            rest = {"position_embeddings": rotary, "attention_mask": None}
            store_only(self._attention, normed, StoreOnly(self._cache(), step, self._first), **rest)
            return
        shape = (*state.shape[:-1], -1, self._attention.head_dim)
        key = self._part(family.key)(normed).view(shape)
        if family.key_norm is not None:
            key = self._part(family.key_norm)(key)
        value = self._part(family.value)(normed).view(shape)
        key = key.transpose(1, 2)
        key = key if rotary is None else rotate(key, *rotary)
        self._cache().write(self.index, key, value.transpose(1, 2), step)


def _same(state: Tensor) -> Tensor:
    return state


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
