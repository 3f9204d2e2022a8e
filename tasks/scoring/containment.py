"""Whether a reference occurs in an answer, as a person would say it: `contains_alias`."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import regex

from tasks.scoring.endings import same_word
from tasks.scoring.folding import fold
from tasks.scoring.numerals import roman
from tasks.scoring.plain import plain
from tasks.scoring.readings import tokens
from tasks.scoring.tokens import Token

_ARTICLES = frozenset({"a", "an", "the"})
# Marks that may stand between the parts of a word, or not; a reference and an answer need not agree on them.
_JOINS = ("", "-", "'", "-'.")
# Words that are names in capitals.
_COMMON = frozenset(
    "us it in or who may will so as he un ad am is be do go me my no on to up we all can has her his its new "
    "now one out she was way get let put say see too use and are but for not you any day how our own ice "
    "aids sad cat act add aim arm art bit far fit pin ram sit".split()
)
# What stands behind a number and is not counted.
_UNCOUNTED = frozenset(
    "in on at to of and or is was are were for per by as but from with than since that which who when while "
    "if so not until after before during between about total altogether each today now then there here long "
    "old tall high wide deep away apart ago later more less it he she they i we you this these those be "
    "because would will can has have had".split()
)
_PUNCTUATION_ALONE = regex.compile(r"[\p{P}\s]*")
_SPOKEN_MARKS = frozenset("%&@#*§¶†‰")


def contains_any(text: str, aliases: Iterable[str]) -> bool:
    """Whether any of the aliases occurs in the text; see `contains_alias`."""
    return any(contains_alias(text, alias) for alias in aliases)


def contains_alias(text: str, alias: str) -> bool:
    """Whether the alias occurs in the text as a run of whole words.

    Case, accents, punctuation and articles do not count, but articles do in an alias that ends in one ("The
    The", "vitamin A"): there, it is no article. Hyphens and apostrophes may split words or not ("Spider-Man",
    "Spiderman" and "Spider Man" are the same). Numbers are compared by value: digits of any script, grouped
    or not, fractions, number words; a Roman numeral behind a name is one too. A unit must be the same, a date
    may be more precise than the alias. Signs that make another thing of a word or number are part of it
    ("C++", "-5", "10²"). Scripts without spaces are compared character by character. An alias of signs alone
    must occur, one of punctuation alone ("!!!") must be the whole text.

    Notes
    -----
    Negation is not understood ("not Paris"); docs/scoring.md says what else may surprise.
    """
    if text.strip() == alias.strip():
        return True
    wanted = [token for token in tokens(alias) if not token.sign]
    if not any(character.isalnum() for token in wanted for character in token.raw):
        return _sign_occurs(text, alias)
    if len(wanted) == 1 and alias != alias.lower() and text != text.lower():
        if wanted[0].raw in _COMMON:
            return _name_occurs(tokens(text), wanted[0])
        if wanted[0].written in ("A", "I"):
            return _letter_occurs(tokens(text), wanted[0].raw)
    articles = wanted[-1].raw in _ARTICLES
    answers = _renderings(text, articles)
    return any(
        _occurs(answer, rendering) for rendering in _renderings(alias, articles, True) for answer in answers
    )


def _sign_occurs(text: str, alias: str) -> bool:
    asked = plain(alias).strip()
    if not asked or (_PUNCTUATION_ALONE.fullmatch(asked) and not set(asked) <= _SPOKEN_MARKS):
        return fold(alias).strip() == fold(text).strip()
    wanted = [token.raw for token in tokens(alias)]
    found = [token.raw for token in tokens(text)]
    return any(found[place : place + len(wanted)] == wanted for place in range(len(found)))


def _name_occurs(answer: Sequence[Token], wanted: Token) -> bool:
    """Whether a name that is also a common word occurs as one.

    "Tell us" does not have "US", nor "Who knows" "WHO"; "He is right" does not have helium.
    """
    shape = str.isupper if wanted.written.isupper() else str.istitle
    for place, token in enumerate(answer):
        like = shape(token.written) or token.written == wanted.written
        if token.forms & wanted.forms and like and token.ends:
            after = answer[place + 1] if place + 1 < len(answer) else None
            opens = token.written.istitle() and (place == 0 or token.parted == ".")
            continues = after is not None and (not after.sign or after.raw == "'")
            if not (opens and continues) or token.raw in ("may", "will"):
                return True
    return False


def _letter_occurs(answer: Sequence[Token], letter: str) -> bool:
    """Whether a letter occurs that is no article and nobody: it is a capital, and no word continues it."""
    for place, token in enumerate(answer):
        after = answer[place + 1] if place + 1 < len(answer) else None
        opens = place == 0 or token.parted == "."
        alone = after is None or after.sign or after.raw in ("is", "was", "and", "or")
        whole = token.written == letter.upper() and token.begins and token.ends
        if whole and (alone or (letter == "a" and not opens)):
            return True
    return False


@lru_cache(maxsize=4096)
def _renderings(text: str, articles: bool, reference: bool = False) -> tuple[tuple[Token, ...], ...]:
    """The tokens that count, with words joined at a hyphen, at an apostrophe, at either, or nowhere."""
    found: dict[tuple[Token, ...], None] = {}
    for joins in _JOINS:
        joined: list[Token] = []
        parted = ""
        for place, token in enumerate(tokens(text)):
            if token.sign or (not articles and _is_article(tokens(text), place)):
                parted = parted if token.sign else _stronger(parted, token.parted)
                continue
            before = joined[-1] if joined else None
            # "I'll" is not "ill".
            short = token.glued == "'" and token.raw in ("ll", "re", "d", "ve", "m")
            numbers = before is not None and token.value is not None and before.value is not None
            if before is not None and token.glued and token.glued in joins and not numbers and not short:
                word = before.raw + token.raw
                whole = Token(frozenset({word}), word, begins=before.begins, ends=token.ends)
                joined[-1] = replace(whole, glued=before.glued, parted=before.parted)
            else:
                if token.written in ("a", "i") and not reference and _goes_on(tokens(text), place):
                    token = replace(token, ends=False)
                token = replace(token, parted=_stronger(parted, token.parted))
                joined.append(_as_reference(token, bool(joined)) if reference else token)
            parted = ""
        found[tuple(joined)] = None
    return tuple(found)


def _is_article(found: Sequence[Token], place: int) -> bool:
    """Whether a word is an article; that of "A-Team" is none."""
    after = found[place + 1] if place + 1 < len(found) else None
    tied = after is not None and after.sign and after.glued in ("-", "'")
    return found[place].raw in _ARTICLES and not found[place].glued and not tied


def _goes_on(found: Sequence[Token], place: int) -> bool:
    """Whether the next word may be what an article belongs to."""
    after = found[place + 1] if place + 1 < len(found) else None
    return after is not None and not after.sign and after.raw not in _UNCOUNTED


def _stronger(one: str, other: str) -> str:
    return next((mark for mark in ".,–+" if mark in (one, other)), "")


def _as_reference(token: Token, behind: bool) -> Token:
    """A single letter behind a name may be a Roman numeral where a reference has it: World War I."""
    if behind and len(token.written) == 1 and (number := roman(token.written)):
        return replace(token, behind=frozenset({str(number), f"#{number}"}))
    return replace(token, optional="") if token.optional else token


def _occurs(answer: Sequence[Token], wanted: Sequence[Token]) -> bool:
    return any(answer[place].begins and _matches(answer, place, wanted) for place in range(len(answer)))


def _matches(answer: Sequence[Token], place: int, wanted: Sequence[Token]) -> bool:
    """Whether the answer has what is wanted from a place on."""
    first, units = place, None
    for index, token in enumerate(wanted):
        if units is not None and token.measures:
            # "5 dollars" where the answer has "$5".
            continue
        if units is not None:
            while place < len(answer) and answer[place].measures:
                place += 1
        units = None
        last = index == len(wanted) - 1
        while (
            first < place < len(answer)
            and answer[place].optional
            and not _same(answer[place], token, index, last)
        ):
            # A year follows the month.
            if answer[place].optional == "day" and (token.value is None or token.value < 32):
                break
            place += 1
        if place == len(answer) or not _same(answer[place], token, index, last):
            return False
        if index and _is_parted(answer[place], token, answer[place - 1], wanted[index - 1]):
            return False
        if token.units:
            if not _measured(answer, place, token):
                return False
            if answer[place].units or token.units == {"ad"} or _shows_half(answer[place], token):
                units = token.units
        elif answer[place].units == {"bc"}:
            return False
        place += 1
    return answer[place - 1].ends


def _measured(answer: Sequence[Token], place: int, wanted: Token) -> bool:
    """Whether a number has the unit that is wanted, or none: "5" is "$5", "5 people" is not."""
    if answer[place].units or "bc" in wanted.units:
        return bool(answer[place].units & wanted.units)
    after = answer[place + 1] if place + 1 < len(answer) else None
    return (
        after is None or after.parted not in ("", "+") or after.value is not None or after.raw in _UNCOUNTED
    )


def _shows_half(found: Token, wanted: Token) -> bool:
    """Whether a clock of 24 hours is in the half of the day that is wanted."""
    hour = found.raw.partition(":")[0] if ":" in found.raw else ""
    return hour.isdigit() and wanted.units == {"am" if int(hour) < 12 else "pm"}


def _is_parted(found: Token, wanted: Token, before: Token, wanted_before: Token) -> bool:
    """Whether a mark parts in the answer what belongs together in the reference."""
    if found.value is not None and before.value is not None and wanted_before.value is not None:
        if (found.parted == "–") != (wanted.parted == "–"):
            return True
        return found.parted == "." != wanted.parted
    if found.parted == "." and wanted.parted != ".":
        return True
    if found.parted != "," or wanted.parted in (",", "."):
        return False
    # Also a Roman numeral.
    letter = (len(found.written) == 1 and found.written.isalpha()) or (found.behind and found.value is None)
    number = found.value is not None and abs(found.value) < 1000 and before.optional != "day"
    return bool(letter or number)


def _same(found: Token, wanted: Token, index: int, last: bool) -> bool:
    if found.forms & wanted.forms:
        return True
    if index and (found.forms | found.behind) & (wanted.forms | wanted.behind):
        return True
    return same_word(found.raw, wanted.raw, first=index == 0, last=last)
