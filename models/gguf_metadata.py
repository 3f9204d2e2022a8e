"""The metadata of a GGUF file, by llama.cpp's names: every key is honoured, known to change nothing, or
refused by its name.

The meaning of a key is that of llama.cpp's loader (src/llama-model.cpp, `load_hparams`). What transformers
reads of it is checked; what it leaves out is added to the config.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from models.errors import ModelError
from models.gguf_rotary import rotary_parameters

# By the last part of a key, the attribute of a transformers config that has to hold its value.
_ATTRIBUTES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
    "vocab_size": "vocab_size",
}
# Values with which a key changes nothing; with any other the model is not the one that would be run.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("attention.clamp_kqv", "attention.max_alibi_bias", "pooling_type"), (0,)),
    **dict.fromkeys(("expert_count", "expert_used_count", "expert_shared_count"), (0,)),
    **dict.fromkeys(("nextn_predict_layers", "leading_dense_block_count"), (0,)),
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping"), (0,)),
    # 0 is llama.cpp's word for "none".
    **dict.fromkeys(("logit_scale", "residual_scale", "embedding_scale"), (0, 1)),
    "attention.causal": (True,),
    "use_parallel_residual": (False,),
}
_IRRELEVANT = ("tensor_data_layout",)
# Without these llama.cpp opens no file.
_SIZES = ("block_count", "embedding_length", "context_length", "attention.head_count")
# Above 0, where they are given.
_POSITIVE = (
    *("rope.freq_base", "rope.freq_base_swa", "rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"),
    *("rope.scaling.original_context_length", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"),
    *("attention.head_count_kv", "attention.key_length", "attention.value_length", "feed_forward_length"),
)
# Read together, after the others.
_WIDTHS = ("attention.key_length", "attention.value_length", "attention.scale")
# Keys beside the model's own that change what is computed. Others (`quantize.`, a tool's) do not.
_FOREIGN = {
    "adapter": "it is a LoRA adapter, and no model; merge it into its base model first",
    "clip": "it is a projector of images or sound, and no language model",
    "diffusion": "diffusion models are not supported",
    "xielu": "the activation xIELU is not supported",
}
# llama.cpp scales the attention scores of the largest Gemma 2 and 3 by the width of a head that they do not
# have; it knows them by the number of their layers.
_UNUSUAL_SCALE = {"gemma2": 46, "gemma3": 62}


class Metadata:
    """Keys, values and vectors of one file.

    Parameters
    ----------
    reader : gguf.GGUFReader
    file : Path
        For errors.

    Attributes
    ----------
    architecture : str
    """

    def __init__(self, reader: Any, file: Path):
        self.file, self._reader = file, reader
        self.architecture = str(self.get("general.architecture"))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a whole key."""
        field = self._reader.get_field(key)
        return default if field is None else field.contents()

    def length(self, key: str) -> int:
        """How long a list is; 0: there is none. A vocabulary has hundreds of thousands of texts to decode."""
        field = self._reader.get_field(key)
        return 0 if field is None else len(field.data)

    def own(self, name: str, default: Any = None) -> Any:
        """The value of a key of the architecture."""
        return self.get(f"{self.architecture}.{name}", default)

    def keys(self) -> Iterator[str]:
        """All keys, without those that the reader adds."""
        return (key for key in self._reader.fields if not key.startswith("GGUF."))

    def names(self, prefix: str) -> list[str]:
        """The keys that begin with a prefix and a point, without these."""
        return [key.removeprefix(f"{prefix}.") for key in self.keys() if key.startswith(f"{prefix}.")]

    def tensor_names(self) -> set[str]:
        """Names of all tensors."""
        return {tensor.name for tensor in self._reader.tensors}

    def vector(self, name: str) -> list[float] | None:
        """A small tensor of 32-bit floats; None: there is none of that name."""
        for tensor in self._reader.tensors:
            if tensor.name == name:
                return [float(number) for number in tensor.data.reshape(-1)]
        return None

    def refuse(self, key: str, why: str = "") -> NoReturn:
        """Refuse the file because of a key.

        Raises
        ------
        ModelError
        """
        whole = key if self._reader.get_field(key) is not None else f"{self.architecture}.{key}"
        value = str(self.get(whole))[:60]
        raise ModelError(
            f"{self.file}: {whole}={value} is not supported{f' ({why})' if why else ''}; give the original "
            "model, as a folder or a hub id"
        )


def check_kind(metadata: Metadata) -> None:
    """Refuse files that hold no whole language model.

    Raises
    ------
    ModelError
        In one line, with what to do.
    """
    if metadata.get("split.count", 1) > 1:
        part, parts = metadata.get("split.no", 0) + 1, metadata.get("split.count")
        raise ModelError(
            f"{metadata.file} is part {part} of {parts} of a split GGUF; join the parts with "
            "'llama-gguf-split --merge <first part> <whole file>' and give the whole file"
        )
    for namespace, why in _FOREIGN.items():
        if names := metadata.names(namespace):
            metadata.refuse(f"{namespace}.{names[0]}", why)
    if metadata.get("general.type", "model") != "model":
        metadata.refuse("general.type", "it is no language model")
    _check_values(metadata)


def _check_values(metadata: Metadata) -> None:
    """Refuse sizes that are missing or none, and numbers that are not finite."""
    for name in _SIZES:
        if not _is_positive(value := metadata.own(name), int):
            why = "a file without it holds no model" if value is None else "it must be a number above 0"
            metadata.refuse(name, why)
    for name in metadata.names(metadata.architecture):
        value = metadata.own(name)
        if isinstance(value, float) and not math.isfinite(value):
            metadata.refuse(name)
        if name in _POSITIVE and not isinstance(value, list) and not _is_positive(value, int | float):
            metadata.refuse(name, "it must be a number above 0")


