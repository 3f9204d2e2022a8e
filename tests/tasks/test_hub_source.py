"""Data sets of the hub, with `datasets.load_dataset` replaced: the tests need no network."""

import sys
from typing import Any

import pytest

from tasks import registry
from tasks.base import Task
from tasks.errors import DataError

datasets = pytest.importorskip("datasets")


def make_hub_task(**options: Any) -> Task:
    return registry.create("factoidqa", {"source": "hub", "dataset": "a/b", **options})


def test_hub_rows_are_read_by_their_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    rows: list[dict[str, Any]] = [
        {
            "question": f"Who is {index}?",
            "question_id": f"t{index}",
            "answer": {"value": "X", "aliases": ["X", "Y"]},
        }
        for index in range(30)
    ]

    def load_dataset(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        asked.append((args, kwargs))
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    task = make_hub_task(dataset_config="c", split="validation", revision="r1")
    examples = task.load() + task.calibration()
    assert asked == [(("a/b", "c"), {"split": "validation", "revision": "r1"})]
    assert sorted(example.example_id for example in examples) == sorted(row["question_id"] for row in rows)
    assert {example.references for example in examples} == {("X", "Y")}


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Couldn't reach 'a/b' on the Hub\n(OfflineModeIsEnabled)"),
        ValueError("Unknown split 'x'"),
        RuntimeError("Dataset scripts are no longer supported"),
        datasets.exceptions.DatasetNotFoundError("no a/b"),
        datasets.exceptions.DatasetGenerationError("broken"),
    ],
)
def test_a_hub_failure_is_one_line_that_offers_a_file(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError) as caught:
        make_hub_task(split="x").load()
    message = str(caught.value)
    assert message.startswith("hub:a/b:x: cannot be loaded (")
    assert "task.source=file" in message
    assert "\n" not in message


def test_hub_faults_name_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"question": "a", "answers": ["b"]}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: [good, {"question": "a", "answers": []}])
    with pytest.raises(DataError, match=r"hub:a/b:x, row 1: field 'answers' is an empty list"):
        make_hub_task(split="x", on_bad_record="error").load()
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: [])
    with pytest.raises(DataError, match=r"hub:a/b:x: the split is empty"):
        make_hub_task(split="x").load()


def test_a_missing_datasets_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="needs the package 'datasets'"):
        make_hub_task(split="x").load()
