"""What a model's folder says of it, read before its weights and believed only as far as it makes sense."""

import codecs
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import ModelError, readable
from models.families import family_of

_FILES = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.json", "model.safetensors.index.json"),
)
_TEMPLATE = "chat_template.jinja"
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Where checkpoints of images and text keep the text model, and where that keeps it itself.
_TEXT_WEIGHTS = {
    r"^language_model\.model\.": "model.",
    r"^model\.language_model\.": "model.",
    r"^model\.text_model\.": "model.",
    r"^language_model\.lm_head\.": "lm_head.",
}
# What transformers makes one by one, for hours if a number is absurd.
_COUNTED = re.compile(
    r"num_(hidden_layers|layers|labels|experts|local_experts|routed_experts|attention_heads|heads)|"
    r"n_(layers?|heads?|routed_experts)|(en|de)coder_layers"
)
_MOST_COUNTED = 10_000


@dataclass(frozen=True)
class Description:
    """The part of a model that decodes text.

    Attributes
    ----------
    config : transformers config
    nested : bool
        It is a part of a larger one, such as a model of images and text.
    """

    config: Any
    nested: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """What `from_pretrained` takes to load this part alone."""
        return {"config": self.config, "key_mapping": _TEXT_WEIGHTS} if self.nested else {}


def check_files(folder: Path) -> None:
    """Refuse descriptions that transformers would misread, or pass over in silence: no JSON objects, and
    text in another encoding than UTF-8 without a mark.

    Raises
    ------
    ModelError
    """
    _refuse_adapter(folder)
    for name in (*_FILES, _TEMPLATE):
        try:
            content = (folder / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ModelError(f"{folder / name} cannot be read: {error.strerror}") from error
        if content.startswith(_MARKS) or not _is_utf8(content):
            raise ModelError(
                f"{folder / name} is not plain UTF-8 (an editor wrote another encoding, or a mark before the "
                "text); save it as UTF-8 without BOM"
            )
        if name == _TEMPLATE:
            continue
        try:
            described = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{folder / name} cannot be read as JSON; fetch it again") from error
        if not isinstance(described, dict):
            raise ModelError(f"{folder / name} holds no JSON object; fetch it again")


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refuse_adapter(folder: Path) -> None:
    """Refuse an adapter: alone it is no model, and beside weights nobody knows whether it is part of them."""
    if not (folder / "adapter_config.json").exists():
        return
    weights = sorted(path.name for path in folder.glob("adapter_model.*"))
    if not (folder / "config.json").exists():
        raise ModelError(
            f"{folder} holds an adapter (adapter_config.json), and no model; merge it into its base model "
            "(peft: merge_and_unload, save_pretrained) and give that folder"
        )
    if weights:
        raise ModelError(
            f"{folder} holds an adapter ({weights[0]}) beside a model, which would be left out; merge it, or "
            "move it elsewhere"
        )


def described(
    source: str, called: str, *, revision: str | None = None, trust_remote_code: bool = False, **gguf: Any
) -> Description:
    """The part that decodes text, of a family that is known and with weights that can be used.

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
    return Description(text_config, nested=text_config is not config)


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
