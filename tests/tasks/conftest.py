"""Helpers for the tests of tasks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.scoring.text import contains_alias

WriteJsonl = Callable[..., str]


@pytest.fixture
def write_jsonl(tmp_path: Path) -> WriteJsonl:
    """Return a function that writes records as JSON Lines and returns the path."""

    def write(*records: Any, name: str = "questions.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes one JSON document and returns the path."""

    def write(document: Any, name: str = "questions.json", indent: int | None = None) -> str:
        path = tmp_path / name
        path.write_text(json.dumps(document, indent=indent), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def check_row() -> Callable[[str, str, str], None]:
    """Return a function that checks one reference against answers, which bars separate."""

    def check(alias: str, right: str, wrong: str) -> None:
        assert [text for text in right.split(" | ") if text and not contains_alias(text, alias)] == []
        assert [text for text in wrong.split(" | ") if text and contains_alias(text, alias)] == []

    return check
