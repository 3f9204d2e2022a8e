"""Conversations of MT-Bench, and what can be said of them without a judge."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tasks import registry
from tasks.base import Answer
from tasks.errors import DataError
from tasks.mtbench import TEMPERATURES, MTBench, MTBenchConfig, shared_prefix

GOOD = {"question_id": 81, "category": "writing", "turns": ["Write.", "Rewrite."]}


@pytest.fixture
def task() -> MTBench:
    return MTBench(MTBenchConfig(names="rules"))


def answer(text: str, ids: list[int], **more: Any) -> Answer:
    return Answer(text, ids, "eos", (), "The prompt names Harlow.", "Write.", **more)


def test_the_embedded_set(task: MTBench) -> None:
    scored, calibration = task.load(), task.calibration()
    for examples in (scored, calibration):
        assert Counter(one.category for one in examples) == dict.fromkeys(TEMPERATURES, 4)
        assert all(len(one.turns) == 2 for one in examples)
        for one in examples:
            wants = one.category in ("reasoning", "math", "coding", "extraction")
            assert len(one.references) == (2 if wants else 0)
    turns = [turn for one in scored + calibration for turn in one.turns]
    assert len(set(turns)) == len(turns) == 128


def test_a_conversation(task: MTBench) -> None:
    one = task.load()[0]
    assert task.prompt(one, 0, ()) == [{"role": "user", "content": one.turns[0]}]
    assert task.prompt(one, 1, ("First.",)) == [
        {"role": "user", "content": one.turns[0]},
        {"role": "assistant", "content": "First."},
        {"role": "user", "content": one.turns[1]},
    ]
    for turn, answers in ((1, ()), (2, ("a", "b")), (0, ("a",))):
        with pytest.raises(ValueError, match="turn"):
            task.prompt(one, turn, answers)
    assert (one.asked(0), one.asked(1)) == one.turns


def test_temperatures(write_jsonl: Any) -> None:
    rows = [
        {**GOOD, "question_id": n, "turns": [f"Q{n}?", "And?"], "category": name}
        for n, name in enumerate([*TEMPERATURES, "cooking"] * 3)
    ]
    for choice in ("category", "shared"):
        config = {"source": "file", "path": write_jsonl(*rows), "temperatures": choice}
        found = {one.category: one.temperature for one in registry.create("mtbench", config).load()}
        assert len(found) == 9
        for category, temperature in found.items():
            assert temperature == (TEMPERATURES.get(category, 0.7) if choice == "category" else None)


def test_scores(task: MTBench) -> None:
    full = answer("Anna Ellis spoke in Harlow.", [1, 2, 3, 4], is_baseline=True)
    itself = task.score(full)
    assert (itself.quality, itself.outcome, itself.hallucinated) == (1.0, None, None)
    same = task.score(answer(full.text, [1, 2, 3, 4], baseline=full))
    assert (same.quality, same.scores["shared_prefix"], same.scores["unsupported"]) == (1.0, 1.0, 0)
    other = task.score(answer("Bob Ellis spoke in Harlow.", [1, 9, 3, 4, 5], baseline=full))
    assert other.quality == pytest.approx(0.8)
    assert (other.scores["shared_prefix"], other.scores["unsupported"]) == (0.2, 1)
    alone = task.score(answer("Bob.", [1]))
    assert alone.quality is None and alone.hallucinated is None and "agreement" not in alone.scores


def test_the_published_file() -> None:
    """FastChat's own, where it is at hand."""
    folder = os.environ.get("SKIPBENCH_DATA")
    path = Path(folder or "", "mt_bench", "question.jsonl")
    if not folder or not path.exists():
        pytest.skip("SKIPBENCH_DATA names no folder with MT-Bench")
    task = registry.create("mtbench", {"source": "file", "path": str(path)})
    assert len(task._examples.scored) + len(task._examples.calibration) == 80


