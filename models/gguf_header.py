"""The header of a GGUF file, walked before a reader believes it: what it announces has to be in the file.

The layout is that of the GGUF specification, versions 2 and 3, little endian.
"""

import mmap
import struct
from pathlib import Path

from models.errors import ModelError

# Bytes of the values that have a fixed size, by their type.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
# The least that one takes: a length; a type and a length.
_LEAST = {**_SIZES, _STRING: 8, _ARRAY: 12}
# Arrays of arrays beyond that are in no model.
_DEEPEST = 4
_FIRST, _LEAST_ENTRY, _LEAST_TENSOR = 8, 12, 24


class _DamagedError(Exception):
    """What the header announces is not there."""


def check_header(file: Path) -> None:
    """Refuse a header that announces more than the file holds, on which a reader would work for ever.

    Raises
    ------
    ModelError
        It does, or nests arrays without end.
    OSError
        The file cannot be read.
    """
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            _Walk(content).entries()
        except (_DamagedError, struct.error) as error:
            raise ModelError(f"{file} is truncated or damaged ({len(content):,} bytes): {error}") from error


class _Walk:
    """A place in the header that moves on."""

    def __init__(self, content: mmap.mmap):
        self._content, self._place = content, _FIRST

    def entries(self) -> None:
        """All keys and values; what tensors there are, the reader sees itself."""
        tensors, entries = self._number("<Q"), self._number("<Q")
        self._fits(tensors, _LEAST_TENSOR)
        self._fits(entries, _LEAST_ENTRY)
        for _ in range(entries):
            self._string()
            self._value(self._number("<I"), depth=0)

    def _value(self, kind: int, depth: int) -> None:
        if kind in _SIZES:
            self._skip(1, _SIZES[kind])
        elif kind == _STRING:
            self._string()
        elif kind == _ARRAY and depth < _DEEPEST:
            self._array(depth)
        else:
            raise _DamagedError(f"a value of type {kind}, or arrays that are nested too deep")

    def _array(self, depth: int) -> None:
        kind, length = self._number("<I"), self._number("<Q")
        if kind in _SIZES:
            self._skip(length, _SIZES[kind])
            return
        self._fits(length, _LEAST.get(kind, 1))
        for _ in range(length):
            self._value(kind, depth + 1)

    def _string(self) -> None:
        self._skip(self._number("<Q"), 1)

    def _number(self, form: str) -> int:
        number: int = struct.unpack_from(form, self._content, self._place)[0]
        self._place += struct.calcsize(form)
        return number

    def _skip(self, count: int, size: int) -> None:
        self._fits(count, size)
        self._place += count * size

    def _fits(self, count: int, least: int) -> None:
        if count * least > len(self._content) - self._place:
            raise _DamagedError("its header announces more than it holds")
