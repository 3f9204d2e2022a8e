"""ROUGE by Google's own package: F1 of overlapping words, word pairs and longest common subsequences.

Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004. The package keeps the letters a to z and
digits only. Texts in which more than a tenth of the letters are others are split here instead, into folded
words, and into characters where a script has no spaces; so are texts of signs alone, into signs. All else is
scored as the package scores it, so that numbers can be compared with published ones.
"""

import re
from functools import cache
from typing import Any

from tasks.scoring.tokens import folded_words

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")

# A sentence ends at a mark, and at quotes or brackets behind it, before white space and something that can
# begin one. Abbreviations cut a sentence in two now and then, which changes rougeLsum in the third digit.
_SENTENCE_END = re.compile(
    r"(?<=[.!?])[\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]?[^\W_a-z])|(?<=[。！？])(?![。！？])"
)


def sentences(text: str) -> list[str]:
    """Split text into sentences; a line break ends one too."""
    return [part.strip() for line in text.splitlines() for part in _split(line) if part.strip()]


def _split(line: str) -> list[str]:
    ends = [match.end() for match in _SENTENCE_END.finditer(line)]
    return [line[start:end] for start, end in zip([0, *ends], [*ends, len(line)], strict=True)]


def rouge(text: str, reference: str) -> dict[str, float]:
    """Return the F1 of each of `KINDS`, with stemming.

    rougeLsum wants one sentence a line, which is done here.
    """
    other = _other_letters(text + reference) > 0.1
    found = _scorer(other).score("\n".join(sentences(reference)), "\n".join(sentences(text)))
    return {kind: float(found[kind].fmeasure) for kind in KINDS}


def best_rouge(text: str, references: tuple[str, ...] | list[str]) -> dict[str, float]:
    """Return the scores against the reference with the highest rougeL."""
    return max((rouge(text, reference) for reference in references), key=lambda scores: scores["rougeL"])


def agreement(text: str, other: str) -> float:
    """Return the rougeL F1 of two texts, without stemming; 1 for equal ones, also empty."""
    if text.strip() == other.strip():
        return 1.0
    return float(_plain_scorer(_other_letters(text + other) > 0).score(other, text)["rougeL"].fmeasure)


class _Words:
    """A tokenizer as the package wants one."""

    def tokenize(self, text: str) -> list[str]:
        """Return folded words, and the characters of scripts without spaces; else signs."""
        return folded_words(text)


def _other_letters(text: str) -> float:
    """The share of letters, and digits like ٣, that are not a to z; 1 where there are only signs."""
    letters = [one.isascii() for one in text if one.isalpha() or (one.isalnum() and not one.isascii())]
    if letters:
        return letters.count(False) / len(letters)
    return 0.0 if any(one.isalnum() for one in text) else 1.0


@cache
def _scorer(other_letters: bool) -> Any:
    # A second to import, and only some tasks need it.
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(KINDS), use_stemmer=True, tokenizer=_Words() if other_letters else None)


@cache
def _plain_scorer(other_letters: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False, tokenizer=_Words() if other_letters else None)
