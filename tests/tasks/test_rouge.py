"""ROUGE is what the `rouge_score` package says."""

import pytest
from rouge_score.rouge_scorer import RougeScorer

from tasks import registry
from tasks.scoring.rouge import KINDS, agreement, best_rouge, rouge, sentences


def test_equals_the_package() -> None:
    scorer = RougeScorer(list(KINDS), use_stemmer=True)
    for example in registry.create("summarization").load()[:10]:
        text, reference = example.question[:400], example.references[0]
        # A sentence a line, split by hand: highlights have one a line already.
        lines = "\n".join(sentences(text))
        wanted = {kind: score.fmeasure for kind, score in scorer.score(reference, lines).items()}
        assert rouge(text, reference) == wanted
        assert 0 < wanted["rougeL"] < 1


def test_lsum_sees_sentences() -> None:
    found = rouge("Bob went home. Anna ate a pie.", "Anna ate a pie.\nBob went home.")
    assert found["rougeLsum"] == 1.0 and found["rougeL"] < 1.0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("He said \u201cno.\u201d She left.", ["He said \u201cno.\u201d", "She left."]),
        ("It cost 3.5 million. (Really.) Yes", ["It cost 3.5 million.", "(Really.)", "Yes"]),
        ("a line\nanother line", ["a line", "another line"]),
        ("no capital. follows", ["no capital. follows"]),
        ("  ", []),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


def test_empty_texts() -> None:
    assert set(rouge("", "A reference.").values()) == {0.0}
    assert agreement("", " ") == 1.0 and agreement("", "a") == 0.0


def test_the_best_reference_counts() -> None:
    assert best_rouge("a cat sat", ["a dog ran", "a cat sat"])["rougeL"] == 1.0


def test_agreement() -> None:
    assert agreement("the cat sat", "the cat sat") == 1.0
    assert agreement("the cat sat", "the cat ran") == pytest.approx(2 / 3)
    # Texts without a letter that ROUGE knows.
    assert agreement("\u4f60\u597d", "\u4f60\u597d") == 1.0
