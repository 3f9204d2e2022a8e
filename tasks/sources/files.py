"""Reads JSON Lines and JSON documents into records."""

import codecs
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from tasks.errors import DataError
from tasks.sources.faults import STRICT, Faults
from tasks.sources.record import Record

# Keys under which published JSON documents keep their list of records: TriviaQA's and FreebaseQA's.
_LIST_KEYS = ("Data", "Questions")
# What other files begin with.
_KINDS = {
    b"\x1f\x8b": "compressed by gzip, unpack it first (gunzip)",
    b"PK\x03\x04": "a zip archive, unpack it first",
    b"BZh": "compressed by bzip2, unpack it first",
    b"\xfd7zXZ": "compressed by xz, unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd, unpack it first",
    b"PAR1": "a Parquet file, write its rows as JSON Lines first (pandas: to_json(lines=True))",
}


def read_records(path: Path, faults: Faults = STRICT) -> list[Record]:
    """Read a UTF-8 file of JSON Lines, or a JSON document that is or holds a list of records.

    Parameters
    ----------
    path
    faults
        What becomes of a line or an item that is no object, or of a line that is not JSON.

    Raises
    ------
    DataError
        If the file is missing, unreadable, empty, of another kind, or holds what is not put up with.
    """
    text = _read_text(path)
    if not text.strip():
        raise DataError(f"{path}: the file is empty; at least one record is expected")
    # Not splitlines(): it also splits at characters that JSON allows inside strings, such as U+2028.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    document = _document(path, text, lines)
    if document is None:
        made = [
            faults.read(partial(_record_of_line, path, line, number, f"{path}, line {number}"))
            for number, line in lines
        ]
    else:
        items = enumerate(_items(path, document))
        made = [faults.read(partial(_record, item, f"{path}, item {index}")) for index, item in items]
    return [record for record in made if record is not None]


def _read_text(path: Path) -> str:
    try:
        if not path.exists():
            raise DataError(f"{path}: there is no such file")
        if path.is_dir():
            raise DataError(f"{path}: this is a folder; a file is expected")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    for start, kind in _KINDS.items():
        if content.startswith(start):
            raise DataError(f"{path}: this is {kind}; JSON Lines or a JSON document is expected")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding, errors = "utf-16", "replace"
    else:
        # Some editors put a byte-order mark first, which JSON does not allow. What is not UTF-8 is told by
        # the line that it is in.
        encoding, errors = "utf-8-sig", "surrogateescape"
    return content.decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


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
        whole = first is not None or not text.lstrip().startswith("[")
        if whole and any(isinstance(value, dict) for value in later):
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
        text.encode()
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeEncodeError as error:
        line = first_line + text.count("\n", 0, error.start)
        raise DataError(f"{path}, line {line}: the file is not UTF-8; save it as UTF-8") from None
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(
            f"{path}, line {line}: not valid JSON ({_why(error)} at column {error.colno}){_instead(text)}"
        ) from error
    except (ValueError, RecursionError) as error:
        # Valid, but beyond Python's limits: numbers of thousands of digits, very deep nesting.
        raise DataError(f"{path}, line {first_line}: JSON that cannot be read ({error})") from error


class _Twice(dict[str, Any]):
    """An object that has a key twice."""

    key = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    twice = _Twice(values)
    twice.key = Counter(key for key, _ in pairs).most_common(1)[0][0]
    return twice


def _constant(name: str) -> float | None:
    # What a table without a value becomes.
    return None if name == "NaN" else float(name)


def _why(error: json.JSONDecodeError) -> str:
    before, after = error.doc[: error.pos].rstrip(), error.doc[error.pos :].lstrip()
    if before.endswith(",") and after[:1] in ("]", "}"):
        return "a comma before the closing bracket"
    if error.msg == "Extra data":
        return "a second value, where one object a line is expected,"
    return error.msg


def _instead(text: str) -> str:
    """What else is expected of a text that does not even begin like JSON."""
    return "" if text.lstrip()[:1] in "[{" else "; JSON Lines or a JSON document is expected, no CSV or YAML"


def _record_of_line(path: Path, line: str, number: int, where: str) -> Record:
    return _record(_parse(path, line, number), where)


def _record(value: Any, where: str) -> Record:
    if not isinstance(value, dict):
        raise DataError(f"{where}: a JSON object is expected, not {type(value).__name__}")
    if isinstance(value, _Twice):
        raise DataError(f"{where}: field {value.key!r} is there twice")
    return Record(value, where)
