"""Ids for examples that come without one."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from tasks.base import Example
from tasks.errors import DataError
from tasks.sources.record import Record


def with_ids(examples: Sequence[Example], records: Sequence[Record]) -> list[Example]:
    """Return the examples, each with an id of its own.

    One without an id gets the first 12 hex digits of the SHA-256 of its question, and `-2`, `-3`, … where a
    question repeats.

    Raises
    ------
    DataError
        Two records share an id.
    """
    found: list[Example] = []
    seen: dict[str, Record] = {}
    for example, record in zip(examples, records, strict=True):
        if not example.example_id:
            example = replace(example, example_id=_new_id(example.question, seen))
        elif example.example_id in seen:
            earlier = seen[example.example_id].where
            raise DataError(
                f"{record.where}: field 'id' is {example.example_id!r} again, first used in {earlier}"
            )
        seen[example.example_id] = record
        found.append(example)
    return found


def _new_id(question: str, seen: dict[str, Record]) -> str:
    base = hashlib.sha256(question.encode()).hexdigest()[:12]
    example_id, count = base, 1
    while example_id in seen:
        count += 1
        example_id = f"{base}-{count}"
    return example_id
