"""Exact match and F1 by the normalisation of SQuAD's official evaluation script, and folded words.

SQuAD's (Rajpurkar et al., 2016) is for numbers that can be compared with published ones; it turns "1.5" into
"15" and keeps "Paris—the" as one word. Whether a reference occurs in a sentence is for
`tasks.scoring.containment`.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_ARTICLES = frozenset({"a", "an", "the"})
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

# Letters that Unicode does not decompose into a base letter and an accent. The last three are the dotless i
# and two apostrophes that Unicode counts as letters (as in Hawai'i, written with an okina).
_FOLDED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "ŧ": "t"}
    | {"\u0131": "i", "\u02bb": "'", "\u02bc": "'"}
)
_ACCENTS = range(0x0300, 0x0370)
# In Cyrillic these make another letter: й, ї, ў (but ё is written as е), ѓ, ќ.
_CYRILLIC_LETTERS = frozenset({"и\u0306", "у\u0306", "і\u0308", "г\u0301", "к\u0301"})

_GROUPING_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DECIMAL_POINT = re.compile(r"(?<=\d)\.(?=\d)")


def squad_normalise(text: str, drop_articles: bool = True) -> str:
    """Lower case, without ASCII punctuation, articles and surplus white space, as SQuAD's script does it."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join((_ARTICLE.sub(" ", bare) if drop_articles else bare).split())


def fold(text: str) -> str:
    """Return text in one case and without accents.

    NFKC, then the accents of Latin, Greek and Cyrillic letters are dropped and case is folded: "Brasília"
    becomes "brasilia", "Łódź" becomes "lodz". What makes another letter (й) and the vowel signs of other
    scripts are kept.
    """
    kept: list[str] = []
    base = ""
    for character in unicodedata.normalize("NFKD", text):
        if ord(character) not in _ACCENTS:
            base = character
            kept.append(character)
        elif (base + character).casefold() in _CYRILLIC_LETTERS:
            kept.append(character)
    return unicodedata.normalize("NFKC", "".join(kept)).casefold().translate(_FOLDED)


def words(text: str) -> list[str]:
    """Split text into folded words.

    Notes
    -----
    In numbers, the comma that groups thousands is dropped ("1,000" is "1000") and the decimal point stays
    ("1.5" is not "15"). Every other mark splits ("1914-1918" and "Spider-Man" are two words). "&" is "and".
    """
    folded = _GROUPING_COMMA.sub("", fold(text)).replace("&", " and ")
    points = {match.start() for match in _DECIMAL_POINT.finditer(folded)}
    return "".join(
        character
        if character.isalnum() or index in points or unicodedata.category(character).startswith("M")
        else " "
        for index, character in enumerate(folded)
    ).split()


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
