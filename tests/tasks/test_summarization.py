"""Prompts, buckets and scores of summarization."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tasks import registry
from tasks.base import Answer
from tasks.errors import DataError
from tasks.summarization import Summarization, SummarizationConfig, bucket

ARTICLE = "Mayor Anna Ellis opened a bridge in Harlow on Tuesday. It cost 3.5 million pounds."
GOOD = {"id": "a", "article": ARTICLE, "highlights": "Anna Ellis opened a bridge.\nIt cost 3.5 million."}


@pytest.fixture
def task() -> Summarization:
    return Summarization(SummarizationConfig(names="rules"))


def answer(text: str, ids: list[int] | None = None, finish: str = "eos") -> Answer:
    output = list(range(len(text.split()) + 1)) if ids is None else ids
    return Answer(text, output, finish, (GOOD["highlights"],), "prompt", ARTICLE)


def test_the_embedded_set() -> None:
    task = registry.create("summarization")
    scored, calibration = task.load(), task.calibration()
    assert Counter(one.category for one in scored) == {"short": 10, "medium": 10, "long": 10}
    assert len(calibration) >= 32 and {one.category for one in calibration} == {"short", "medium", "long"}
    everything = scored + calibration
    assert len({one.example_id for one in everything}) == len({one.question for one in everything}) == 62
    assert all(len(one.question.split()) >= 800 for one in scored if one.category == "long")
    for one in everything:
        assert 2 <= len(one.references[0].splitlines()) <= 4


def test_prompt(task: Summarization) -> None:
    one = task.load()[0]
    (message,) = task.prompt(one, 0, ())
    assert message["role"] == "user" and message["content"].endswith(one.question)
    assert message["content"].startswith("Summarize the following article in three sentences.\n\n")
    # LLM-KICK's files carry the reference in the article.
    assert not any(line in message["content"] for line in one.references[0].splitlines())
    with pytest.raises(ValueError, match="single turn"):
        task.prompt(one, 1, ("x",))


@pytest.mark.parametrize(("count", "name"), [(1, "short"), (469, "short"), (470, "medium"), (790, "medium")])
def test_buckets(count: int, name: str) -> None:
    assert bucket("word " * count) == name
    assert bucket("word " * 791) == "long"


def test_scores(task: Summarization) -> None:
    good = task.score(answer("Anna Ellis opened a bridge. It cost 3.5 million."))
    assert (good.quality, good.outcome, good.hallucinated, good.collapsed) == (1.0, "supported", False, False)
    assert good.scores["rougeLsum"] == 1.0 and good.scores["unsupported"] == 0
    bad = task.score(answer("Bob Hall opened a bridge. It cost 4 million.", finish="length"))
    assert (bad.outcome, bad.hallucinated, bad.scores["unsupported"], bad.scores["no_eos"]) == (
        "unsupported",
        True,
        2,
        1,
    )
    loop = task.score(answer("Bob Hall " * 20, [1, 2] * 20))
    assert (loop.outcome, loop.hallucinated, loop.collapsed) == ("collapsed", False, True)
    empty = task.score(answer("", [0]))
    assert (empty.quality, empty.outcome) == (0.0, "collapsed")
    assert task.hallucination_metric == "unsupported names and numbers (rules)"


def load(path: Path, **options: Any) -> list[Any]:
    config = {"source": "file", "path": str(path), "calibration_path": None, **options}
    task = registry.create("summarization", config)
    return task._examples.scored + task._examples.calibration


def test_xsum_and_cnn(write_jsonl: Any) -> None:
    rows = [{"document": f"{ARTICLE} {n}", "summary": "A bridge.", "id": n} for n in range(8)]
    assert {one.example_id for one in load(Path(write_jsonl(*rows)))} == set("01234567")
    rows = [{**GOOD, "id": None, "article": f"{ARTICLE} {n}"} for n in range(8)]
    assert {len(one.example_id) for one in load(Path(write_jsonl(*rows, name="b.jsonl")))} == {12}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"article": ARTICLE}, "'highlights' is missing"),
        ({"highlights": "x"}, "'article' is missing"),
        ({**GOOD, "article": " "}, "'article' is empty"),
        ({**GOOD, "article": ["x"]}, "a string is expected"),
        (GOOD, "is 'a' again"),
    ],
)
def test_bad_data(write_jsonl: Any, bad: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match="line 2") as error:
        load(Path(write_jsonl(GOOD, bad)), on_bad_record="error")
    assert said in str(error.value) and "\n" not in str(error.value)


def test_options_are_checked() -> None:
    with pytest.raises(DataError, match=r"task\.names is 'magic'"):
        SummarizationConfig(names="magic")
    with pytest.raises(DataError, match=r"task\.format is 'pdf'"):
        SummarizationConfig(format="pdf")
