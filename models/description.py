"""What a model's folder says of it, read before its weights and believed only as far as it makes sense."""

import json
import re
from pathlib import Path
from typing import Any

from models.errors import ModelError, readable
from models.families import family_of

_FILES = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    "model.safetensors.index.json",
)
# What transformers makes one by one, for hours if a number is absurd.
_COUNTED = re.compile(
    r"num_(hidden_layers|layers|labels|experts|local_experts|routed_experts|attention_heads|heads)|"
    r"n_(layers?|heads?|routed_experts)|(en|de)coder_layers"
)
_MOST_COUNTED = 10_000


def check_files(folder: Path) -> None:
    """Refuse descriptions that are no JSON objects, which transformers takes for what they should be.

    Raises
    ------
    ModelError
    """
    for name in _FILES:
        try:
            content = json.loads((folder / name).read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{folder / name} cannot be read as JSON; fetch it again") from error
        if not isinstance(content, dict):
            raise ModelError(f"{folder / name} holds no JSON object; fetch it again")


def described(
    source: str, called: str, *, revision: str | None = None, trust_remote_code: bool = False, **gguf: Any
) -> Any:
    """The config of the part that decodes text, of a family that is known and with weights that can be used.

    Parameters
    ----------
    source
        A folder, or a name of the hub.
    called
        What the user calls it.
    revision, trust_remote_code
        Of the hub; of the configuration that the user has given.
    **gguf
        `gguf_file`: its name in the folder.

    Raises
    ------
    ModelError
    """
    from transformers import AutoConfig, PretrainedConfig

    unloadable = f"model {called} cannot be loaded"
    with readable(unloadable):
        check_counts(source, called, revision=revision, **gguf)
        config = AutoConfig.from_pretrained(
            source, revision=revision, trust_remote_code=trust_remote_code, **gguf
        )
        text_config = config.get_text_config()
    if not isinstance(text_config, PretrainedConfig):
        raise ModelError(f"{unloadable}: its text_config describes no model")
    if text_config.is_encoder_decoder:
        raise ModelError(f"{unloadable}: encoder-decoder models are not supported")
    window = getattr(text_config, "sliding_window", None)
    if window is not None and type(window) is not int:
        raise ModelError(f"{unloadable}: sliding_window={window!r} is no number of tokens")
    _refuse_quantised(config, called)
    family_of(text_config)
    return text_config


def check_counts(source: str, called: str, **options: Any) -> None:
    """Refuse a description with more layers, heads, labels or experts than any model has, before a config is
    made of it, which takes them at their word.

    Raises
    ------
    ModelError, OSError
    """
    from transformers import PretrainedConfig

    _check_counts(PretrainedConfig.get_config_dict(source, **options)[0], called)


def _check_counts(plain: dict[str, Any], called: str) -> None:
    for key, value in plain.items():
        if isinstance(value, dict):
            _check_counts(value, called)
        elif isinstance(value, int) and value >= _MOST_COUNTED and _COUNTED.fullmatch(key):
            raise ModelError(f"model {called}: {key}={str(value)[:20]} is more than any model has")


def _refuse_quantised(config: Any, called: str) -> None:
    """Refuse weights that sub-layers would have to multiply by kernels of their own."""
    quantised = getattr(config, "quantization_config", None)
    if quantised is not None:
        plain = quantised if isinstance(quantised, dict) else vars(quantised)
        method = plain.get("quant_method", "of an unknown kind")
        raise ModelError(
            f"model {called}: quantised weights ({method}) are not supported; give the original weights, or "
            "a .gguf file, which is converted"
        )
