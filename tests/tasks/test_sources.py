"""Which examples are scored, which calibrate, and what the source is called."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks import registry
from tasks.base import Example
from tasks.errors import DataError
from tasks.sources.splits import held_out

QUESTIONS: list[dict[str, Any]] = [
    {"id": f"q{index}", "question": f"What is number {index}?", "answers": [str(index)]}
    for index in range(200)
]
REAL_DATA = os.environ.get("SKIPBENCH_DATA")


def make(**options: Any) -> Any:
    return registry.create("factoidqa", options)


def ids(examples: list[Example]) -> list[str]:
    return [example.example_id for example in examples]


def test_a_fifth_of_a_file_is_set_aside_and_never_scored(write_jsonl: Callable[..., str]) -> None:
    task = make(source="file", path=write_jsonl(*QUESTIONS))
    scored, calibration = ids(task.load()), ids(task.calibration())
    assert not set(scored) & set(calibration)
    assert set(scored) | set(calibration) == {question["id"] for question in QUESTIONS}
    assert 20 <= len(calibration) <= 60
    assert scored == sorted(scored, key=lambda name: int(name[1:]))


def test_the_split_depends_on_the_words_of_the_question_alone(write_jsonl: Callable[..., str]) -> None:
    forward = make(source="file", path=write_jsonl(*QUESTIONS, name="forward.jsonl"))
    backward = make(source="file", path=write_jsonl(*QUESTIONS[::-1], name="backward.jsonl"))
    assert set(ids(forward.load())) == set(ids(backward.load()))
    for question in QUESTIONS:
        text = question["question"]
        assert held_out(text) == held_out(text.upper().rstrip("?") + " !")


def test_a_calibration_file_leaves_the_whole_source_to_score(write_jsonl: Callable[..., str]) -> None:
    path = write_jsonl(*QUESTIONS[:50])
    other = write_jsonl(*QUESTIONS[50:60], name="calibration.jsonl")
    task = make(source="file", path=path, calibration_path=other)
    assert len(task.load()) == 50
    assert ids(task.calibration()) == [f"q{index}" for index in range(50, 60)]


def test_a_calibration_question_that_is_also_scored_is_refused(write_jsonl: Callable[..., str]) -> None:
    path = write_jsonl(*QUESTIONS[:50])
    again = {"id": "other", "question": "what is number 3", "answers": ["3"]}
    task = make(source="file", path=path, calibration_path=write_jsonl(again, name="calibration.jsonl"))
    with pytest.raises(
        DataError, match=r"calibration\.jsonl: 1 of its questions are also scored.*'what is number 3'"
    ):
        task.load()


def test_a_file_too_small_to_split(write_jsonl: Callable[..., str]) -> None:
    kept = next(question for question in QUESTIONS if not held_out(question["question"]))
    moved = next(question for question in QUESTIONS if held_out(question["question"]))
    task = make(source="file", path=write_jsonl(kept, name="kept.jsonl"))
    assert len(task.load()) == 1
    with pytest.raises(DataError, match=r"kept\.jsonl: too small .* task\.calibration_path"):
        task.calibration()
    with pytest.raises(DataError, match=r"moved\.jsonl: nothing left to score .* task\.calibration_path"):
        make(source="file", path=write_jsonl(moved, name="moved.jsonl")).load()


def test_the_content_hash_follows_question_and_references_only() -> None:
    example = Example("1", "city", "Où?", ("Paris", "Lyon"))
    assert example.source_sha256 == Example("2", None, "Où?", ("Paris", "Lyon")).source_sha256
    assert example.source_sha256 != Example("1", "city", "Où?", ("Paris",)).source_sha256
    assert example.source_sha256 != Example("1", "city", "Où", ("Paris", "Lyon")).source_sha256
    assert example.source_sha256 == "3f6c4771ada4830ac149eeafd262a8058d8b0e3cb6444b1c7605bbdc70b922d2"


def test_labels() -> None:
    assert make().source_label == "embedded"
    assert make(source="file", path="/some/where/nq.jsonl").source_label == "file:nq.jsonl"
    hub = {"source": "hub", "dataset": "a/b", "split": "test"}
    assert make(**hub).source_label == "hub:a/b:test"
    assert make(**hub, dataset_config="c").source_label == "hub:a/b/c:test"


@pytest.mark.skipif(REAL_DATA is None, reason="SKIPBENCH_DATA names no folder of real data")
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("relations_206", 206),
        ("nq_open_dev_1000", 1000),
        ("webquestions_devtest", 189),
        ("spec_bench_qa", 43),
    ],
)
def test_real_data_loads(name: str, rows: int) -> None:
    task = make(source="file", path=str(Path(str(REAL_DATA)) / "factoidqa" / f"{name}.jsonl"))
    scored, calibration = task.load(), task.calibration()
    assert len(scored) + len(calibration) == rows
    assert not set(ids(scored)) & set(ids(calibration))
    assert all(example.references for example in scored)
