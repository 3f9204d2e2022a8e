"""What a text has in common with a reference: containment, and exact match and F1 as SQuAD has them.

Whether a reference occurs in an answer, as a person would say it, is `contains_alias`. SQuAD's normalisation
(Rajpurkar et al., 2016) is for numbers that can be compared with published ones; it turns "1.5" into "15" and
keeps "Paris—the" as one word.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence

from tasks.scoring.containment import contains_alias, contains_any
from tasks.scoring.folding import fold, words

__all__ = ["contains_alias", "contains_any", "exact_match", "f1", "fold", "squad_normalise", "words"]

_ARTICLES = frozenset({"a", "an", "the"})
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad_normalise(text: str, drop_articles: bool = True) -> str:
    """Lower case, without ASCII punctuation, articles and surplus white space, as SQuAD's script does it."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join((_ARTICLE.sub(" ", bare) if drop_articles else bare).split())


def exact_match(text: str, references: Iterable[str]) -> float:
    """Return 1 if the text equals a reference under SQuAD's normalisation, else 0."""
    return float(any(left == right for left, right in _comparable(text, references)))


def f1(text: str, references: Iterable[str]) -> float:
    """Return the best token F1 over the references under SQuAD's normalisation, from 0 to 1."""
    return max(
        (_token_f1(left.split(), right.split()) for left, right in _comparable(text, references)), default=0.0
    )


def _comparable(text: str, references: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Yield (text, reference) pairs, normalised less where nothing of the reference would remain."""
    for reference in references:
        if squad_normalise(reference):
            yield squad_normalise(text), squad_normalise(reference)
        elif squad_normalise(reference, drop_articles=False):
            yield squad_normalise(text, drop_articles=False), squad_normalise(reference, drop_articles=False)
        else:
            yield text.strip().lower(), reference.strip().lower()


def _token_f1(left: Sequence[str], right: Sequence[str]) -> float:
    common = sum((Counter(left) & Counter(right)).values())
    if not common:
        return 0.0
    precision, recall = common / len(left), common / len(right)
    return 2 * precision * recall / (precision + recall)
