"""Records that cannot be read are left out, counted and named, unless there are too many or none may be."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks import registry
from tasks.base import Task
from tasks.errors import DataError

GOOD = [{"id": f"q{n}", "question": f"What is {n}?", "answers": ["x"]} for n in range(30)]
BAD = {
    "no answers": ({"id": "b", "question": "Why?"}, "field 'answers' is missing"),
    "empty": ({"id": "b", "question": "Why?", "answers": []}, "field 'answers' is an empty list"),
    "NUL": ({"id": "b", "question": "W\0hy?", "answers": ["x"]}, "contains a NUL character"),
    "twice": ({"id": "q3", "question": "Why?", "answers": ["x"]}, "field 'id' is 'q3' again, first used in"),
    "a list": (["Why?"], "a JSON object is expected, not list"),
    "broken": ('{"question": "Why?", ', "not valid JSON"),
    "two": ('{"question": "Why?"} {}', "a second value"),
    "one key twice": ('{"question": "a", "question": "b", "answers": ["x"]}', "'question' is there twice"),
    "surrogate": ('{"question": "\\ud800", "answers": ["x"]}', "half of a surrogate pair"),
    "encoding": (b'{"question": "caf\xe9", "answers": ["x"]}', "the file is not UTF-8"),
    "another format": ({"text": "Why?"}, "field 'question' is missing"),
}


def as_line(record: Any) -> bytes:
    if isinstance(record, bytes):
        return record
    return (record if isinstance(record, str) else json.dumps(record)).encode()


def task_of(path: Path, records: list[Any], **options: Any) -> Task:
    path.write_bytes(b"\n".join(map(as_line, records)))
    return registry.create("factoidqa", {"source": "file", "path": str(path), **options})


@pytest.mark.parametrize("place", [0, 17, 30])
@pytest.mark.parametrize("kind", BAD)
def test_one_bad_record_among_many(tmp_path: Path, kind: str, place: int) -> None:
    bad, why = BAD[kind]
    records = [*GOOD[:place], bad, *GOOD[place:]]
    task = task_of(tmp_path / "q.jsonl", records)
    untouched = task_of(tmp_path / "good.jsonl", GOOD)
    if kind == "twice" and place == 0:
        # The first of two is kept.
        assert "q3" not in task.skipped[0].partition(":")[0] and len(task.skipped) == 1
        return
    assert task.load() == untouched.load() and task.calibration() == untouched.calibration()
    (told,) = task.skipped
    assert f"q.jsonl, line {place + 1}" in told and why in told and "\n" not in told
    with pytest.raises(DataError, match=rf"line {place + 1}"):
        task_of(tmp_path / "q.jsonl", records, on_bad_record="error").load()


@pytest.mark.parametrize(
    ("good", "bad", "kept"),
    [
        (1, 1, True),
        (1, 2, False),
        (5, 5, True),
        (4, 5, False),
        (30, 10, True),
        (30, 11, False),
        (99, 11, True),
    ],
)
def test_most_have_to_be_right(tmp_path: Path, good: int, bad: int, kept: bool) -> None:
    right = [{"question": f"{n}?", "answers": ["x"]} for n in range(good)]
    calibration = tmp_path / "calibration.jsonl"
    calibration.write_text(json.dumps({"question": "tune?", "answers": ["x"]}))
    options = {"calibration_path": str(calibration)}
    task = task_of(tmp_path / "q.jsonl", [*right, *[{"question": "?"}] * bad], **options)
    if kept:
        assert len(task.load()) == good and len(task.skipped) == bad
    else:
        with pytest.raises(
            DataError, match=rf"^{bad} of {good + bad} records cannot be read.*the first: .*line"
        ):
            task.load()


def test_a_file_of_another_kind_is_no_set_of_bad_records(tmp_path: Path) -> None:
    for content in (["question,answer", "Why?,x"], ['{"question": "Why?"}'], [[GOOD[0], GOOD[1]], "x"]):
        with pytest.raises(DataError) as error:
            task_of(tmp_path / "q.jsonl", content).load()
        assert "\n" not in str(error.value) and "q.jsonl" in str(error.value)


def test_calibration_questions_are_left_out_too(tmp_path: Path) -> None:
    calibration = tmp_path / "calibration.jsonl"
    calibration.write_bytes(
        b"\n".join(map(as_line, [{"question": "tune?", "answers": ["x"]}, {"question": "y?"}]))
    )
    task = task_of(tmp_path / "q.jsonl", GOOD[:3], calibration_path=str(calibration))
    assert len(task.calibration()) == 1 and "calibration.jsonl, line 2" in task.skipped[0]
    with pytest.raises(DataError, match=r"calibration\.jsonl, line 2"):
        task_of(
            tmp_path / "q.jsonl", GOOD[:3], calibration_path=str(calibration), on_bad_record="error"
        ).load()


@pytest.mark.parametrize("option", ["ignore", None, True])
def test_the_option_is_checked(option: Any) -> None:
    with pytest.raises(DataError, match=r"task\.on_bad_record is"):
        registry.create("factoidqa", {"on_bad_record": option})


@pytest.mark.parametrize(
    ("content", "answers"),
    [
        ({"question": "a?", "answers": {"text": ["b", "c"], "answer_start": [3, 9]}}, ("b", "c")),
        ('{"id": NaN, "category": NaN, "question": "a?", "answers": ["b"]}', ("b",)),
        ('{"question": "a?", "answers": ["b"]}'.encode("utf-16"), ("b",)),
        ('\ufeff{"question": "a?", "answers": ["b"]}', ("b",)),
        ('{"question": "a?",\r "answers": ["b"]}\r', ("b",)),
    ],
)
def test_what_is_read_all_the_same(tmp_path: Path, content: Any, answers: tuple[str, ...]) -> None:
    task = task_of(tmp_path / "q.jsonl", [content])
    (one,) = task.load()
    assert (one.question, one.references, one.category) == ("a?", answers, None)


def test_lines_that_end_with_a_carriage_return(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"\r".join(map(as_line, GOOD)))
    assert registry.create("factoidqa", {"source": "file", "path": str(path)}).skipped == []
