"""Names and numbers of an answer that its sources do not contain: hallucinations that can be counted.

What counts as a name is found by spaCy where it is installed, else by capital letters (`finders`). A name
is supported if each of its words occurs in the sources, a number if its value does. Both are proxies: a name
that the sources contain may still be used wrongly, and a true fact from elsewhere counts as unsupported.
"""

import re
from collections.abc import Iterable

from tasks.scoring.finders import Finder
from tasks.scoring.text import words

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
_TENS = "thirty forty fifty sixty seventy eighty ninety"
_NUMBER_WORDS = {name: str(value) for value, name in enumerate(_UNITS.split())}
_NUMBER_WORDS |= {name: str(10 * value) for value, name in enumerate(_TENS.split(), 3)}
_ORDINAL_WORDS = "first second third fourth fifth sixth seventh eighth ninth tenth"
_ORDINALS = {name: str(value) for value, name in enumerate(_ORDINAL_WORDS.split(), 1)}
_SCALES = {"k": 3, "thousand": 3, "m": 6, "million": 6, "bn": 9, "billion": 9, "trillion": 12}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(st|nd|rd|th|s|k|m|bn|km|pm|am|kg|cm|mm)?$")
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
    known_words, known_numbers = set(known), set(numbers(known))
    found = [name for name in finder.names(text) if not _supported(name, known_words)]
    own = numbers(words(text))
    found += [number for number in own if number not in known_numbers]
    return list(dict.fromkeys(found))


def numbers(tokens: list[str]) -> list[str]:
    """Return the values of the numbers among folded words, as plain digits: "12th", "twelve", "12" are 12."""
    values = []
    for place, token in enumerate(tokens):
        spelled = _NUMBER_WORDS.get(token) or _ORDINALS.get(token)
        match = _NUMBER.match(token)
        if spelled is None and match is None:
            continue
        # One is a pronoun as often as a number, and second a unit of time.
        if token in ("one", "first", "second", "zero"):
            continue
        value = spelled if match is None else match[1]
        suffix = match[2] if match else None
        following = tokens[place + 1] if place + 1 < len(tokens) else ""
        scale = _SCALES.get(suffix or "") or _SCALES.get(following if len(following) > 1 else "")
        values.append(_scaled(str(value), scale or 0))
    return values


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
    if part in _NUMBER_WORDS or part in _ORDINALS:
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
