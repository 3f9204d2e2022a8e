"""Model families as a table of module paths.

A family says where a transformers model keeps its parts; everything else in this room reads the table and
never asks which family it has. To add one, add its row, and the tests of all families cover it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from models.errors import ModelError


def _never(config: Any) -> bool:
    return False


def _always(config: Any) -> bool:
    return True


@dataclass(frozen=True)
class Family:
    """Module paths of one family. Embedding and LM head need none: transformers has accessors for them.

    Attributes
    ----------
    layers, norm : str
        Paths from the causal LM to its decoder layers and final norm; some OPT models have no final norm.
    rotary, positions : str or None
        Paths to the rotary embedding, or to the table of learned positions.
    project_in, project_out : str or None
        Paths to projections between the embedding's width and the layers'.
    attention_norm, attention, ffn_norm : str
        Paths from a decoder layer to parts of its two sub-layers.
    ffn : tuple of str
        Paths from a decoder layer to the FFN's modules, in the order they are applied.
    attention_post_norm, ffn_post_norm : str or None
        Paths to norms of a sub-layer's output, before its residual add.
    key, value, key_norm : str or None
        Paths from the attention module to separate key and value projections and the norm of keys.
    packed_qkv : str or None
        Path to one projection of queries, keys and values, which `write_kv` then has to run whole.
    gated_ffn : tuple of str, or None
        Gate, up and down projection of a Llama-like FFN, where the whole layer is Llama-like: what the fused
        implementation covers.
    rotary_by_kind : bool
        Layers with a sliding window turn their keys by another table than the others.
    parallel_residual : callable
        config -> whether the FFN reads the layer's input instead of the attention's output.
    norm_first : callable
        config -> whether a sub-layer's norm comes before it, or after its residual add.
    """

    layers: str = "model.layers"
    norm: str = "model.norm"
    rotary: str | None = "model.rotary_emb"
    positions: str | None = None
    project_in: str | None = None
    project_out: str | None = None
    attention_norm: str = "input_layernorm"
    attention: str = "self_attn"
    attention_post_norm: str | None = None
    ffn_norm: str = "post_attention_layernorm"
    ffn: tuple[str, ...] = ("mlp",)
    ffn_post_norm: str | None = None
    key: str = "k_proj"
    value: str = "v_proj"
    key_norm: str | None = None
    packed_qkv: str | None = None
    gated_ffn: tuple[str, str, str] | None = None
    rotary_by_kind: bool = False
    parallel_residual: Callable[[Any], bool] = _never
    norm_first: Callable[[Any], bool] = _always


_LLAMA = Family(gated_ffn=("gate_proj", "up_proj", "down_proj"))
_GEMMA2 = Family(
    attention_post_norm="post_attention_layernorm",
    ffn_norm="pre_feedforward_layernorm",
    ffn_post_norm="post_feedforward_layernorm",
)

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": replace(_LLAMA, key_norm="k_norm"),
    "phi3": Family(packed_qkv="qkv_proj"),
    "gemma2": _GEMMA2,
    "gemma3_text": replace(_GEMMA2, key_norm="k_norm", rotary_by_kind=True),
    "opt": Family(
        layers="model.decoder.layers",
        norm="model.decoder.final_layer_norm",
        rotary=None,
        positions="model.decoder.embed_positions",
        project_in="model.decoder.project_in",
        project_out="model.decoder.project_out",
        attention_norm="self_attn_layer_norm",
        ffn_norm="final_layer_norm",
        ffn=("fc1", "activation_fn", "fc2"),
        norm_first=lambda config: config.do_layer_norm_before,
    ),
    "gpt2": Family(
        layers="transformer.h",
        norm="transformer.ln_f",
        rotary=None,
        positions="transformer.wpe",
        attention_norm="ln_1",
        attention="attn",
        ffn_norm="ln_2",
        packed_qkv="c_attn",
    ),
    "gpt_neox": Family(
        layers="gpt_neox.layers",
        norm="gpt_neox.final_layer_norm",
        rotary="gpt_neox.rotary_emb",
        attention="attention",
        packed_qkv="query_key_value",
        parallel_residual=lambda config: config.use_parallel_residual,
    ),
}


def family_of(config: Any) -> Family:
    """The row of a transformers config, or a `ModelError` that lists the known families."""
    if config.model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ModelError(
            f"model family {config.model_type!r} is not supported; known families: {known}. "
            "To add one, add its row to models/families.py (see CONTRIBUTING.md)"
        )
    return FAMILIES[config.model_type]


def kind_of(config: Any, layer: int) -> str | None:
    """A layer's attention in the config's words (`sliding_attention`, ...), where it tells them apart."""
    kinds = getattr(config, "layer_types", None)
    return None if kinds is None else kinds[layer]


def window_of(config: Any, layer: int) -> int | None:
    """Positions that a layer's attention looks back on, itself included; None: all of them."""
    if kind_of(config, layer) not in (None, "sliding_attention"):
        return None
    return getattr(config, "sliding_window", None)
