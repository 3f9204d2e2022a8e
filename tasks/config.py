"""Options that every task has, and the checks that options of all tasks go through."""

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from tasks.errors import DataError

# What fits every column.
_MOST = 2**31 - 1
SOURCES = ("embedded", "file", "hub")

ConfigT = TypeVar("ConfigT", bound="TaskConfig")


@dataclass(frozen=True)
class TaskConfig:
    """Options of every task: where its examples come from and how long an answer may be.

    Parameters
    ----------
    name
        Name of the task, and of the module that implements it.
    source
        `embedded`: the set shipped with the package. `file`: the file at `path`. `hub`: a data set of the
        Hugging Face hub.
    path
        The file to read (`source=file`).
    format
        Layout of the records of a file or hub data set; `auto` decides by the fields of the first record.
    dataset, dataset_config, split, revision
        Hub id, configuration, split, and branch, tag or commit (`source=hub`).
    calibration_path
        A file of questions that are used to tune methods and never scored. Without it, a fifth of a file or
        hub data set, chosen by a hash of the question, is set aside for that.
    on_bad_record
        `skip`: a record of a file or hub data set that cannot be read is left out, counted and named; a
        source of which too many cannot is refused all the same. `error`: the first one is an error.
    max_new_tokens
        Longest answer, in tokens.

    Attributes
    ----------
    SCORING
        Options that change scores and no answer, so that stored answers can be scored again with others.
    READING
        Options of how examples are read, which count by the examples that there are.
    FILES
        Options that name a file of examples.

    Raises
    ------
    DataError
        If an option has the wrong type, is out of range or contradicts another one.
    """

    SCORING: ClassVar[tuple[str, ...]] = ()
    READING: ClassVar[tuple[str, ...]] = ("on_bad_record",)
    FILES: ClassVar[tuple[str, ...]] = ("path", "calibration_path")

    name: str
    source: str = "embedded"
    path: str | None = None
    format: str = "auto"
    dataset: str | None = None
    dataset_config: str | None = None
    split: str | None = None
    revision: str | None = None
    calibration_path: str | None = None
    on_bad_record: str = "skip"
    max_new_tokens: int = 128

    def __post_init__(self) -> None:
        _check_types(self)
        check_choice("source", self.source, SOURCES)
        check_choice("on_bad_record", self.on_bad_record, ("skip", "error"))
        check_at_least("max_new_tokens", self.max_new_tokens, 1)
        if self.source == "file" and not self.path:
            raise DataError("task.source=file needs task.path, the file to read")
        if self.source == "hub" and not (self.dataset and self.split):
            raise DataError(
                "task.source=hub needs task.dataset, a hub id, and task.split, such as validation"
            )
        # An option that would be ignored in silence lets a user believe that other data were scored.
        if self.path and self.source != "file":
            raise DataError(f"task.path is read only with task.source=file, but task.source={self.source}")
        if self.source == "embedded":
            for option in ("dataset", "calibration_path"):
                if getattr(self, option):
                    raise DataError(f"task.{option} needs task.source=file or hub, but task.source=embedded")


def check_choice(option: str, value: str, choices: Iterable[str]) -> None:
    """Raise DataError unless `value` is one of `choices`."""
    allowed = tuple(choices)
    if value not in allowed:
        raise DataError(f"task.{option} is {value!r}; it must be one of {', '.join(allowed)}")


def check_at_least(option: str, value: int, least: int) -> None:
    """Raise DataError if `value` is below `least`, or above all that can be counted."""
    if value < least:
        raise DataError(f"task.{option} is {value}; it must be at least {least}")
    if value > _MOST:
        raise DataError(f"task.{option} is {value}; it must be at most {_MOST}")


def build_config(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Make a task's configuration from plain values, such as those of a YAML file.

    Raises
    ------
    DataError
        If a key is unknown or a value is refused.
    """
    known = [field.name for field in fields(cls)]
    for key in values:
        if key not in known:
            raise DataError(f"unknown option task.{key}{suggestion(key, known)}; options: {', '.join(known)}")
    return cls(**values)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `: did you mean 'x'?` for the closest known word, or nothing if none is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""


def _check_types(config: TaskConfig) -> None:
    hints = typing.get_type_hints(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        hint = hints[field.name]
        allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        # bool is a subclass of int, but `shots: true` is a mistake.
        if (isinstance(value, bool) and bool not in allowed) or not isinstance(value, allowed):
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in allowed)
            quotes = "; quote it" if str in allowed else ""
            raise DataError(f"task.{field.name} is {value!r}; it must be {names}{quotes}")
