"""Comparing answers with references: the cases that a naive comparison gets wrong."""

import pytest

from tasks.scoring.text import exact_match, f1, fold, squad_normalise, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Quick, Brown Fox!", "quick brown fox"),
        ("an apple a day", "apple day"),
        ("Spider-Man", "spiderman"),
        ("1,000", "1000"),
        ("Brasília", "brasília"),
        ("Theatre", "theatre"),
        ("the", ""),
        ("", ""),
    ],
)
def test_squad_normalisation_is_the_official_one(text: str, expected: str) -> None:
    assert squad_normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "references", "expected"),
    [
        ("Paris", ["paris"], 1.0),
        ("the Eiffel Tower.", ["Eiffel Tower"], 1.0),
        ("It is Paris", ["Paris"], 0.0),
        ("Lyon", ["Paris", "Lyon"], 1.0),
        ("The", ["The The"], 0.0),
        ("The The", ["The The"], 1.0),
        ("", ["The The"], 0.0),
        ("!!!", ["!!!"], 1.0),
        ("???", ["!!!"], 0.0),
        ("", ["Paris"], 0.0),
        ("Paris", [], 0.0),
    ],
)
def test_exact_match(text: str, references: list[str], expected: float) -> None:
    assert exact_match(text, references) == expected


@pytest.mark.parametrize(
    ("text", "references", "expected"),
    [
        ("Paris", ["Paris"], 1.0),
        ("the city of Paris", ["Paris"], 0.5),
        ("Paris Paris", ["Paris"], 2 / 3),
        ("Lyon", ["Paris"], 0.0),
        ("Lyon", ["Paris", "Lyon France"], 2 / 3),
        ("", ["Paris"], 0.0),
        ("The The", ["The The"], 1.0),
        ("Paris", [], 0.0),
    ],
)
def test_f1(text: str, references: list[str], expected: float) -> None:
    assert f1(text, references) == pytest.approx(expected)


def test_folding_keeps_vowel_signs_of_other_scripts() -> None:
    assert fold("दिल्ली") == "दिल्ली"
    assert words("दिल्ली शहर") == ["दिल्ली", "शहर"]
    assert fold("Ελλάδα") == fold("ελλαδα")


def test_words_are_split_by_punctuation() -> None:
    assert words("Spider-Man's") == ["spider", "man", "s"]
    assert words("1,234,567 or 1.5") == ["1234567", "or", "1.5"]
