"""Names and numbers without support, validated on labelled summaries."""

import importlib.util
import json
from pathlib import Path

import pytest

from tasks import registry
from tasks.errors import DataError
from tasks.scoring import finders
from tasks.scoring.finders import Finder, Rules, finder
from tasks.scoring.support import numbers, unsupported
from tasks.scoring.text import words

LABELLED = Path(__file__).parents[1] / "data" / "labelled_summaries.jsonl"
SOURCE = (
    "Mayor Anna Ellis of Harlow said on Tuesday that 1,200 homes lost power. Norway's grid firm Statnett "
    "paid £3.5 million. \u201cWe were lucky,\u201d she said. The twelve engineers left at 5pm."
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Anna Ellis said 1200 homes were hit.", []),
        ("Ms Ellis spoke in Harlow.", []),
        ("The Norwegian firm paid 3.5m pounds; 12 engineers came.", []),
        ("Residents were lucky.", []),
        ("Daniel Ellis spoke.", ["Daniel Ellis"]),
        ("She spoke in Rotterdam.", ["Rotterdam"]),
        ("Some 1,300 homes lost power.", ["1300"]),
        ("It paid £35 million.", ["35000000"]),
        ("It paid 3.5 billion.", ["3500000000"]),
        ("Thirteen engineers left at 6 pm.", ["13", "6"]),
        ("On Wednesday, Ellis spoke. On Wednesday she left.", ["Wednesday"]),
        ("", []),
        ("THE WHOLE TEXT SHOUTS ABOUT EVERYTHING", []),
    ],
)
def test_rules(text: str, found: list[str]) -> None:
    assert unsupported(text, [SOURCE], Rules()) == found


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,000 and 1000.0", ["1000", "1000"]),
        ("twelve, 12th and 012", ["12", "12", "12"]),
        ("2.5 million, 2,500,000", ["2500000"] * 2),
        ("1914-1918", ["1914", "1918"]),
        ("5km in 2h and 30%", ["5", "30"]),
        ("twenty-five, twenty and five", ["25", "20", "5"]),
        ("two hundred, a hundred and six, three hundred and twenty-one", ["200", "106", "321"]),
        ("two thousand, forty-one million", ["2000", "41000000"]),
        ("one of the first seconds", []),
        ("no numbers", []),
    ],
)
def test_numbers(text: str, values: list[str]) -> None:
    assert numbers(words(text), sure=True) == [(value,) for value in values]


def test_a_suffix_can_mean_two_things() -> None:
    assert numbers(["100m", "3.5bn"]) == [("100", "100000000"), ("3.5", "3500000000")]
    assert numbers(["one", "second"]) == [("1",), ("2",)]
    assert unsupported("A 100m race.", ["A race over 100 metres."], Rules()) == []
    assert unsupported("It cost £100m.", ["It cost 100 million pounds."], Rules()) == []


@pytest.mark.parametrize(
    "text",
    [
        "1. Ellis spoke.\n2. Homes lost power.\n3) Engineers left.",
        "2nd goal, 1 person.",
        "Twelve engineers and 12 engineers.",
    ],
)
def test_marks_of_a_list_are_no_numbers(text: str) -> None:
    assert unsupported(text, [SOURCE, "The second goal. One person."], Rules()) == []


def test_several_sources_count_together() -> None:
    assert unsupported("Bob Hall met Anna Ellis.", [SOURCE, "Bob Hall"], Rules()) == []


def labelled() -> list[tuple[str, str, list[str]]]:
    articles = {one.example_id: one.question for one in registry.create("summarization").load()}
    rows = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    return [(articles[row["article"]], row["summary"], row["planted"]) for row in rows]


def same(found: str, planted: str) -> bool:
    """Whether a finding is (part of) a planted error, or its value."""
    values = {value for number in numbers(words(planted)) for value in number}
    return found in values or bool({*words(found)} & {*words(planted)})


def validate(one: Finder) -> tuple[float, float, int]:
    """Precision and recall of single errors, and the faithful summaries with an alarm."""
    right = wrong = missed = alarms = 0
    for article, summary, planted in labelled():
        found = unsupported(summary, [article], one)
        caught = [error for error in planted if any(same(name, error) for name in found)]
        right += len(caught)
        missed += len(planted) - len(caught)
        wrong += sum(not any(same(name, error) for error in planted) for name in found)
        alarms += bool(found) and not planted
    return right / (right + wrong), right / (right + missed), alarms


def test_labels_are_what_they_should_be() -> None:
    rows = labelled()
    assert len(rows) >= 60 and sum(bool(planted) for *_, planted in rows) == len(rows) // 2
    for article, summary, planted in rows:
        for error in planted:
            assert error in summary and error.lower() not in article.lower()


def test_rules_on_the_labelled_summaries() -> None:
    """docs/scoring.md quotes these."""
    precision, recall, alarms = validate(Rules())
    assert (precision, recall, alarms) == (1.0, 1.0, 0)


def test_spacy_on_the_labelled_summaries() -> None:
    pytest.importorskip("spacy", reason="pip install -e '.[ner]'")
    if not any(importlib.util.find_spec(name) for name in finders._MODELS):
        pytest.skip("spaCy's model is not installed")
    precision, recall, alarms = validate(finder("spacy"))
    assert precision == 1.0 and recall > 0.95 and alarms == 0


def test_the_choice_of_a_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    finder.cache_clear()
    monkeypatch.setattr(finders, "_installed", lambda package: False)
    try:
        assert finder("auto").label == finder("rules").label == "rules"
        with pytest.raises(DataError, match=r"pip install -e '\.\[ner\]'"):
            finder("spacy")
    finally:
        finder.cache_clear()
