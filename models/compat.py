"""Everything that depends on how transformers is written inside; what a new release breaks is mended here."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, CompileConfig, GgufConfig
from transformers.utils import logging

from models.cache import KVCache
from models.errors import ModelError
from models.step import Step


class SlotCache:
    """What an attention module takes for its KV cache: stores K,V in the step's slots, returns what may be
    seen. `first`: the module's number of the cache's first layer."""

    def __init__(self, cache: KVCache, step: Step, first: int):
        self.cache, self.step, self.first = cache, step, first

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Called by the attention module between its projections and its softmax."""
        self.cache.write(layer - self.first, key, value, self.step)
        return self.cache.read(layer - self.first, self.step)


class _Stored(Exception):
    """K and V are stored: the rest of the attention module need not run."""


class StoreOnly(SlotCache):
    """Stores K,V and leaves the attention module: the way to a fused projection's K,V on its own terms."""

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.cache.write(layer - self.first, key, value, self.step)
        raise _Stored


def store_only(attention: nn.Module, hidden: Tensor, cache: StoreOnly, **arguments: Any) -> None:
    """Run an attention module up to the point where its K,V are stored."""
    try:
        attention(hidden, **{cache_keyword(attention): cache}, **arguments)
    except _Stored:
        return
    raise AssertionError(f"{type(attention).__name__} did not store its K,V in the cache it was given")


def cache_keyword(attention: nn.Module) -> str:
    """The name under which an attention module takes its KV cache."""
    names = inspect.signature(attention.forward).parameters
    return "layer_past" if "layer_past" in names else "past_key_values"


def compile_on_any_device() -> CompileConfig:
    """Settings with which `generate` compiles its step on a CPU too, where it would not by itself."""
    # Not `reduce-overhead`: its graphs are for a GPU, and there they own the outputs that a caller keeps.
    config = CompileConfig(fullgraph=False, mode="default")
    config._compile_all_devices = True  # type: ignore[assignment]
    return config


def rotate(key: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of keys [rows, heads, T, width], in the half-split layout of the supported
    families."""
    width = cos.shape[-1]
    turned, passed = key[..., :width], key[..., width:]
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]
    return torch.cat((turned, passed), dim=-1) if passed.shape[-1] else turned


def complete_model(
    source: str | Path, *, called: str, kind: Any = AutoModelForCausalLM, **arguments: Any
) -> Any:
    """The model of `kind.from_pretrained`, if all its weights were in its files: transformers makes the
    others up at random and says so in a warning.

    Raises
    ------
    ModelError
        Weights are missing, or have other sizes than the config says.
    """
    verbosity = logging.get_verbosity()
    if "key_mapping" in arguments:
        # A part of a checkpoint is meant: a table of all its other weights is no news.
        logging.set_verbosity_error()
    try:
        loaded: Any = kind.from_pretrained(source, output_loading_info=True, **arguments)
    except RuntimeError as error:
        # It names an argument of its own, and what is wrong in a report on the screen.
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise ModelError(
            f"{called} has weights of other sizes than its config says; fetch or save it again"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"{called} lacks {len(missing)} of its weights, the first is {missing[0]}; fetch or save it again"
        )
    return model


def attention_implementation(config: Any) -> str:
    """The attention function of transformers that fits a model: SDPA, or eager where scores are capped."""
    return "eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa"


def as_argument(visible: Tensor | None, step: Step, module: nn.Module, dtype: torch.dtype) -> Tensor | None:
    """A view [rows, 1, T, length] in the form that an attention module's function takes.

    SDPA takes booleans, and None for plain causality; the eager function adds what it is given to the scores.
    """
    if module.config._attn_implementation != "eager":  # type: ignore[union-attr]
        return visible
    seen = step.explicit()[:, None] if visible is None else visible
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)


def gguf_arguments(file: Path) -> dict[str, Any]:
    """`from_pretrained` arguments that read a GGUF as plain dense weights.

    Without `dequantize` transformers keeps the GGUF's blocks and refuses to save the model.
    """
    return {"gguf_file": file.name, "quantization_config": GgufConfig(dequantize=True)}


@contextmanager
def writing_time(source: str, strftime: Callable[[str], str]) -> Iterator[None]:
    """Let a chat template write another time than now by its `strftime_now`, which takes no argument from
    outside: newer releases make text of every function that they are given."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    template: Any = _compile_jinja_template(source)
    template.globals["strftime_now"] = strftime
    try:
        yield
    finally:
        del template.globals["strftime_now"]
