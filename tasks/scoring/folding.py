"""Text in one case and without accents, and the words of such a text."""

import re
import unicodedata

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
