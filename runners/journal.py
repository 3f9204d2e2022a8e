"""The journal of a run: one JSON line for each finished record, safe on disk before the next one begins."""

import contextlib
import json
import os
from collections.abc import Mapping
from io import RawIOBase
from pathlib import Path
from typing import Any

from runners.errors import RunError
from runners.files import explained, sync_folder, write_all

_BLOCK = 65536


class Journal:
    """An append-only file of JSON objects that survives a `kill -9`.

    A record holds what JSON can (a tuple comes back as a list) and reads back exactly: floats bit by bit, NaN
    and infinities, text with any code point. Appending takes the same time however long the journal is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record and return when it is on disk.

        Raises
        ------
        TypeError
            The record holds something that JSON cannot keep, such as a tensor or a number as a key.
        RunError
            The file cannot be written; the journal keeps its earlier records.
        """
        _refuse_altered_keys(record)
        # "surrogatepass" keeps halves of surrogate pairs, of which JSON's own escapes would join neighbours.
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        # Unbuffered, because a buffer that could not be written is written again when the file is closed.
        with explained("write", self.path), open(self.path, "ab", buffering=0) as file:
            end = _cut_torn_line(self.path, file)
            try:
                write_all(file, line)
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise
            if end == 0:
                sync_folder(self.path.parent)

    def read(self) -> list[dict[str, Any]]:
        """Return every record, in order, and cut away a last line that a killed process left broken.

        Raises
        ------
        RunError
            A line before the last is broken, or the file cannot be read.
        """
        with explained("read", self.path):
            try:
                content = self.path.read_bytes()
            except FileNotFoundError:
                return []
        lines = content.split(b"\n")
        end = len(content) - len(lines.pop())
        records = []
        for number, line in enumerate(lines, start=1):
            record = _parse(line)
            if record is not None:
                records.append(record)
            elif number == len(lines):
                # Nothing follows it, so its writer was never told that it is safe.
                end -= len(line) + 1
            else:
                raise RunError(
                    f"{self.path}, line {number}: not a JSON record; remove the file, and the run starts anew"
                )
        if end < len(content):
            with explained("write", self.path):
                os.truncate(self.path, end)
        return records

    def remove(self) -> None:
        """Remove the file; nothing happens if there is none."""
        with explained("remove", self.path):
            self.path.unlink(missing_ok=True)


def _cut_torn_line(path: Path, file: RawIOBase) -> int:
    """Remove what follows the last line end, so that a record starts a line; return the size then."""
    end = size = file.seek(0, os.SEEK_END)
    with open(path, "rb") as reader:
        while end:
            start = max(0, end - _BLOCK)
            reader.seek(start)
            line_end = reader.read(end - start).rfind(b"\n") + 1
            if line_end:
                end = start + line_end
                break
            end = start
    if end < size:
        file.truncate(end)
    return end


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _refuse_altered_keys(value: Any) -> None:
    """Refuse keys that JSON would silently turn into text: a resumed method would not find them again."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a journal record needs text as keys, got {key!r}")
            _refuse_altered_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_altered_keys(item)
