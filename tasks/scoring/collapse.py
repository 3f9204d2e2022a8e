"""Degenerate output: loops and empty answers.

An answer has *collapsed* if it has no letter or digit, or if it is long enough to judge (at least
`MIN_NGRAMS` 4-grams, that is 19 tokens) and more than half of its 4-grams of token ids repeat an earlier
one. A sentence said twice stays below that share, one said three times does not. Running into the length
limit is recorded but is no collapse: it happens to good long answers too.
"""

from collections.abc import Sequence

NGRAM = 4
# Short outputs need so few repeats that numbers such as 1,000,000,000,000 would look like loops.
MIN_NGRAMS = 16
MAX_REPEATED_SHARE = 0.5


def repeated_ngram_share(output_ids: Sequence[int]) -> float:
    """Return 1 - distinct 4-grams / 4-grams of the token ids; 0 where there are fewer than four tokens."""
    ngrams = [tuple(output_ids[start : start + NGRAM]) for start in range(len(output_ids) - NGRAM + 1)]
    return 1.0 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def is_empty(text: str) -> bool:
    """Whether the text says nothing: it has no letter and no digit."""
    return not any(character.isalnum() for character in text)


def has_collapsed(text: str, output_ids: Sequence[int]) -> bool:
    """Whether the answer is degenerate by the rule of this module."""
    long_enough = len(output_ids) - NGRAM + 1 >= MIN_NGRAMS
    return is_empty(text) or (long_enough and repeated_ngram_share(output_ids) > MAX_REPEATED_SHARE)


def collapse_scores(text: str, output_ids: Sequence[int], finish_reason: str) -> dict[str, float]:
    """Return the signs of collapse as numbers: `repeated_4gram_share`, `empty`, `no_eos`."""
    return {
        "repeated_4gram_share": repeated_ngram_share(output_ids),
        "empty": float(is_empty(text)),
        "no_eos": float(finish_reason == "length"),
    }
