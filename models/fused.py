"""The `fused` layer: a Llama-like layer in few kernels.

Decoding one token is a chain of matrix-vector products that wait for memory; beside them every small kernel
costs as much as reading tens of kilobytes of weights. So q, k and v are one product, and gate and up are one;
norms and rotary embeddings take few kernels; the queries that share a key head are attended together, without
repeating keys.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.families import Family
from models.layers import Layer, Rotary
from models.product import Products
from models.step import Step

# Tokens of a pass whose queries are folded: the mask is repeated for that, which a prompt's should not be.
_FOLDED = 64


class FusedLayer(Layer):
    """One decoder layer of a Llama-like model.

    The merged matrices take the place of the model's own, whose parameters become views of them: there is no
    second copy, and the transformers model goes on working.

    Parameters
    ----------
    index : int
    module : nn.Module
        The decoder layer of the transformers model.
    family : Family
    config : transformers config
    rotary : callable (hidden, step) -> (cos, sin)
    products : Products
    **place
        What every layer takes: window, cache, counters.
    """

    def __init__(
        self,
        index: int,
        module: Any,
        family: Family,
        *,
        config: Any,
        rotary: Rotary,
        products: Products,
        **place: Any,
    ):
        super().__init__(index, **place)
        attention, ffn = module.get_submodule(family.attention), module.get_submodule(family.ffn[0])
        query, key, value, out = (attention.get_submodule(name) for name in _projections(family))
        gate, up, down = (ffn.get_submodule(name) for name in family.gated_ffn or ())
        first = query.out_features
        self._qkv, self._out = products.of(query, key, value), products.of(out)
        self._kv = self._qkv.rows(first)
        self._gate_up, self._down = products.of(gate, up), products.of(down)
        self._width = attention.head_dim
        self._heads, self._kv_heads = first // self._width, key.out_features // self._width
        self._attention_norm = RMSNorm(module.get_submodule(family.attention_norm))
        self._ffn_norm = RMSNorm(module.get_submodule(family.ffn_norm))
        self._query_norm = self._key_norm = None
        if family.key_norm is not None:
            self._query_norm = RMSNorm(attention.get_submodule("q_norm"))
            self._key_norm = RMSNorm(attention.get_submodule(family.key_norm))
        self._scale = attention.scaling
        self._rotary = rotary
        self.attention_weights = sum(p.numel() for p in attention.parameters())
        self.ffn_weights = sum(p.numel() for p in ffn.parameters())
        self.kv_weights = sum(p.numel() for part in (key, value) for p in part.parameters())

    def matrices(self) -> list[Tensor]:
        return [product.weight for product in (self._qkv, self._out, self._gate_up, self._down)]

    def _attended(self, state: Tensor, step: Step) -> Tensor:
        rows, tokens, _ = state.shape
        heads = _by_head(self._qkv(self._attention_norm(state)), rows, tokens, self._width)
        turned = heads.narrow(1, 0, self._heads + self._kv_heads)
        if self._query_norm is not None and self._key_norm is not None:
            queries, keys = turned.split((self._heads, self._kv_heads), dim=1)
            turned.copy_(torch.cat((self._query_norm(queries), self._key_norm(keys)), dim=1))
        self._rotate(turned, step)
        both = heads.narrow(1, self._heads, 2 * self._kv_heads)
        cache = self._cache()
        cache.write_both(self.index, both.unflatten(1, (2, self._kv_heads)), step)
        keys, values = cache.read(self.index, step)
        mixed = self._mixed(heads.narrow(1, 0, self._heads), keys, values, step)
        return self._out(mixed).view(rows, tokens, -1)

    def _mixed(self, queries: Tensor, keys: Tensor, values: Tensor, step: Step) -> Tensor:
        """Attention [rows x T, heads x width] of queries [rows, heads, T, width]."""
        rows, heads, tokens, width = queries.shape
        visible = self._visible(step)
        if tokens > _FOLDED or (tokens > 1 and visible is None):
            mixed = F.scaled_dot_product_attention(
                queries,
                keys,
                values,
                attn_mask=visible,
                is_causal=visible is None,
                scale=self._scale,
                enable_gqa=True,
            )
            return mixed.transpose(1, 2).reshape(rows * tokens, -1)
        # Queries that share a key head stand side by side like tokens; they see the same.
        shared = heads // self._kv_heads
        folded = queries.reshape(rows, self._kv_heads, shared * tokens, width)
        mask = None if visible is None else self._additive_mask(visible, shared, step, queries.dtype)
        mixed = F.scaled_dot_product_attention(folded, keys, values, attn_mask=mask, scale=self._scale)
        if tokens > 1:
            mixed = mixed.reshape(rows, heads, tokens, width).transpose(1, 2)
        return mixed.reshape(rows * tokens, -1)

    def _additive_mask(self, visible: Tensor, shared: int, step: Step, dtype: torch.dtype) -> Tensor:
        """What folded queries see, as a number to add; made once a step, since SDPA would convert it in each
        layer."""
        # The step holds on to what is visible, so its id stays its own.
        key = ("folded", id(visible))
        if key not in step.derived:
            mask = torch.zeros_like(visible, dtype=dtype).masked_fill_(~visible, float("-inf"))
            if visible.shape[2] > 1:
                mask = mask.repeat(1, 1, shared, 1)
            step.derived[key] = mask
        return step.derived[key]

    def _rotate(self, heads: Tensor, step: Step) -> None:
        """Rotary embedding of heads [rows, n, T, width], in place, in the half-split layout."""
        cos, sin = self._tables(heads, step)
        swapped = heads.roll(self._width // 2, -1).mul_(sin)
        torch.addcmul(swapped, heads, cos, out=heads)

    def _tables(self, state: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """cos, and sin with the first half's sign turned, [rows, 1, T, width]; once a step."""
        if "rotary" not in step.derived:
            cos, sin = self._rotary(state, step)
            first, second = sin.chunk(2, dim=-1)
            step.derived["rotary"] = (cos[:, None], torch.cat((-first, second), dim=-1)[:, None])
        return step.derived["rotary"]

    def _fed(self, state: Tensor) -> Tensor:
        gate, up = self._gate_up(self._ffn_norm(state)).chunk(2, dim=-1)
        return self._down(F.silu(gate).mul_(up)).view(state.shape)

    def _stored(self, state: Tensor, step: Step) -> None:
        rows, tokens, _ = state.shape
        both = _by_head(self._kv(self._attention_norm(state)), rows, tokens, self._width)
        key = both.narrow(1, 0, self._kv_heads)
        if self._key_norm is not None:
            key.copy_(self._key_norm(key))
        self._rotate(key, step)
        self._cache().write_both(self.index, both.unflatten(1, (2, self._kv_heads)), step)


