"""Names and numbers of an answer that its sources do not contain: hallucinations that can be counted.

What counts as a name is found by spaCy where it is installed, else by capital letters (`finders`). A name
is supported if each of its words occurs in the sources, a number if its value does. Both are proxies: a name
that the sources contain may still be used wrongly, and a true fact from elsewhere counts as unsupported.
"""

import re
from collections.abc import Iterable

from tasks.scoring.finders import Finder
from tasks.scoring.folding import words

_UNIT_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
_ORDINAL_WORDS = "first second third fourth fifth sixth seventh eighth ninth tenth"
_UNITS = {name: value for value, name in enumerate(_UNIT_WORDS.split())}
_UNITS |= {name: value for value, name in enumerate(_ORDINAL_WORDS.split(), 1)}
_TENS = {
    name: 10 * value
    for value, name in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
# Words that are numbers less often than something else: a pronoun, a place in a list, a unit of time.
_UNSURE = frozenset({"zero", "one", "first", "second"})
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SUFFIXES = {"k": 3, "m": 6, "bn": 9}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(st|nd|rd|th|s|k|m|bn|km|pm|am|kg|cm|mm)?$")
_LIST_MARK = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)
# What a name carries that its source may not: a title, an article, a company's form.
_TITLES = frozenset(
    (
        "mr mrs ms miss dr prof professor sir dame lord lady mayor president minister king queen judge "
        "captain chief senator governor councillor coach the a an of and for in on at de la le van von "
        "inc ltd co plc gmbh saint st"
    ).split()
)
# "Norwegian" is said of Norway, "Texans" of Texas.
_DEMONYMS = frozenset("s n an ans ian ians ean eans ese ish er ers i is egian egians".split())


def unsupported(text: str, sources: Iterable[str], finder: Finder) -> list[str]:
    """Return the names and numbers of a text that occur in none of its sources, in order, each once.

    Parameters
    ----------
    text
        A generated answer.
    sources
        All that the answer may draw upon.
    finder
        What counts as a name.
    """
    known = words(" ".join(sources))
    known_words = set(known)
    known_numbers = {value for number in numbers(known) for value in number}
    found = [name for name in finder.names(text) if not _supported(name, known_words)]
    own = numbers(words(_LIST_MARK.sub(" ", text)), sure=True)
    found += [number[0] for number in own if not known_numbers & set(number)]
    return list(dict.fromkeys(found))


def numbers(tokens: list[str], sure: bool = False) -> list[tuple[str, ...]]:
    """Return the numbers among folded words as plain digits: "12th", "twelve" and "12" are 12.

    Parameters
    ----------
    tokens
        Of `words`.
    sure
        Leave out words that are numbers less often than something else, such as "one".

    Returns
    -------
    list of tuple of str
        What each number can mean: "100m" is a distance or a hundred million.
    """
    found = []
    place = 0
    while place < len(tokens):
        match = _NUMBER.match(tokens[place])
        spelled, used = _spelled(tokens[place:])
        if match is None and (not used or (sure and used == 1 and tokens[place] in _UNSURE)):
            place += max(used, 1)
            continue
        value, suffix, used = (match[1], match[2], 1) if match else (str(spelled), None, used)
        following = tokens[place + used] if place + used < len(tokens) else ""
        meant = [_scaled(value, _SCALES.get(following, 0))]
        if suffix in _SUFFIXES:
            meant.append(_scaled(value, _SUFFIXES[suffix]))
        found.append(tuple(meant))
        place += used
    return found


def _spelled(tokens: list[str]) -> tuple[int, int]:
    """The number that some words begin with, below a thousand, and how many of them it takes; 0 for none."""
    if not tokens:
        return 0, 0
    first = tokens[0]
    if first in _TENS:
        unit = _UNITS.get(tokens[1], 0) if len(tokens) > 1 else 0
        value, used = (_TENS[first] + unit, 2) if 0 < unit < 10 else (_TENS[first], 1)
    elif first in _UNITS or first == "hundred":
        value, used = (_UNITS[first], 1) if first in _UNITS else (1, 0)
    else:
        return 0, 0
    if used < len(tokens) and tokens[used] == "hundred" and value < 10:
        value, used = 100 * value, used + 1
        joined = used + (tokens[used : used + 1] == ["and"])
        rest, more = _spelled(tokens[joined:])
        if more and rest < 100:
            value, used = value + rest, joined + more
    return value, used


def _scaled(value: str, power: int) -> str:
    whole, _, fraction = value.partition(".")
    fraction = fraction.rstrip("0")
    if power:
        whole, fraction = whole + fraction[:power].ljust(power, "0"), fraction[power:]
    whole = whole.lstrip("0") or "0"
    return f"{whole}.{fraction}" if fraction else whole


def _supported(name: str, known: set[str]) -> bool:
    parts = [part for part in words(name) if part not in _TITLES and not part[0].isdigit()]
    return all(_known(part, known) for part in parts)


def _known(part: str, known: set[str]) -> bool:
    if part in known or len(part) == 1:
        return True
    if part in _UNITS or part in _TENS:
        return True
    return any(
        other[:4] == part[:4] and _demonym(part, other) for other in known if len(other) > 3 and len(part) > 3
    )


def _demonym(one: str, other: str) -> bool:
    """Whether two words differ in the ending that a people's name has."""
    shared = 0
    while shared < min(len(one), len(other)) and one[shared] == other[shared]:
        shared += 1
    endings = {one[shared:], other[shared:]}
    return len(min(endings, key=len)) <= 2 and bool(endings & _DEMONYMS)
