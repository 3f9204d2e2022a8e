"""Random files for every loader: examples, or one line that names the file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import often
from tasks import registry
from tasks.errors import DataError
from tasks.judges.prompts import PromptBook

TASKS = ("factoidqa", "mtbench", "summarization")
FIELDS = """question answers answer id category question_id turns reference article highlights document
summary qText utterance targetValue qId Question QuestionId Answer Value Aliases RawQuestion Parses Answers
AnswersName Data Questions name prompt_template system_prompt type value aliases""".split()
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
documents = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)
    ),
    max_leaves=12,
)
records = st.dictionaries(st.sampled_from(FIELDS), documents, min_size=1, max_size=6)
GOOD = {
    "factoidqa": {"question": "Why is it?", "answers": ["because"]},
    "mtbench": {"question_id": 1, "category": "math", "turns": ["Add.", "Again."]},
    "summarization": {"id": "a", "article": "A long text.", "highlights": "Text."},
}


def check(path: Path, task: str) -> None:
    try:
        examples = registry.create(task, {"source": "file", "path": str(path)}).load()
    except DataError as error:
        line = str(error)
        assert path.name in line and "\n" not in line and len(line) < 1500
    else:
        assert examples and all(example.example_id for example in examples)


@often(300)
@given(task=st.sampled_from(TASKS), content=st.binary(max_size=200))
def test_random_bytes(tmp_path: Path, task: str, content: bytes) -> None:
    (tmp_path / "data.jsonl").write_bytes(content)
    check(tmp_path / "data.jsonl", task)


@often(500)
@given(task=st.sampled_from(TASKS), some=st.lists(records, min_size=1, max_size=4), lines=st.booleans())
def test_random_records(tmp_path: Path, task: str, some: list[Any], lines: bool) -> None:
    text = "\n".join(map(json.dumps, some)) if lines else json.dumps(some)
    (tmp_path / "data.jsonl").write_text(text)
    check(tmp_path / "data.jsonl", task)


@often(300)
@given(
    task=st.sampled_from(TASKS), cut=st.integers(0, 200), odd=st.binary(max_size=4), at=st.integers(0, 200)
)
def test_good_data_damaged(tmp_path: Path, task: str, cut: int, odd: bytes, at: int) -> None:
    content = (json.dumps(GOOD[task]) + "\n" + json.dumps({**GOOD[task], "id": "b"})).encode()
    content = content[: len(content) - cut % len(content)]
    (tmp_path / "data.jsonl").write_bytes(content[:at] + odd + content[at:])
    check(tmp_path / "data.jsonl", task)


@often(200)
@given(task=st.sampled_from(TASKS), rows=st.lists(records, max_size=6))
def test_random_rows_of_the_hub(monkeypatch: pytest.MonkeyPatch, task: str, rows: list[Any]) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)
    try:
        loaded = registry.create(task, {"source": "hub", "dataset": "a/b", "split": "test"})
        examples = loaded.load() + loaded.calibration()
    except DataError as error:
        line = str(error)
        assert "a/b" in line and "\n" not in line and len(line) < 1500
    else:
        assert len(examples) <= len(rows) and all(example.example_id for example in examples)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 1000,
        b'{"question": ' * 50_000,
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"question": "' + b"x" * 5_000_000,
        b"\xef\xbb\xbf",
        b"\xff\xfe{\0}\0",
        b"NaN",
        b'{"question": "a", "question": null}',
        b"1e400",
        b"-" * 10_000,
        b"\r\n" * 10_000,
    ],
    ids=lambda content: repr(content[:16]),
)
def test_extreme_files(tmp_path: Path, task: str, content: bytes) -> None:
    (tmp_path / "data.jsonl").write_bytes(content)
    check(tmp_path / "data.jsonl", task)


@often(200)
@given(some=st.lists(records, min_size=1, max_size=3))
def test_random_judge_prompts(tmp_path: Path, some: list[Any]) -> None:
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, some)))
    try:
        PromptBook(str(tmp_path / "prompts.jsonl"))
    except DataError as error:
        assert "prompts.jsonl" in str(error) and "\n" not in str(error)
