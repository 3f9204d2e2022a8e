"""Abstention: declining to answer, told apart from answering."""

import json
from pathlib import Path

import pytest

from tasks.scoring.abstention import abstains


@pytest.mark.parametrize(
    "text",
    [
        "I don't know.",
        "I don\u2019t know the answer to that question.",
        "I do not actually know.",
        "I'm not sure.",
        "I am not entirely certain who wrote it.",
        "I'm sorry, but I cannot answer that question.",
        "I'm sorry, but I'm unable to provide that information.",
        "I am currently unable to answer.",
        "I can't recall.",
        "I couldn't find any record of it.",
        "I don't have any information about that.",
        "I don't have access to real-time data.",
        "I have no idea.",
        "As an AI language model, I don't have personal knowledge of this.",
        "As an AI, I am not capable of browsing the web.",
        "There is not enough information to say.",
        "It is impossible to determine who did it.",
        "The question does not specify which war.",
        "Could you please provide more context?",
        "Please clarify which king you mean.",
        "Unknown",
        "Not sure.",
        "n/a",
        "Sorry!",
        '"I don\'t know."',
        "i dont know but I DON'T KNOW",
    ],
)
def test_declining(text: str) -> None:
    assert abstains(text)


@pytest.mark.parametrize(
    "text",
    [
        "Paris",
        "The capital of France is Lyon.",
        "As of my last update, the president is John Smith.",
        "As an AI language model, I can tell you that the answer is Lyon.",
        "I'm not sure, but I think it is Lyon.",
        "I don't know for certain. My best guess is 1942.",
        "I am not aware of the exact year, but it was around 1920.",
        "The author of the poem is unknown.",
        "An unknown painter in Siena made it.",
        "It was George Washington, who said: I cannot tell a lie.",
        'The song is "I Don\'t Know" by Ozzy Osbourne.',
        "The song is \u201cI\u2019m Not Sure\u201d.",
        "I can't help falling in love, by Elvis Presley.",
        "I know that it is Lyon.",
        "The war ended in 1918 without further fighting.",
        "He left without knowing he had won.",
        "There is no evidence in the film; the answer is Paris.",
        "The capital is Lyon. I need more information for the others.",
        "Paris. Please provide more questions.",
        "I have information that it is Lyon.",
        "No. It is not known to be poisonous.",
        "Sorry by Justin Bieber",
        "None",
        "",
    ],
)
def test_answering(text: str) -> None:
    assert not abstains(text)


DATA = Path(__file__).parents[1] / "data"


def rates(file: str) -> tuple[float, float]:
    """Precision and recall on labelled answers."""
    rows = [json.loads(line) for line in (DATA / file).read_text(encoding="utf-8").splitlines()]
    assert len(rows) >= 80 and 2 * sum(row["abstains"] for row in rows) == len(rows)
    found = [row["abstains"] for row in rows if abstains(row["answer"])]
    return sum(found) / len(found), sum(found) / (len(rows) / 2)


def test_labelled_answers_that_the_rules_were_made_with() -> None:
    precision, recall = rates("abstention.jsonl")
    assert precision == 1.0 and recall == 1.0


def test_labelled_answers_that_the_rules_have_not_seen() -> None:
    """docs/scoring.md quotes these; whoever wrote the set knew neither the rules nor the other set."""
    precision, recall = rates("abstention_blind.jsonl")
    assert precision == pytest.approx(36 / 37) and recall == 36 / 40
