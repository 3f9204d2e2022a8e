"""Whether a summary follows from its article, sentence by sentence, by somebody who can tell.

Laban et al., "SummaC: Re-Visiting NLI-based Models for Inconsistency Detection in Summarization", 2022: a
sentence counts as supported as far as the part of the source that supports it best, and a summary as the mean
of its sentences (their zero-shot variant).
"""

from collections.abc import Callable, Sequence

from tasks.scoring.rouge import sentences

# The probability that each (premise, hypothesis) is an entailment.
Entailment = Callable[[Sequence[tuple[str, str]]], list[float]]
# Sentences of the article that are shown at once; a summary often joins two that follow each other.
WINDOW = 2


def windows(article: str) -> list[str]:
    """Return every two sentences in a row of an article, or all of it if it has no more."""
    parts = sentences(article)
    return [" ".join(parts[start : start + WINDOW]) for start in range(max(len(parts) - WINDOW + 1, 1))]


def entailed(summary: str, article: str, entails: Entailment) -> float | None:
    """Return the mean over the summary's sentences of the best probability that a window entails them.

    None if there is no sentence, or nothing that could entail one.
    """
    said, parts = sentences(summary), windows(article)
    if not said or not any(parts):
        return None
    # A loop says the same thing many times, and is asked about once.
    each = dict.fromkeys(said)
    answers = iter(entails([(part, sentence) for sentence in each for part in parts]))
    best = {sentence: max(next(answers) for _ in parts) for sentence in each}
    return sum(best[sentence] for sentence in said) / len(said)
