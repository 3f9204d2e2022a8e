"""Whether a reference occurs in an answer, as a person would say it: `contains_alias`."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import regex

from tasks.scoring.numerals import roman
from tasks.scoring.text import fold
from tasks.scoring.tokens import Token, plain, tokens

_ARTICLES = frozenset({"a", "an", "the"})
# Marks that may stand between the parts of a word, or not; a reference and an answer need not agree on them.
_JOINS = ("", "-", "'", "-'.")
# What Korean sets behind a name without a space.
_PARTICLES = frozenset(
    "은 는 이 가 을 를 의 에 에서 에게 로 으로 와 과 도 만 부터 까지 이다 다 입니다 이었다 였다".split()
)
_COMMON = frozenset("us it in or who may will so as he un ad am is be do go me my no on to up we".split())
_HANGUL = regex.compile(r"\p{Hangul}+")
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
    or not, fractions, number words; a Roman numeral behind a name is one too. Signs that make another thing
    of a word or number are part of it ("C++", "-5", "10²"). Scripts without spaces are compared character
    by character. An alias of signs alone must occur, one of punctuation alone ("!!!") must be the whole text.

    Notes
    -----
    Negation is not understood ("not Paris"); docs/scoring.md says what else may surprise.
    """
    wanted = tokens(alias)
    if not any(character.isalnum() for token in wanted for character in token.raw):
        return _sign_occurs(text, alias)
    if len(wanted) == 1 and wanted[0].raw in _COMMON and alias != alias.lower() and text != text.lower():
        # "Tell us" does not say "US", nor "Who knows" "WHO".
        shape = str.isupper if wanted[0].written.isupper() else str.istitle
        return any(one.forms & wanted[0].forms and shape(one.written) for one in tokens(text))
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


@lru_cache(maxsize=4096)
def _renderings(text: str, articles: bool, reference: bool = False) -> tuple[tuple[Token, ...], ...]:
    """The tokens that count, with words joined at a hyphen, at an apostrophe, at either, or nowhere."""
    found: dict[tuple[Token, ...], None] = {}
    for joins in _JOINS:
        joined: list[Token] = []
        for token in tokens(text):
            if token.sign or (token.raw in _ARTICLES and not articles and not token.glued):
                continue
            before = joined[-1] if joined else None
            # "I'll" is not "ill".
            short = token.glued == "'" and token.raw in ("ll", "re", "d", "ve", "m")
            numbers = before is not None and token.value is not None and before.value is not None
            if before is not None and token.glued and token.glued in joins and not numbers and not short:
                word = before.raw + token.raw
                joined[-1] = replace(before, forms=frozenset({word}), raw=word, value=None, unit="")
            else:
                joined.append(_as_reference(token, bool(joined)) if reference else token)
        found[tuple(joined)] = None
    return tuple(found)


def _as_reference(token: Token, behind: bool) -> Token:
    """A single letter behind a name may be a Roman numeral where a reference has it: World War I."""
    if behind and len(token.written) == 1 and (number := roman(token.written)):
        return replace(token, forms=token.forms | {str(number), f"#{number}"})
    return replace(token, optional="") if token.optional == "initial" else token


def _occurs(answer: Sequence[Token], wanted: Sequence[Token]) -> bool:
    return any(answer[place].begins and _matches(answer, place, wanted) for place in range(len(answer)))


def _matches(answer: Sequence[Token], place: int, wanted: Sequence[Token]) -> bool:
    """Whether the answer has what is wanted from a place on."""
    first, unit = place, ""
    for index, token in enumerate(wanted):
        while first < place < len(answer) and answer[place].optional == "initial":
            if _same(answer[place], token, last=index == len(wanted) - 1):
                break
            place += 1
        if place < len(answer) and _same(answer[place], token, last=index == len(wanted) - 1):
            unit = answer[place].unit
            place += 1
        # "5 dollars" where the answer says "$5".
        elif not (unit and token.optional == unit):
            return False
    return True


def _same(found: Token, wanted: Token, last: bool) -> bool:
    if found.forms & wanted.forms:
        return not (found.unit and wanted.unit) or found.unit == wanted.unit
    if last and _HANGUL.fullmatch(wanted.raw) and found.raw.startswith(wanted.raw):
        return found.raw[len(wanted.raw) :] in _PARTICLES
    return False
