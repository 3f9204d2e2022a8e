"""Promises that the embedded factoid set keeps."""

from collections import Counter

import pytest

from tasks import registry
from tasks.base import Answer, Example
from tasks.scoring.containment import contains_any
from tasks.scoring.text import words

MIN_SCORED = 400
MIN_CALIBRATION = 100
MIN_CATEGORIES = 12
# An alias that is one of these would be found in almost any sentence.
COMMON_WORDS = frozenset(
    {
        "us",
        "it",
        "may",
        "he",
        "she",
        "i",
        "a",
        "an",
        "the",
        "in",
        "as",
        "be",
        "at",
        "no",
        "is",
        "of",
        "on",
        "or",
    }
    | {
        "so",
        "to",
        "do",
        "go",
        "we",
        "me",
        "my",
        "up",
        "by",
        "if",
        "and",
        "not",
        "can",
        "will",
        "said",
        "one of",
    }
)


def key(example: Example) -> str:
    return " ".join(words(example.question))


@pytest.fixture(scope="module")
def scored() -> list[Example]:
    return registry.create("factoidqa").load()


@pytest.fixture(scope="module")
def calibration() -> list[Example]:
    return registry.create("factoidqa").calibration()


def test_size_and_breadth(scored: list[Example], calibration: list[Example]) -> None:
    categories = Counter(example.category for example in scored)
    assert len(scored) >= MIN_SCORED
    assert len(calibration) >= MIN_CALIBRATION
    assert None not in categories
    assert len(categories) >= MIN_CATEGORIES
    assert min(categories.values()) >= len(scored) / len(categories) / 3
    assert {example.category for example in calibration} == set(categories)


def test_nothing_occurs_twice_or_on_both_sides(scored: list[Example], calibration: list[Example]) -> None:
    for attribute in (key, lambda example: example.example_id):
        counts = Counter(attribute(example) for example in scored + calibration)
        assert [name for name, count in counts.items() if count > 1] == []


def test_no_question_names_its_answer(scored: list[Example], calibration: list[Example]) -> None:
    assert [e.example_id for e in scored + calibration if contains_any(e.question, e.references)] == []


def test_references_are_tidy(scored: list[Example], calibration: list[Example]) -> None:
    for example in scored + calibration:
        for reference in example.references:
            assert reference == reference.strip(), example.example_id
            assert words(reference), example.example_id
            assert reference.lower() not in COMMON_WORDS, example.example_id
            assert len(reference) <= 60, example.example_id


def test_each_reference_is_judged_right_in_a_sentence(scored: list[Example]) -> None:
    task = registry.create("factoidqa")
    for example in scored:
        for reference in example.references:
            text = f"The answer is {reference}."
            answer = Answer(text, [1, 2, 3], "eos", example.references, "", example.question)
            assert task.score(answer).outcome == "correct", (example.example_id, reference)