class RMSNorm:
    """x (w sqrt n) / hypot(|x|, sqrt(n eps)), which is x w / sqrt(mean x^2 + eps), in float32.

    Four kernels in float32, where the definition takes six.
    """

    def __init__(self, module: Any):
        # The tensor, so that its memory stays if the module is given another.
        self.plain, self.epsilon = module.weight.data, float(module.variance_epsilon)
        size = self.plain.numel()
        self._weight = self.plain.float() * size**0.5
        self._floor = torch.tensor((size * self.epsilon) ** 0.5, device=self.plain.device)

    def __call__(self, state: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(state, dim=-1, keepdim=True, dtype=torch.float32)
        normed = (state * self._weight).div_(length.hypot_(self._floor))
        return normed if normed.dtype == state.dtype else normed.to(state.dtype)


def unfusable(family: Family, config: Any, modules: Any) -> str | None:
    """Why a model's layers cannot be fused; None if they can."""
    if family.gated_ffn is None:
        return f"{config.model_type} layers are not Llama-like"
    if getattr(config, "hidden_act", None) != "silu":
        return f"its activation is {getattr(config, 'hidden_act', None)}, not silu"
    for module in modules:
        if not type(module).__module__.startswith("transformers."):
            return f"{type(module).__name__} comes with the model, and may differ from what its name says"
        attention, ffn = module.get_submodule(family.attention), module.get_submodule(family.ffn[0])
        names = [(attention, name) for name in _projections(family)]
        names += [(ffn, name) for name in family.gated_ffn]
        for owner, name in names:
            if type(owner.get_submodule(name)) is not nn.Linear:
                return f"its {name} is a {type(owner.get_submodule(name)).__name__}, not a plain matrix"
    return None


def _projections(family: Family) -> tuple[str, str, str, str]:
    return "q_proj", family.key, family.value, "o_proj"


def _by_head(projected: Tensor, rows: int, tokens: int, width: int) -> Tensor:
    """[rows x T, heads x width] as [rows, heads, T, width]."""
    if tokens == 1:
        return projected.view(rows, -1, 1, width)
    return projected.view(rows, tokens, -1, width).transpose(1, 2)
