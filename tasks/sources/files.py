"""Reads JSON Lines and JSON documents into records."""

import json
from pathlib import Path
from typing import Any

from tasks.errors import DataError
from tasks.sources.record import Record

# Keys under which published JSON documents keep their list of records: TriviaQA's and FreebaseQA's.
_LIST_KEYS = ("Data", "Questions")


def read_records(path: Path) -> list[Record]:
    """Read a UTF-8 file of JSON Lines, or a JSON document that is or holds a list of records.

    Raises
    ------
    DataError
        If the file is missing, unreadable, not UTF-8, not JSON, empty, or holds anything but objects.
    """
    text = _read_text(path)
    if not text.strip():
        raise DataError(f"{path}: the file is empty; at least one record is expected")
    # Not splitlines(): it also splits at characters that JSON allows inside strings, such as U+2028.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    document = _document(path, text, lines)
    if document is None:
        return [_record(_parse(path, line, number), f"{path}, line {number}") for number, line in lines]
    items = _items(path, document)
    return [_record(item, f"{path}, item {index}") for index, item in enumerate(items)]


def _read_text(path: Path) -> str:
    try:
        if not path.exists():
            raise DataError(f"{path}: there is no such file")
        if path.is_dir():
            raise DataError(f"{path}: this is a folder; a file is expected")
        # utf-8-sig: some editors put a byte-order mark first, which JSON does not allow.
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: the file is not UTF-8 ({error.reason})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _document(path: Path, text: str, lines: list[tuple[int, str]]) -> Any:
    """Return the whole file as one parsed document, or None if it is JSON Lines."""
    first = _parsed_or_none(path, lines[0][1])
    if isinstance(first, dict) and not any(isinstance(first.get(key), list) for key in _LIST_KEYS):
        return None
    try:
        return _parse(path, text, 1)
    except DataError:
        # A later line that is an object on its own shows JSON Lines whose first line is broken.
        later = (_parsed_or_none(path, line) for _, line in lines[1:])
        if not text.lstrip().startswith("[") and any(isinstance(value, dict) for value in later):
            return None
        raise


def _items(path: Path, document: Any) -> list[Any]:
    if isinstance(document, dict):
        lists = [document[key] for key in _LIST_KEYS if isinstance(document.get(key), list)]
        # A pretty-printed single record is a list of one.
        document = lists[0] if lists else [document]
    if not isinstance(document, list):
        raise DataError(
            f"{path}: JSON Lines, a list of objects, or an object with 'Data' or 'Questions' is expected"
        )
    if not document:
        raise DataError(f"{path}: the list of records is empty; at least one is expected")
    return document


def _parsed_or_none(path: Path, text: str) -> Any:
    try:
        return _parse(path, text, 1)
    except DataError:
        return None


def _parse(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(
            f"{path}, line {line}: not valid JSON ({error.msg} at column {error.colno})"
        ) from error
    except (ValueError, RecursionError) as error:
        # Valid, but beyond Python's limits: numbers of thousands of digits, very deep nesting.
        raise DataError(f"{path}, line {first_line}: JSON that cannot be read ({error})") from error


def _record(value: Any, where: str) -> Record:
    if not isinstance(value, dict):
        raise DataError(f"{where}: a JSON object is expected, not {type(value).__name__}")
    return Record(value, where)
