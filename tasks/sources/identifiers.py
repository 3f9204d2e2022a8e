"""Ids for examples that come without one."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from tasks.base import Example
from tasks.errors import DataError
from tasks.sources.faults import STRICT, Faults
from tasks.sources.record import Record


def with_ids(
    records: Sequence[Record], parse: Callable[[Record], Example | None], faults: Faults = STRICT
) -> list[Example]:
    """Return the examples of records, each with an id of its own.

    One without an id gets the first 12 hex digits of the SHA-256 of its question, and `-2`, `-3`, … where a
    question repeats.

    Parameters
    ----------
    records
    parse
        Makes an example of one; None: there is none in it, and nothing is wrong.
    faults
        What becomes of a record that cannot be read, or has the id of an earlier one.

    Raises
    ------
    DataError
        A record is not put up with.
    """
    found: list[Example] = []
    seen: dict[str, Record] = {}
    for record in records:
        example = faults.read(partial(parse, record))
        if example is None:
            continue
        if not example.example_id:
            example = replace(example, example_id=_new_id(example.question, seen))
        elif example.example_id in seen:
            earlier = seen[example.example_id].where
            faults.note(
                DataError(
                    f"{record.where}: field 'id' is {example.example_id!r} again, first used in {earlier}"
                )
            )
            continue
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
