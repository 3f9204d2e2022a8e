"""What numbers, numerals and dates mean beside other words: `tokens`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from tasks.scoring.dates import MONTHS
from tasks.scoring.numerals import PARTS, SCALES, roman, spelled, written
from tasks.scoring.tokens import Token, parts
from tasks.scoring.units import MONEY, NONE, measure, unit_of

_NUMBERED = frozenset("war part chapter act book volume type phase stage level class title article".split())
# "I" before these is somebody.
_SAID_BY_ME = frozenset(
    "think believe guess suppose suspect know am assume mean recall remember say have do dont don feel "
    "reckon imagine presume want can cannot".split()
)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_BELOW = ("minus", "negative")
# Halves of something that was said before are no number.
_HALF_OF = frozenset("first second other latter former this that last better each either another".split())


@lru_cache(maxsize=4096)
def tokens(text: str) -> tuple[Token, ...]:
    """Split text into tokens, signs included; a number is one token, however many words it takes."""
    return tuple(_numbers(parts(text)))


def _numbers(found: Sequence[Token]) -> Iterator[Token]:
    """Number words, scales and parts become one number each; other words mean what is beside them."""
    place, behind, month = 0, None, False
    while place < len(found):
        number, last = _amount(found, place, behind)
        if number is None:
            token = found[place]
            yield token if token.sign else _named(token, behind, found, place)
            behind = behind if token.sign else token
            place += 1
            month = token.raw in MONTHS or (month and token.sign)
            continue
        if month and number.value is not None and number.raw.isdigit() and int(number.raw) < 32:
            number = replace(number, forms=frozenset({f"#{number.raw}"}), behind=number.forms, optional="day")
            yield number
            after = last + 1
        else:
            counted = number.value is not None or _CLOCK.fullmatch(number.raw)
            units, taken = _units(found, place, last) if counted else (NONE, 0)
            yield _timed(replace(number, units=units))
            after = last + 1 + taken
            for one in found[last + 1 : after]:
                yield one if one.sign else replace(one, measures=True)
        behind, place, month = found[after - 1], after, False


def _units(found: Sequence[Token], place: int, last: int) -> tuple[frozenset[str], int]:
    """The units of a number, and how many tokens behind it say so."""
    following = found[last + 1 : last + 9]
    stop = next((at for at, one in enumerate(following) if one.parted in (".", ",")), len(following))
    units, taken = measure([one.written or one.raw for one in following[:stop]])
    if following and units and following[0].raw in ("in", "th") and following[0].parted != "+":
        units, taken = NONE, 0
    before = found[place - 1] if place else None
    if before is not None and before.sign and (money := unit_of(before.raw) & (MONEY | {before.raw})):
        return money, taken if units & money else 0
    return units, taken


def _timed(number: Token) -> Token:
    """An hour of the day also as a clock shows it; a measured decimal by its value."""
    clock = _CLOCK.fullmatch(number.raw)
    hour = int(clock[1]) if clock else (int(number.raw) if number.raw.isdigit() else 0)
    if number.units & {"am", "pm"} and 0 < hour < 13:
        shown = hour % 12 + (12 if "pm" in number.units else 0)
        minutes = clock[2] if clock else "00"
        times = {f"{one}:{minutes}" for one in (hour, shown, f"{shown:02}")}
        return replace(number, forms=number.forms | times | ({str(hour)} if minutes == "00" else set()))
    if number.units and number.value is not None:
        return replace(number, forms=number.forms | {written(number.value)})
    return number


def _amount(found: Sequence[Token], place: int, behind: Token | None) -> tuple[Token | None, int]:
    """The number that begins at a place, and its last place."""
    if place >= len(found) or found[place].sign:
        return None, place
    token = found[place]
    if token.raw in _BELOW:
        number, last = (None, place) if _raw(found, place + 1) in _BELOW else _amount(found, place + 1, token)
        if number is not None and number.value is not None and number.value > 0:
            return _valued(number, -number.value), last
        return None, place
    if token.raw in ("half", "quarter", "third") or (
        token.raw in ("a", "one") and _raw(found, place + 1) in PARTS
    ):
        number, last = _part(found, place, behind)
        if number is not None:
            return number, last
    if _CLOCK.fullmatch(token.raw):
        return token, place
    number, last = _spelled(found, place, behind)
    if number is None and token.value is not None:
        number, last = token, place
    if number is None or not _scalable(number):
        return number, last
    number, last = _and_part(found, number, last)
    if _raw(found, last + 1) == "point" and number.value == int(number.value or Fraction(0)):
        number, last = _point(found, number, last)
    part = _skipped(found, last + 1)
    if (
        _raw(found, part) in PARTS
        and number.value
        and number.value > 0
        and _plural(number.value, _raw(found, part))
    ):
        number, last = _valued(number, number.value / PARTS[_raw(found, part)]), part
        number, last = _of_scale(found, number, last)
    return _scaled(found, number, last)


def _part(found: Sequence[Token], place: int, behind: Token | None) -> tuple[Token | None, int]:
    """Half a million, a quarter, one third; "the third" and "the first half" are none."""
    token = found[place]
    last = place + (token.raw in ("a", "one"))
    part, after = _raw(found, last), _raw(found, last + 1)
    before = behind.raw if behind is not None else ""
    whole = _valued(token, Fraction(1, PARTS[part]))
    scaled, end = _of_scale(found, whole, last)
    if end > last:
        return scaled, end
    sure = token.raw == "one" or after == "of" or (part == "half" and after in ("a", "an"))
    if (
        not sure
        or before in _HALF_OF
        or (part == "third" and last == place)
        or (part == "half" and before == "the")
    ):
        return None, place
    return replace(whole, forms=whole.forms | {part} if last == place else whole.forms), last


def _of_scale(found: Sequence[Token], number: Token, last: int) -> tuple[Token, int]:
    """(Half) of a million."""
    at = last + 1
    at += _raw(found, at) == "of"
    at += _raw(found, at) in ("a", "an")
    if at > last + 1 and _raw(found, at) in SCALES:
        return _valued(number, (number.value or Fraction(0)) * SCALES[_raw(found, at)]), at
    return number, last


def _and_part(found: Sequence[Token], number: Token, last: int) -> tuple[Token, int]:
    """(Two) and a half, (two) and three quarters."""
    at = _skipped(found, last + 1)
    if _raw(found, at) != "and":
        return number, last
    at = _skipped(found, at + 1)
    count = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3}.get(_raw(found, at), 0)
    at = _skipped(found, at + 1)
    part = PARTS.get(_raw(found, at), 0)
    if not count or not part or not _plural(Fraction(count), _raw(found, at)):
        return number, last
    return _valued(number, (number.value or Fraction(0)) + Fraction(count, part)), at


def _point(found: Sequence[Token], number: Token, last: int) -> tuple[Token, int]:
    digits, at = "", last + 2
    while at < len(found) and (one := spelled([found[at].raw]))[1] and one[0] < 10 and not one[2]:
        digits, at = digits + str(one[0]), at + 1
    return (
        (_valued(number, Fraction(f"{number.raw}.{digits}")), at - 1)
        if digits and number.raw.isdigit()
        else (number, last)
    )


def _scaled(found: Sequence[Token], number: Token, last: int) -> tuple[Token, int]:
    while _scalable(number) and _raw(found, last + 1) in SCALES and found[last + 1].parted not in (".", ","):
        last += 1
        scale = SCALES[_raw(found, last)]
        number = _valued(number, (number.value or Fraction(0)) * Fraction(scale))
        # "A million and a half".
        half, end = _and_part(found, replace(number, value=Fraction(0)), last)
        if end > last and scale >= 1000:
            number, last = (
                _valued(number, (number.value or Fraction(0)) + (half.value or Fraction(0)) * scale),
                end,
            )
    return number, last


def _plural(count: Fraction, part: str) -> bool:
    return (count == 1) != part.endswith("s")


def _skipped(found: Sequence[Token], place: int) -> int:
    """The place, or the one behind a hyphen there."""
    return place + (place < len(found) and found[place].raw == "-")


def _spelled(found: Sequence[Token], place: int, behind: Token | None) -> tuple[Token | None, int]:
    """The number that the words from a place on spell, and its last place; hyphens in it are skipped."""
    places = []
    for at in range(place, min(place + 12, len(found))):
        if found[at].value is not None or (found[at].sign and found[at].raw != "-"):
            break
        if not found[at].sign:
            places.append(at)
    value, taken, ordinal = spelled([found[at].raw for at in places], behind.raw if behind else "")
    if not taken or places[0] != place:
        return None, place
    token, last = found[place], places[taken - 1]
    if ordinal:
        forms = {f"#{value}", token.raw} if taken == 1 else {f"#{value}"}
        raw = token.raw if taken == 1 else f"#{value}"
        return replace(token, forms=frozenset(forms), raw=raw, ends=found[last].ends), last
    number = _valued(token, Fraction(value))
    if taken > 1 and token.raw in SCALES:
        return number, last
    half, end = _and_part(found, replace(number, value=Fraction(0)), last)
    scale = SCALES.get(found[last].raw, 1)
    if end > last and scale >= 1000:
        return _valued(number, value + (half.value or Fraction(0)) * scale), end
    return (replace(number, forms=number.forms | {token.raw}) if taken == 1 else number), last


def _scalable(number: Token) -> bool:
    return number.value is not None and number.value < 10**18


def _valued(token: Token, value: Fraction) -> Token:
    return replace(token, forms=frozenset({written(value)}), raw=written(value), value=value)


def _named(token: Token, behind: Token | None, found: Sequence[Token], place: int) -> Token:
    """A Roman numeral behind a name; "I" who thinks."""
    after = found[place + 1 : place + 4]
    if token.written == "I" and after and _is_said(after):
        return replace(token, ends=False)
    if behind is None or not (number := roman(token.written)):
        return token
    # "XL" is a size, and a letter a letter, unless they number something.
    usual = len(token.written) > 2 or (len(token.written) == 2 and set(token.written) <= set("IVX"))
    if behind.raw in _NUMBERED or (usual and behind.written[:1].isupper()):
        return replace(token, behind=frozenset({str(number), f"#{number}"}))
    # Charles V is Charles the Fifth, but Malcolm X is no number.
    named = token.written in ("I", "V", "X") and behind.written[:1].isupper() and not token.parted
    return replace(token, behind=frozenset({f"#{number}"})) if named else token


def _is_said(after: Sequence[Token]) -> bool:
    """(I) think, would say, 'm, 've, 'd, 'll; "Elizabeth I's reign" is nobody's."""
    first, second = _raw(after, 0), _raw(after, 1)
    short = first == "'" and second in ("m", "ve", "d", "ll")
    return first in _SAID_BY_ME or short or (first in ("would", "should", "must") and second in _SAID_BY_ME)


def _raw(found: Sequence[Token], place: int) -> str:
    return found[place].raw if 0 <= place < len(found) else ""
