"""Numbers as people write them: digits and their groups, words, ordinals, Roman numerals."""

import re
from collections.abc import Sequence
from fractions import Fraction

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_CARDINALS = {word: value for value, word in enumerate(_SMALL)} | {
    word: 20 + 10 * place for place, word in enumerate(_TENS)
}
SCALES = {
    **{"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12},
    **{"millions": 10**6, "billions": 10**9, "trillions": 10**12, "mn": 10**6, "mln": 10**6, "bn": 10**9},
    **{"lakh": 10**5, "crore": 10**7, "quadrillion": 10**15, "dozen": 12},
    **{"百": 10**2, "千": 10**3, "천": 10**3, "만": 10**4, "万": 10**4, "萬": 10**4},
    **{"억": 10**8, "億": 10**8, "亿": 10**8, "조": 10**12, "兆": 10**12},
}
_IRREGULAR = {
    **{"first": 1, "second": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12},
    **{word[:-1] + "ieth": 20 + 10 * place for place, word in enumerate(_TENS)},
}
ORDINALS = {word + "th": value for word, value in _CARDINALS.items() if value > 3} | _IRREGULAR
# Parts of a whole. "Second" is a place or a time, and half of one.
PARTS = {"half": 2, "quarter": 4, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7} | {
    **{"eighth": 8, "ninth": 9, "tenth": 10, "halves": 2}
}
PARTS |= {f"{word}s": below for word, below in PARTS.items() if word not in ("half", "halves")}
_ROMAN = re.compile(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
# "One" is no number here: "one of them", "no one".
_ONE_BEFORE = frozenset(
    "of another day who that which can thing may might must possible point time such should could would hand "
    "example reason more with or way".split()
)
_ONE_BEHIND = frozenset("no any every some each this that the which another first last good loved".split())


def written(value: Fraction) -> str:
    """One spelling for a value: an integer, a decimal where it ends, else a fraction."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    whole = str(abs(value * 10**digits)).rjust(digits + 1, "0")
    return f"{'-' if value < 0 else ''}{whole[:-digits]}.{whole[-digits:]}"


def spelled(words: Sequence[str], before: str = "") -> tuple[int, int, bool]:
    """Read a number in words.

    Parameters
    ----------
    words
        Folded words; the number begins at the first.
    before
        The word before them.

    Returns
    -------
    tuple
        The value, how many words it takes (0: there is no number), and whether it is an ordinal.
    """
    year, taken = _year(words)
    if taken and before not in _CARDINALS:
        return year, taken, False
    total, group, taken, last = 0, 0, 0, -1
    for place, word in enumerate(words):
        if word == "and":
            # "Two hundred and five"; nothing else has an "and" in it.
            after = words[place + 1] if place + 1 < len(words) else ""
            number = after in _CARDINALS or after in ORDINALS
            if not (number and taken == place and group % 100 == 0 and group + total > 0):
                break
            taken += 1
            continue
        value = _CARDINALS.get(word, ORDINALS.get(word, -1))
        room = 100 if group % 100 == 0 else (10 if group % 10 == 0 and last >= 20 else 0)
        if 0 <= value < room and not (value == 0 and taken):
            group += value
            last, taken = value, place + 1
            if word in ORDINALS:
                return total + group, taken, True
        elif word == "hundred" and 0 <= group < 100 and last != 0:
            group, taken, last = max(group, 1) * 100, place + 1, 100
        elif word in SCALES and word != "hundred" and (group or word != "dozen"):
            total, group, taken, last = total + max(group, 1) * SCALES[word], 0, place + 1, 0
        else:
            break
    if taken == 1 and words[0] == "zero" and before in ("absolute", "ground"):
        return 0, 0, False
    if taken == 1 and words[0] == "one":
        follower = words[1] if len(words) > 1 else ""
        decimal = follower == "point" and len(words) > 2 and words[2] in _CARDINALS
        if (follower in _ONE_BEFORE and not decimal) or before in _ONE_BEHIND:
            return 0, 0, False
    return total + group, taken, False


def _year(words: Sequence[str]) -> tuple[int, int]:
    """A year that is read in two parts: nineteen forty-five, ten sixty-six, nineteen oh five."""
    first, second, third = (_CARDINALS.get(word, 0) for word in [*words, "", "", ""][:3])
    if not 10 <= first <= 20 or len(words) < 2:
        return 0, 0
    if words[1] in ("oh", "o") and 0 < third < 10:
        rest, taken = third, 3
    elif second >= 20:
        rest, taken = (second + third, 3) if 0 < third < 10 else (second, 2)
    else:
        rest, taken = second, 2
    follower = words[taken] if len(words) > taken else ""
    if (rest < 10 and taken == 2) or follower in _CARDINALS or follower in SCALES or follower in ORDINALS:
        return 0, 0
    return 100 * first + rest, taken


def roman(word: str) -> int:
    """The value of a Roman numeral in capitals; 0 if it is none."""
    if not word or _ROMAN.fullmatch(word) is None:
        return 0
    values = [_ROMAN_VALUES[letter] for letter in word]
    following = [*values[1:], 0]
    return sum(-one if one < after else one for one, after in zip(values, following, strict=True))
