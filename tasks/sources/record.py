"""A raw record that remembers where it was read, so that every complaint can say so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.errors import DataError


@dataclass(frozen=True)
class Record:
    """One record of a source.

    Parameters
    ----------
    values
        The fields as they were read.
    where
        Position in words, such as `questions.jsonl, line 12`.
    path
        Fields that lead from the record as it was read to these values, for a nested record.
    """

    values: Mapping[str, Any]
    where: str
    path: str = ""

    def __contains__(self, field: str) -> bool:
        return field in self.values

    def error(self, field: str, problem: str) -> DataError:
        """Return (not raise) the error for `field`."""
        return DataError(f"{self.where}: field {self.path + field!r} {problem}")

    def text(self, field: str) -> str:
        """Return a required, non-empty string."""
        if field not in self.values:
            present = ", ".join(str(name) for name in self.values) or "none"
            raise self.error(field, f"is missing; fields here: {present}")
        return self._checked_text(field, self.values[field])

    def optional_text(self, field: str) -> str | None:
        """Return a string, or None where the field is absent or null."""
        return None if self.values.get(field) is None else self.text(field)

    def texts_or_gaps(self, field: str) -> tuple[str, ...]:
        """Return a list of strings in order; absent, null and empty ones are empty strings, and an absent
        list is an empty one. Where one is a list of strings, they are its lines."""
        if self.values.get(field) is None:
            return ()
        items = self.values[field]
        if not isinstance(items, list):
            raise self.error(field, f"is {_shown(items)}; a list of strings is expected")
        return tuple(self._lines(f"{field}[{index}]", item) for index, item in enumerate(items))

    def _lines(self, field: str, value: Any) -> str:
        if isinstance(value, list):
            return "\n".join(self._lines(f"{field}[{index}]", item) for index, item in enumerate(value))
        return "" if value in (None, "") else self._checked_text(field, value)

    def identifier(self, field: str) -> str | None:
        """Return an id (a string, or an integer as text), or None where the field is absent or null."""
        value = self.values.get(field)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.optional_text(field)

    def texts(self, field: str, repeats: bool = False) -> tuple[str, ...]:
        """Return a required, non-empty list of non-empty strings in order; each once, unless they may
        repeat."""
        checked = [
            self._checked_text(f"{field}[{index}]", item)
            for index, item in enumerate(self._items(field, "strings"))
        ]
        return tuple(checked if repeats else dict.fromkeys(checked))

    def child(self, field: str) -> "Record":
        """Return a nested object as a record."""
        if field not in self.values:
            raise self.error(field, "is missing; an object is expected")
        return self._nested(field, self.values[field])

    def children(self, field: str) -> list["Record"]:
        """Return a required, non-empty list of objects as records."""
        return [
            self._nested(f"{field}[{index}]", item)
            for index, item in enumerate(self._items(field, "objects"))
        ]

    def _items(self, field: str, kind: str) -> list[Any]:
        if field not in self.values:
            raise self.error(field, f"is missing; a list of {kind} is expected")
        items = self.values[field]
        if not isinstance(items, list):
            raise self.error(field, f"is {_shown(items)}; a list of {kind} is expected")
        if not items:
            raise self.error(field, f"is an empty list; at least one of its {kind} is needed")
        return items

    def _nested(self, field: str, value: Any) -> "Record":
        if not isinstance(value, Mapping):
            raise self.error(field, f"is {_shown(value)}; an object is expected")
        return Record(value, self.where, f"{self.path}{field}.")

    def _checked_text(self, field: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self.error(field, f"is {_shown(value)}; a string is expected")
        if not value.strip():
            raise self.error(field, "is empty; it must have text")
        if "\0" in value:
            raise self.error(field, "contains a NUL character")
        # JSON can escape half of a surrogate pair, which no encoding can write back.
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise self.error(field, "contains half of a surrogate pair, which is not valid Unicode")
        return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
