"""Degenerate output: loops and empty answers.

An answer has *collapsed* if it has no letter or digit, or if it is long enough to judge (19 tokens) and
repeats itself: more than half of its 4-grams of token ids repeat an earlier one, or, in answers of at most 64
tokens, more than half of its 2-grams. Long texts repeat 2-grams without being loops, code above all. A
sentence said twice stays below either share, one said three times does not. Running into the length limit is
recorded but is no collapse: it happens to good long answers too.
"""

from collections.abc import Sequence

# Short outputs need so few repeats that numbers such as 1,000,000,000,000 would look like loops.
MIN_TOKENS, SHORT_TOKENS = 19, 64
MAX_REPEATED_SHARE = 0.5


def repeated_ngram_share(output_ids: Sequence[int], size: int = 4) -> float:
    """Return 1 - distinct n-grams / n-grams of the token ids; 0 where there are fewer tokens than n."""
    ngrams = [tuple(output_ids[start : start + size]) for start in range(len(output_ids) - size + 1)]
    return 1.0 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def is_empty(text: str) -> bool:
    """Whether the text says nothing: it has no letter and no digit."""
    return not any(character.isalnum() for character in text)


def has_collapsed(text: str, output_ids: Sequence[int]) -> bool:
    """Whether the answer is degenerate by the rule of this module."""
    return is_empty(text) or loops(output_ids)


def loops(output_ids: Sequence[int]) -> bool:
    """Whether token ids repeat themselves by the rule of this module."""
    if len(output_ids) < MIN_TOKENS:
        return False
    if repeated_ngram_share(output_ids) > MAX_REPEATED_SHARE:
        return True
    return len(output_ids) <= SHORT_TOKENS and repeated_ngram_share(output_ids, 2) > MAX_REPEATED_SHARE


def collapse_scores(text: str, output_ids: Sequence[int], finish_reason: str) -> dict[str, float]:
    """Return the signs of collapse as numbers: `repeated_4gram_share`, `empty`, `no_eos`."""
    return {
        "repeated_4gram_share": repeated_ngram_share(output_ids),
        "empty": float(is_empty(text)),
        "no_eos": float(finish_reason == "length"),
    }
