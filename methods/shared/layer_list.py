"""Layers written down by hand: numbers and ranges."""

import re
from collections.abc import Iterable
from typing import Any

from methods.shared.errors import MethodError
from methods.shared.ranges import MOST

_PART = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


def layer_list(name: str, given: Any) -> list[int]:
    """Layers in ascending order, each once, from `7`, `"7-9"`, `"3,7-9"` or a list of such.

    Raises
    ------
    MethodError
        It is something else, or a range that falls.
    """
    found: set[int] = set()
    for part in _parts(given):
        read = _PART.fullmatch(str(part).strip()) if type(part) in (int, str) else None
        first, last = (0, -1) if read is None else (int(read[1]), int(read[2] or read[1]))
        if not first <= last <= MOST:
            raise MethodError(
                f"{name}={given} is out of range: write layers from 0 as [3,7] or ranges as 7-9"
            )
        # A model has fewer, which `bind` checks: a range is never filled in before it is known to be short.
        if last - first > 10_000:
            raise MethodError(f"{name}={given} is out of range: no model has so many layers")
        found |= set(range(first, last + 1))
    return sorted(found)


def _parts(given: Any) -> Iterable[Any]:
    if given is None:
        return []
    if isinstance(given, str):
        return given.split(",")
    return given if isinstance(given, list | tuple) else [given]
