"""Reads a source and divides it into scored and calibration examples."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tasks.config import TaskConfig
from tasks.errors import DataError
from tasks.scoring.text import words
from tasks.sources.faults import STRICT, Faults, LeftOut
from tasks.sources.files import read_records
from tasks.sources.hub import read_hub
from tasks.sources.record import Record

_CALIBRATION_SHARE = 5


class _HasQuestion(Protocol):
    @property
    def question(self) -> str: ...


ExampleT = TypeVar("ExampleT", bound=_HasQuestion)


@dataclass(frozen=True)
class Splits(Generic[ExampleT]):
    """The examples of one source: those that are scored, and those that never are; and why records of it were
    left out."""

    label: str
    scored: list[ExampleT]
    calibration: list[ExampleT]
    skipped: Sequence[str] = ()

    def calibration_or_error(self) -> list[ExampleT]:
        """Return the calibration examples; DataError if there are none."""
        if not self.calibration:
            raise DataError(
                f"{self.label}: too small to set examples aside for calibration; set task.calibration_path"
            )
        return self.calibration


def label(config: TaskConfig) -> str:
    """Return the source in words: `embedded`, `file:<name>` or `hub:<dataset>[/<config>]:<split>`."""
    if config.source == "file":
        return f"file:{Path(str(config.path)).name}"
    if config.source == "hub":
        name = f"{config.dataset}/{config.dataset_config}" if config.dataset_config else config.dataset
        return f"hub:{name}:{config.split}"
    return "embedded"


def held_out(question: str) -> bool:
    """Whether a question belongs to the fifth that is set aside for calibration.

    The choice depends on the words of the question alone: it survives reordering, and a question that occurs
    twice, or again with other punctuation, cannot end up on both sides.
    """
    digest = hashlib.sha256(_key(question).encode()).digest()
    return int.from_bytes(digest, "big") % _CALIBRATION_SHARE == 0


def read(
    config: TaskConfig,
    data_folder: Path,
    examples_from: Callable[[Sequence[Record], Faults], list[ExampleT]],
) -> Splits[ExampleT]:
    """Read the source that `config` names.

    Parameters
    ----------
    config
        Names the source.
    data_folder
        Folder of the embedded sets: `<task>.jsonl` and `<task>_calibration.jsonl`.
    examples_from
        Turns the records of one file or data set into examples.

    Raises
    ------
    DataError
        If data are missing or malformed, no example is left to score, or a calibration question is scored
        too.
    """
    name = label(config)
    if config.source == "embedded":
        scored = examples_from(read_records(data_folder / f"{config.name}.jsonl"), STRICT)
        calibration = examples_from(read_records(data_folder / f"{config.name}_calibration.jsonl"), STRICT)
        return Splits(name, scored, calibration)

    def read_all(records: Callable[[Faults], list[Record]]) -> tuple[list[ExampleT], Sequence[str]]:
        faults = LeftOut() if config.on_bad_record == "skip" else STRICT
        there = records(faults)
        found = examples_from(there, faults) if there else []
        faults.check(len(found))
        return found, faults.found

    examples, skipped = read_all(partial(_outside_records, config, name))
    if config.calibration_path:
        path = Path(os.path.expanduser(config.calibration_path))
        calibration, also = read_all(partial(read_records, path))
        _check_disjoint(examples, calibration, config.calibration_path)
        return Splits(name, examples, calibration, [*skipped, *also])
    scored = [example for example in examples if not held_out(example.question)]
    if not scored:
        left_out = f" ({len(skipped)} records could not be read; the first: {skipped[0]})" if skipped else ""
        raise DataError(
            f"{name}: nothing left to score after a fifth went to calibration{left_out}; "
            "set task.calibration_path"
        )
    return Splits(name, scored, [example for example in examples if held_out(example.question)], skipped)


def _outside_records(config: TaskConfig, name: str, faults: Faults) -> list[Record]:
    if config.source == "file":
        return read_records(Path(os.path.expanduser(str(config.path))), faults)
    return read_hub(name, str(config.dataset), config.dataset_config, str(config.split), config.revision)


def _check_disjoint(scored: Sequence[_HasQuestion], calibration: Sequence[_HasQuestion], path: str) -> None:
    keys = {_key(example.question) for example in scored}
    shared = [example.question for example in calibration if _key(example.question) in keys]
    if shared:
        first = " ".join(shared[0].split())[:60]
        raise DataError(
            f"{path}: {len(shared)} of its questions are also scored, the first is {first!r}; "
            "calibration questions must not be"
        )


def _key(question: str) -> str:
    return " ".join(words(question)) or question
