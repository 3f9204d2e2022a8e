"""Every fault in a user's data is one line that names the file, the place and the field."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks import registry
from tasks.errors import DataError

GOOD = {"question": "Capital of France?", "answers": ["Paris"]}


def load_error(path: str | Path, **options: Any) -> str:
    """Return the message of the error that loading a file causes."""
    strict = {"source": "file", "path": str(path), "on_bad_record": "error"}
    task = registry.create("factoidqa", {**strict, **options})
    with pytest.raises(DataError) as caught:
        task.load()
    message = str(caught.value)
    assert "\n" not in message
    assert Path(path).name in message
    return message


@pytest.mark.parametrize(
    ("bad", "place", "problem"),
    [
        ({"question": "Why?"}, "'answers'", "missing"),
        ({"answers": ["x"]}, "'question'", "missing"),
        ({"question": "Why?", "answer": "x"}, "'answers'", "missing"),
        ({"question": "Why?", "answers": "x"}, "'answers'", "list of strings"),
        ({"question": "Why?", "answers": []}, "'answers'", "empty list"),
        ({"question": "Why?", "answers": ["x", 7]}, "'answers[1]'", "string is expected"),
        ({"question": "Why?", "answers": ["x", " "]}, "'answers[1]'", "empty"),
        ({"question": "Why?", "answers": [None]}, "'answers[0]'", "string is expected"),
        ({"question": " ", "answers": ["x"]}, "'question'", "empty"),
        ({"question": None, "answers": ["x"]}, "'question'", "string is expected"),
        ({"question": ["Why?"], "answers": ["x"]}, "'question'", "string is expected"),
        ({"question": "Wh\0y?", "answers": ["x"]}, "'question'", "NUL"),
        ({"question": "Why?", "answers": ["\ud800"]}, "'answers[0]'", "surrogate"),
        ({"question": "Why?", "answers": ["x"], "id": ["q"]}, "'id'", "string is expected"),
        ({"question": "Why?", "answers": ["x"], "id": True}, "'id'", "string is expected"),
        ({"question": "Why?", "answers": ["x"], "id": ""}, "'id'", "empty"),
        ({"question": "Why?", "answers": ["x"], "category": 3}, "'category'", "string is expected"),
        ("Why?", "line 2", "object is expected"),
        ([GOOD], "line 2", "object is expected"),
    ],
)
def test_a_bad_record(write_jsonl: Callable[..., str], bad: Any, place: str, problem: str) -> None:
    message = load_error(write_jsonl(GOOD, bad))
    assert "line 2" in message
    assert place in message
    assert problem in message


def test_long_values_are_not_printed_whole(write_jsonl: Callable[..., str]) -> None:
    message = load_error(write_jsonl(GOOD, {"question": "Why?", "answers": "x\n" * 5000}))
    assert len(message) < 300


def test_an_id_given_twice_names_both_lines(write_jsonl: Callable[..., str]) -> None:
    message = load_error(write_jsonl({"id": "a", **GOOD}, GOOD, {"id": "a", **GOOD}))
    assert "line 3" in message
    assert "line 1" in message
    assert "'a'" in message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"question": "a", "answers": ["b"]}\n{"question": "a", "answers": ["b"\n', "line 2"),
        ('{"question": "a", "answers": ["b"]\n{"question": "a", "answers": ["b"]}\n', "line 1"),
        ('{"question": "a", "answers": ["b"]}\nquestion,answer\n', "line 2"),
        ("question,answer\nWhy?,x\n", "line 1"),
        ('[{"question": "a", "answers": ["b"]},\n {"question": "a" "answers": ["b"]}]', "line 2"),
        ('{"Data": [\n {"Question": "a"\n', "line 3"),
    ],
)
def test_broken_json_names_the_line(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(text)
    message = load_error(path)
    assert line in message
    assert "not valid JSON" in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"[]", "empty"),
        (b'{"Questions": []}', "empty"),
        (b"7", "is expected"),
        (b'"text"', "is expected"),
        (b"[7]", "item 0: a JSON object is expected"),
        (b'[{"question": "a", "answers": ["b"]}, null]', "item 1: a JSON object is expected"),
        (
            b'{"question": "a", "answers": ["b"]}\n{"question": "caf\xe9", "answers": ["b"]}',
            "line 2: the file is not UTF-8",
        ),
        (b"{}", "no known format"),
        (b'{"id": 1, "article": "x", "highlights": "y"}', "no known format"),
        (b'{"question": "a", "answer": "b"}', "'answer' is a string"),
        (b'{"question": "a"}', "'answers' is missing"),
        (b'{"question": "a", "answers": [' + b"1" * 5000 + b"]}", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"PK\x03\x04\xff\xfe", "this is a zip archive, unpack it first"),
        (b"\x1f\x8b\x08", "this is compressed by gzip, unpack it first (gunzip)"),
        (b"PAR1\x15", "this is a Parquet file, write its rows as JSON Lines first"),
        (b"\xff\xfe{\0", "not valid JSON"),
        (b"question,answer\nWhy?,x\n", "JSON Lines or a JSON document is expected, no CSV or YAML"),
        (b"- question: a\n  answers: [b]\n", "no CSV or YAML"),
        (b'[{"question": "a", "answers": ["b"]},]', "a comma before the closing bracket"),
        (b'{"question": "a", "answers": ["b"],}', "a comma before the closing bracket"),
        (b'{"question": "a", "answers": ["b"]} {"question": "c"}', "a second value, where one object a line"),
        (b'{"question": "a", "question": "b", "answers": ["c"]}', "line 1: field 'question' is there twice"),
        (b'{"question": "a", "answers": [Infinity]}', "'answers[0]' is inf; a string is expected"),
    ],
)
def test_a_file_that_is_something_else(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    assert problem in load_error(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert "no such file" in load_error(tmp_path / "absent.jsonl")
    assert "folder" in load_error(tmp_path)


def test_a_calibration_file_that_is_missing(write_jsonl: Callable[..., str], tmp_path: Path) -> None:
    task = registry.create(
        "factoidqa",
        {"source": "file", "path": write_jsonl(GOOD), "calibration_path": str(tmp_path / "absent.jsonl")},
    )
    with pytest.raises(DataError, match=r"absent\.jsonl: there is no such file"):
        task.load()


TRIVIAQA_ITEM = {"Question": "Why?", "QuestionId": "q", "Answer": {"Value": "x", "Aliases": ["x"]}}


@pytest.mark.parametrize(
    ("item", "place", "problem"),
    [
        ({**TRIVIAQA_ITEM, "Answer": None}, "'Answer'", "object is expected"),
        ({**TRIVIAQA_ITEM, "Answer": {}}, "'Answer.Value'", "missing"),
        ({**TRIVIAQA_ITEM, "Answer": {"Value": "<unk>", "Aliases": []}}, "'Answer.Value'", "test split"),
        ({**TRIVIAQA_ITEM, "Answer": {"Value": "x", "Aliases": "x"}}, "'Answer.Aliases'", "list of strings"),
        ({"Question": "Why?", "QuestionId": "q"}, "'Answer'", "missing"),
        ({**TRIVIAQA_ITEM, "Question": "What?", "QuestionId": "p"}, "'id'", "again"),
        ({"RawQuestion": "Why?"}, "'Parses'", "missing"),
        ({"RawQuestion": "Why?", "Parses": []}, "'Parses'", "empty list"),
        ({"RawQuestion": "Why?", "Parses": [{}]}, "'Parses[0].Answers'", "missing"),
        (
            {"RawQuestion": "Why?", "Parses": [{"Answers": [7]}]},
            "'Parses[0].Answers[0]'",
            "object is expected",
        ),
        (
            {"RawQuestion": "Why?", "Parses": [{"Answers": [{"AnswersName": [7]}]}]},
            "AnswersName[0]'",
            "string",
        ),
        ({"RawQuestion": "Why?", "Parses": [{"Answers": [{"AnswersName": []}]}]}, "'Parses'", "no answer"),
        ({"Parses": [{"Answers": [{"AnswersName": ["x"]}]}]}, "'RawQuestion'", "missing"),
        ({"utterance": "Why?", "targetValue": "x"}, "'targetValue'", "description"),
        ({"utterance": "Why?"}, "'targetValue'", "missing"),
        ({"qText": "Why?"}, "'answers'", "missing"),
    ],
)
def test_a_bad_item_of_a_published_format(
    write_json: Callable[..., str], item: dict[str, Any], place: str, problem: str
) -> None:
    first = {**TRIVIAQA_ITEM, "QuestionId": "p"}
    document = {"Data": [first, item]} if "Question" in item else [item]
    message = load_error(write_json(document))
    assert f"item {len(document) - 1}" in message or "Data" in document
    assert place in message
    assert problem in message


def test_a_format_that_does_not_fit_names_the_field_it_misses(write_jsonl: Callable[..., str]) -> None:
    message = load_error(write_jsonl(GOOD), format="nq_open")
    assert "line 1" in message
    assert "'answer' is missing" in message


def test_an_unreadable_file_is_named(
    write_jsonl: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jsonl(GOOD)

    def refuse(*_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "Permission denied" in load_error(path)


def test_json_escapes_cannot_smuggle_half_characters(tmp_path: Path) -> None:
    path = tmp_path / "half.jsonl"
    path.write_text(json.dumps({"question": "\udc80?", "answers": ["x"]}))
    assert "surrogate" in load_error(path)
