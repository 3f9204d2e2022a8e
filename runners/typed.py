"""Texts of a command line taken as they are typed: to Hydra `2024_01` is the number 202401."""

import os
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString, Sweep
from hydra.errors import HydraException

from methods.shared import registry as methods
from models.loading import EngineConfig, ModelConfig
from models.places import expanded
from runners.launchers import LAUNCHERS
from runners.prepared_models import HUB, prepared_models
from runners.settings import LoggerConfig, RunnerConfig, Settings
from tasks import registry as tasks
from tasks.judges.config import JudgeConfig

TEXT: tuple[Any, ...] = (str, str | None)
# Of Hydra's own keys those that are folders.
_FOLDERS = frozenset({"hydra.sweep.dir", "hydra.run.dir"})
# With one of these a value is more than a word, or words between commas.
_MORE = frozenset("'\"[]{}()\\")


def as_typed(arguments: Iterable[str]) -> list[str]:
    """The arguments, with quotes around what Hydra would read as a number, a truth value or a list where the
    key holds a text; null stays null, and `${...}` an interpolation. A model named by its hub id, folder or
    file (`model=Qwen/Qwen2.5-0.5B-Instruct`) is `model=hub model.path=...`."""
    given = list(arguments)
    named = any(argument.startswith("model.path=") for argument in given)
    return [_quoted(word) for argument in given for word in ([argument] if named else _with_path(argument))]


def _with_path(argument: str) -> list[str]:
    """A choice of a model that is none of the prepared ones, as the path that it is."""
    key, _, value = argument.partition("=")
    models = value.strip("'\"").split(",")
    prepared = {HUB, *prepared_models()}
    if key != "model" or prepared & set(models) or not all(map(_is_model, models)):
        return [argument]
    return ["model=hub", f"model.path={value}"]


def _is_model(name: str) -> bool:
    return "/" in name or name.endswith(".gguf") or os.path.exists(os.path.expanduser(name or "/nowhere"))


def _quoted(argument: str) -> str:
    key, equals, value = argument.partition("=")
    value = value.strip()
    if key in _FOLDERS and value.startswith("~"):
        # Hydra makes the folder that it reads.
        argument = f"{key}={(value := str(expanded(value)))}"
    if not equals or key.lstrip("+") not in text_keys() or not value or "${" in value:
        return argument
    read = _read(argument)
    if read is None:
        # No word of Hydra's grammar, such as a path with a second "=".
        typed = argument if value[0] in "'\"" else f"{key}={_in_quotes(value)}"
        return typed if _read(typed) else argument
    meant = read.value()
    if isinstance(meant, ChoiceSweep) and meant.simple_form and not _MORE & set(value):
        return f"{key}={','.join(map(_element, value.split(',')))}"
    if meant is None or isinstance(meant, str | Sweep):
        return argument
    return f"{key}={_in_quotes(value)}"


def _element(text: str) -> str:
    read = _read(f"x={text.strip()}")
    return text if read is None or isinstance(read.value(), str | None) else _in_quotes(text.strip())


def _read(argument: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException:
        return None


def _in_quotes(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()


@cache
def text_keys() -> frozenset[str]:
    """Keys that hold a text in every configuration that has them, as a user writes them."""
    groups: list[tuple[str, type]] = [
        ("", Settings),
        ("model.", ModelConfig),
        ("engine.", EngineConfig),
        ("runner.", RunnerConfig),
        ("judge.", JudgeConfig),
        ("logger.", LoggerConfig),
        *(("method.", methods.method_class(name).Params) for name in methods.names()),
        *(("task.", tasks.create(name).config.__class__) for name in tasks.names()),
        *(("hydra.launcher.", launcher) for launcher in LAUNCHERS.values()),
    ]
    texts: set[str] = set()
    others: set[str] = set()
    for group, config in groups:
        assert is_dataclass(config)
        for field in fields(config):
            (texts if field.type in TEXT else others).add(f"{group}{field.name}")
    return frozenset(texts - others) | _FOLDERS
