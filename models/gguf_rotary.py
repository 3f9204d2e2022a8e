"""Rotary embedding of a GGUF file: base, partial widths, scaling, and factors by frequency.

llama.cpp turns a pair of coordinates by `position x base^(-2i/n) / factor_i x scale` (ggml, `rope_yarn`);
the factors come as a tensor (`rope_freqs`, or `rope_factors_long` and `_short`), the scale as keys.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.gguf_metadata import Metadata

_FACTORS, _LONG, _SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
ROTARY_TENSORS = (_FACTORS, _LONG, _SHORT)
_SCALING = "rope.scaling."
_KNOWN = {
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    # Says that the model was trained with the scaling, which changes nothing.
    f"{_SCALING}finetuned",
    f"{_SCALING}type",
    f"{_SCALING}factor",
    "rope.scale_linear",
    f"{_SCALING}attn_factor",
    f"{_SCALING}original_context_length",
    *(f"{_SCALING}yarn_{name}" for name in ("ext_factor", "attn_factor", "beta_fast", "beta_slow")),
}


def rotary_parameters(config: Any, metadata: Metadata) -> None:
    """Give a config the rotary embedding of a file.

    Raises
    ------
    ModelError
        A key is unknown, or its value cannot be expressed for a model of this architecture.
    """
    names = [f"rope.{name}" for name in metadata.names(f"{metadata.architecture}.rope")]
    for name in names:
        if name not in _KNOWN:
            metadata.refuse(name)
    if not hasattr(config, "rope_parameters"):
        if names:
            metadata.refuse(names[0], "models of this architecture have no rotary embedding")
        return
    parameters = {"rope_theta": metadata.own("rope.freq_base", 10_000.0), **_scaling(metadata)}
    width = config.head_dim if getattr(config, "head_dim", None) else _width(config)
    turned = metadata.own("rope.dimension_count", width)
    if metadata.architecture == "phi3":
        parameters["partial_rotary_factor"] = turned / width
        if parameters["rope_type"] == "longrope":
            config.original_max_position_embeddings = parameters["original_max_position_embeddings"]
        elif parameters["rope_type"] != "default":
            metadata.refuse(f"{_SCALING}type", "Phi-3 knows longrope alone")
    elif turned != width:
        metadata.refuse("rope.dimension_count", f"a part of a head, which is {width} wide")
    if metadata.architecture == "gemma3":
        # llama.cpp scales layers that see everything; those with a window keep a base of their own.
        local = {"rope_type": "default", "rope_theta": metadata.own("rope.freq_base_swa", 10_000.0)}
        config.rope_parameters = {"full_attention": parameters, "sliding_attention": local}
        return
    if metadata.own("rope.freq_base_swa", parameters["rope_theta"]) != parameters["rope_theta"]:
        metadata.refuse("rope.freq_base_swa")
    config.rope_parameters = parameters


def _width(config: Any) -> int:
    width: int = config.hidden_size // config.num_attention_heads
    return width


def _scaling(metadata: Metadata) -> dict[str, Any]:
    """`rope_type` and what goes with it, in transformers' words."""
    key = f"{_SCALING}factor"
    factor = metadata.own(key, 0) or metadata.own("rope.scale_linear", 0) or 1.0
    # Without a type llama.cpp scales linearly.
    kind = metadata.own(f"{_SCALING}type", "linear")
    if kind not in ("none", "linear", "yarn", "longrope"):
        metadata.refuse(f"{_SCALING}type")
    if not (isinstance(factor, int | float) and math.isfinite(factor) and factor > 0):
        metadata.refuse(key)
    long, short = metadata.vector(_LONG), metadata.vector(_SHORT)
    factors = metadata.vector(_FACTORS)
    original = metadata.own(f"{_SCALING}original_context_length", metadata.own("context_length"))
    if kind == "longrope" or long is not None:
        if long is None or short is None or factors is not None:
            metadata.refuse(f"{_SCALING}type", "without long and short factors")
        return _by_frequency(metadata, short, long, original)
    attention = metadata.own(f"{_SCALING}attn_factor", 1.0)
    if kind == "yarn":
        if factors is not None:
            metadata.refuse(f"{_SCALING}type", f"together with {_FACTORS}")
        return _yarn(metadata, factor, original, attention)
    if attention != 1:
        metadata.refuse(f"{_SCALING}attn_factor", f"with a scaling of type {kind}")
    if factors is not None:
        # Exactly: by the same rule as longrope, whose two lists are equal here.
        scaled = [one * (factor if kind == "linear" else 1.0) for one in factors]
        return _by_frequency(metadata, scaled, scaled, original)
    if kind == "none" or factor == 1:
        return {"rope_type": "default"}
    return {"rope_type": "linear", "factor": factor}


def _by_frequency(metadata: Metadata, short: list[float], long: list[float], original: int) -> dict[str, Any]:
    attention = metadata.own(f"{_SCALING}attn_factor", 1.0)
    return {
        "rope_type": "longrope",
        "short_factor": short,
        "long_factor": long,
        "factor": metadata.own("context_length") / original,
        "original_max_position_embeddings": original,
        "attention_factor": attention,
    }


def _yarn(metadata: Metadata, factor: float, original: int, attention: float) -> dict[str, Any]:
    """YaRN: ggml multiplies cosine and sine by `attn_factor x (1 + 0.1 ln factor)`."""
    name = f"{_SCALING}yarn_ext_factor"
    # Below 0 llama.cpp takes its own, which is 1.
    if metadata.own(name, 1.0) not in (1.0, -1.0):
        metadata.refuse(name)
    given = attention * metadata.own(f"{_SCALING}yarn_attn_factor", 1.0)
    return {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": original,
        "attention_factor": given * (1 + 0.1 * math.log(factor)),
        "beta_fast": metadata.own(f"{_SCALING}yarn_beta_fast", 32.0),
        "beta_slow": metadata.own(f"{_SCALING}yarn_beta_slow", 1.0),
    }