def test_references_have_gaps(write_jsonl: Any) -> None:
    rows = [
        {**GOOD, "question_id": n, "turns": [f"{n}", "?"], "reference": reference}
        for n, reference in enumerate([["x", ""], ["", "x"], None, [], ["x", None]])
    ]
    task = registry.create("mtbench", {"source": "file", "path": write_jsonl(*rows)})
    found = {one.example_id: one.references for one in task._examples.scored + task._examples.calibration}
    assert found == {"0": ("x", ""), "1": ("", "x"), "2": (), "3": (), "4": ("x", "")}


def test_shared_prefix() -> None:
    assert shared_prefix([], []) == 1.0
    assert shared_prefix([1, 2], [1, 2, 3, 4]) == 0.5
    assert shared_prefix([1], []) == 0.0


def test_the_later_turns_are_part_of_the_source(write_jsonl: Any) -> None:
    hashes = set()
    for turns in (["A?", "B?"], ["A?", "C?"], ["A?"]):
        path = write_jsonl({**GOOD, "turns": turns}, {**GOOD, "question_id": 1, "turns": ["x", "y"]})
        task = registry.create("mtbench", {"source": "file", "path": path})
        hashes |= {
            one.source_sha256
            for one in task._examples.scored + task._examples.calibration
            if one.question == "A?"
        }
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"question_id": 1, "category": "math"}, "'turns' is missing"),
        ({**GOOD, "turns": []}, "'turns' is an empty list"),
        ({**GOOD, "turns": ["a", ""]}, "'turns[1]' is empty"),
        ({**GOOD, "turns": "a"}, "a list of strings is expected"),
        ({"question_id": 1, "turns": ["a"]}, "'category' is missing"),
        ({**GOOD, "question_id": 2, "category": "math", "reference": ["a", 3]}, "'reference[1]'"),
        ({**GOOD, "question_id": 2, "category": "math", "reference": [["a", {}]]}, "'reference[0][1]'"),
        ({**GOOD, "question_id": 2, "category": "coding", "reference": "a"}, "a list of strings is expected"),
        (GOOD, "is '81' again"),
    ],
)
def test_bad_data(write_jsonl: Any, bad: dict[str, Any], said: str) -> None:
    path = Path(write_jsonl(GOOD, bad))
    with pytest.raises(DataError, match="line 2") as error:
        registry.create("mtbench", {"source": "file", "path": str(path), "on_bad_record": "error"}).load()
    assert said in str(error.value) and "\n" not in str(error.value)


def test_references_of_other_shapes(write_jsonl: Any) -> None:
    """Lists of lists are lines; what is none is one only where a judge would read it."""
    shapes = [[["a", "b"]], ["a", ["b", ["c"]]], "a", {"x": 1}, [3], [["a", None]]]
    rows = [
        {**GOOD, "question_id": n, "turns": [f"{n}"], "reference": shape} for n, shape in enumerate(shapes)
    ]
    path = write_jsonl(*rows)
    task = registry.create("mtbench", {"source": "file", "path": path, "on_bad_record": "error"})
    found = {one.example_id: one.references for one in task._examples.scored + task._examples.calibration}
    assert found == {"0": ("a\nb",), "1": ("a", "b\nc"), "2": (), "3": (), "4": (), "5": ("a\n",)}


def test_any_number_of_turns(write_jsonl: Any) -> None:
    turns = [f"Say {number}." for number in range(5)]
    rows = [
        {**GOOD, "question_id": n, "turns": [f"{n}!", *turns[: n % 5]], "category": "qa"} for n in range(20)
    ]
    task = registry.create("mtbench", {"source": "file", "path": write_jsonl(*rows)})
    for one in task.load():
        assert len(one.turns) == int(one.example_id) % 5 + 1
        last = len(one.turns) - 1
        shown = task.prompt(one, last, ["fine"] * last)
        assert [message["content"] for message in shown[::2]] == list(one.turns)