def _is_positive(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and value > 0


def completed(config: Any, metadata: Metadata) -> Any:
    """The config that transformers makes of a GGUF, with what it leaves out.

    Parameters
    ----------
    config : transformers config
        Changed in place.
    metadata : Metadata

    Raises
    ------
    ModelError
        A key is unknown, or has a value that no supported model has.
    """
    handlers = _handlers(metadata.architecture)
    for name in metadata.names(metadata.architecture):
        if name in _ATTRIBUTES:
            _assign(config, _ATTRIBUTES[name], _one(metadata, name))
        elif name in handlers:
            handlers[name](config, metadata)
        elif name in _NEUTRAL:
            if metadata.own(name) not in _NEUTRAL[name]:
                metadata.refuse(name)
        elif not (name in (*_IRRELEVANT, *_WIDTHS) or name.startswith("rope.")):
            metadata.refuse(name)
    if hasattr(config, "num_key_value_heads") and metadata.own("attention.head_count_kv") is None:
        _assign(config, "num_key_value_heads", metadata.own("attention.head_count"))
    if metadata.architecture == "gemma3" and metadata.own("attention.sliding_window") is None:
        metadata.refuse("attention.sliding_window", "Gemma 3 has layers with a window")
    _set_width(config, metadata)
    _set_biases(config, metadata)
    rotary_parameters(config, metadata)
    return config


def _one(metadata: Metadata, name: str) -> Any:
    """The value that all layers share; some architectures list one for each."""
    value = metadata.own(name)
    if not isinstance(value, list):
        return value
    if len(set(value)) != 1:
        metadata.refuse(name, "layers that differ in size")
    return value[0]


def _assign(config: Any, attribute: str, value: Any) -> None:
    if getattr(config, attribute, None) != value:
        setattr(config, attribute, value)


def _set_width(config: Any, metadata: Metadata) -> None:
    """Width of a head, where the architecture lets it differ from the model's by its heads."""
    default = metadata.own("embedding_length") // _one(metadata, "attention.head_count")
    width = metadata.own("attention.key_length", default)
    if metadata.own("attention.value_length", width) != width:
        metadata.refuse("attention.value_length", "keys and values of different widths")
    if width != default or hasattr(config, "head_dim"):
        if metadata.architecture == "gpt2":
            metadata.refuse("attention.key_length")
        _assign(config, "head_dim", width)
    scale = metadata.own("attention.scale", 0) or None
    if hasattr(config, "query_pre_attn_scalar"):
        unusual = _UNUSUAL_SCALE.get(metadata.architecture) == metadata.own("block_count")
        scalar = default if unusual else width
        _assign(config, "query_pre_attn_scalar", scalar if scale is None else round(scale**-2))
    elif scale is not None and abs(scale * width**0.5 - 1) > 1e-3:
        metadata.refuse("attention.scale")


def _set_biases(config: Any, metadata: Metadata) -> None:
    """Biases that a config switches on and a GGUF shows by their tensors."""
    names = metadata.tensor_names()
    for attribute, tensor in (("attention_bias", "attn_q"), ("mlp_bias", "ffn_up")):
        if hasattr(config, attribute):
            _assign(config, attribute, f"blk.0.{tensor}.bias" in names)


_Handler = Callable[[Any, Metadata], None]


def _handlers(architecture: str) -> dict[str, _Handler]:
    """Keys that take more than an assignment."""
    handlers: dict[str, _Handler] = {"attention.sliding_window": _set_window}
    if architecture in ("gemma2", "gemma3"):
        handlers["attention.sliding_window_pattern"] = _set_pattern
        for name in ("attn_logit_softcapping", "final_logit_softcapping"):
            handlers[name] = _caps(name)
    return handlers


def _set_window(config: Any, metadata: Metadata) -> None:
    window, context = metadata.own("attention.sliding_window"), metadata.own("context_length")
    if not isinstance(window, int) or (not window and metadata.architecture.startswith("gemma")):
        metadata.refuse("attention.sliding_window")
    if window and window < context and not hasattr(config, "sliding_window"):
        metadata.refuse("attention.sliding_window", "no model of this architecture has a sliding window")
    if hasattr(config, "sliding_window") and not _has_layer_kinds(config):
        # A window beyond the context hides nothing.
        _assign(config, "sliding_window", window if window and window < context else None)
    elif window and _has_layer_kinds(config):
        if not metadata.architecture.startswith("gemma") and window < context:
            metadata.refuse("attention.sliding_window", "which layers it is for is not in the file")
        _assign(config, "sliding_window", window)


def _has_layer_kinds(config: Any) -> bool:
    return getattr(config, "layer_types", None) is not None


def _set_pattern(config: Any, metadata: Metadata) -> None:
    """Which layers look back through a window: every one of a list, or all but each n-th."""
    pattern, layers = metadata.own("attention.sliding_window_pattern"), config.num_hidden_layers
    if not isinstance(pattern, list) and not _is_positive(pattern, int):
        metadata.refuse("attention.sliding_window_pattern")
    slides = pattern if isinstance(pattern, list) else [(layer + 1) % pattern != 0 for layer in range(layers)]
    if len(slides) < layers:
        metadata.refuse("attention.sliding_window_pattern")
    kinds = ["sliding_attention" if slide else "full_attention" for slide in slides[:layers]]
    _assign(config, "layer_types", kinds)


def _caps(name: str) -> _Handler:
    def assign(config: Any, metadata: Metadata) -> None:
        _assign(config, name, metadata.own(name) or None)

    return assign
