"""What a text is made of, so that two ways to write one thing compare equal: words, numbers, signs."""

import html
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import regex

from tasks.scoring.numerals import SCALES, roman, spelled, written
from tasks.scoring.text import fold

# One way to write each of these marks; a space of no width is a space.
_SAME = str.maketrans(
    {"\u2044": "/", "\u2212": "-", "\u2010": "-", "\u2011": "-", "\u066b": ".", "\u066c": ",", "\u200b": " "}
    | dict.fromkeys("\u2019\u2018\u02bb\u02bc`", "'")
    # Alef and its seats, as many people write them.
    | dict.fromkeys("\u0623\u0625\u0622\u0671", "\u0627")
)
# What nobody sees, and the vowel marks of Hebrew and Arabic.
_UNSEEN = regex.compile(
    r"[\p{Cf}\u0640\ufe00-\ufe0f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670\u06d6-\u06ed]"
)
_RAISED = regex.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_PART = regex.compile(r"(\d)([¼-¾⅐-⅞])")
_QUOTIENT = regex.compile(r"(?<![\d/.,])(?:(\d+) )?(\d{1,2})/(\d{1,2})(?![\d/.,]?\d|/)")
_GROUPED = regex.compile(
    r"(?<![\d.,])(?<!\d')(?:\d{1,3}(?:,\d{3}){1,9}|\d{1,2}(?:,\d{2}){1,9},\d{3}|\d{1,3}(?:\.\d{3}){2,9}"
    r"|\d{1,3}(?:'\d{3}){1,9}|\d{1,3}(?: \d{3}){2,9}|\d{1,3} 000)(?![\d,']{0,30}\d)"
)
_FRAC = regex.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")
_STYLE = regex.compile(r"\\(?:text|mathrm|mathbf|boxed)\{")
_QUOTED_SIGN = regex.compile(r"\\([%$&#_])")
_LOWERED = regex.compile(r"(?<=\w)_\{?(\d+)\}?|<sub>(\d+)</sub>")
_POWER = regex.compile(r"\^\{(-?\w+)\}|<sup>(-?\w+)</sup>")
_DEBT = regex.compile(r"(?<![\w)])-([$€£¥₹])(?=\d)")
_WIDE_GROUP = regex.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")
# The numbers of a list are not of the answer.
_LISTED = regex.compile(r"(?m)^\s*\d{1,2}[.)]\s+(?=\S)")
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_DAY = regex.compile(rf"(?<![\w.,/-])(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH})\b", regex.IGNORECASE)
_PER_CENT = regex.compile(r"(?<!\w)per cent(?!\w)", regex.IGNORECASE)
_MINUS = regex.compile(r"(?<!\w)(?:minus|negative) (?=\d)", regex.IGNORECASE)

_CHARACTER = r"[\p{L}\p{M}\p{N}]"
_LAST = rf"(?!{_CHARACTER}|\^-?\d)"
_FIRST = rf"(?<!{_CHARACTER})"
_SPACELESS = r"\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_SUFFIXES = (
    "st nd rd th km cm mm m kg mg g lb lbs mph kmh ft in mi hz khz mhz ghz kb mb gb tb w kw mw kv v ad bc "
    "bce ce am pm bn min mins sec h hr hrs yr yrs AD BC BCE CE AM PM KM LB LBS MPH Hz kHz MHz GHz KB MB GB "
    "TB kW MW kV"
)
_TOKEN = regex.compile(
    "|".join(
        (
            r"(?P<version>(?<![\w.])\d+(?:\.\d+){2,}(?!\w))",
            # A minus stands before the number and behind nothing; a decimal comma has two digits at most.
            rf"(?P<number>(?:(?<![\p{{L}}\p{{M}}\p{{N}})\]%.,/])(?<!\w')-)?"
            r"(?:(?<![\w.])\.\d+|\d+(?:\.\d+|(?<!\d,\d{1,3}),\d{1,2}(?![\d,]))?))"
            rf"(?P<suffix>(?:{'|'.join(_SUFFIXES.split())}){_LAST})?{_LAST}",
            # U.S., D.C, J. R. R.
            rf"(?P<short>{_FIRST}(?:\p{{Lu}}\.(?: \p{{Lu}}\.)+|(?:\p{{L}}\.){{2,}}(?:\p{{L}}{_LAST})?"
            rf"|\p{{L}}\.\p{{L}}{_LAST}))",
            r"(?P<initial>(?<=\p{Lu}[\p{L}\p{M}]{1,20} )\p{Lu}\.(?= \p{Lu}))",
            rf"(?P<dotted>(?<![\p{{L}}\p{{N}}.])\.(?:\p{{Lu}}{{2,}}|\p{{Ll}}{{2,}}){_LAST})",
            r"(?P<era>(?:AD|BCE?|CE)(?=\d))",
            rf"(?P<signed>{_FIRST}(?:AB?|B|O|C|D|Rh|RH)-(?![\w-]))",
            r"(?P<flag>\p{RI}\p{RI})",
            r"(?P<kana>[\p{Katakana}ー]+)",
            rf"(?P<letter>[{_SPACELESS}]\p{{M}}*)",
            # C++ and F# are words.
            rf"(?P<word>(?:(?![{_SPACELESS}\p{{Katakana}}]){_CHARACTER}|\^)+(?:(?:\+{{1,2}}|[#♯]){_LAST})?)",
            r"(?P<sign>[^\s\p{L}\p{M}\p{N}])",
        )
    )
)
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
_HAN = regex.compile(r"\p{Han}")
# Between two words these may stand or not: Spider-Man, O'Brien, Node.js.
_GLUE = frozenset("-'.")
_UNITS = {
    **{"dollar": "$", "dollars": "$", "usd": "$", "euro": "€", "euros": "€", "eur": "€"},
    **{"pound": "£", "pounds": "£", "gbp": "£", "yen": "¥", "jpy": "¥", "rupee": "₹", "rupees": "₹"},
    **{"percent": "%", "$": "$", "€": "€", "£": "£", "¥": "¥", "₹": "₹", "%": "%"},
}
_MONTHS = frozenset(_MONTH.lower().split("|"))
# Behind these and a hyphen stands something else than what it names.
_PREFIXES = frozenset("non anti un semi quarter sub half step vice ex north south".split())
_NUMBERED = frozenset("war part chapter act book volume type phase stage level class title".split())


@dataclass(frozen=True)
class Token:
    """A word, a number or a sign.

    Attributes
    ----------
    forms : frozenset of str
        Spellings that are the same thing: a Roman numeral is also its value, an ordinal "#" and its value.
    raw, written : str
        Folded, and as it stands in the text.
    value : Fraction or None
        Of a cardinal number.
    unit : str
        Of a number: the currency sign or `%` that belongs to it; empty if there is none.
    optional : str
        "initial": an initial in a name, which others leave out. A unit: a word that says what a number's sign
        says elsewhere.
    begins : bool
        A reference may begin here.
    glued : str
        The mark that alone separates this from the token before, or the mark itself if it touches one; else
        empty.
    sign : bool
        Neither word nor number; of no weight beside words.
    """

    forms: frozenset[str]
    raw: str
    written: str = ""
    value: Fraction | None = None
    unit: str = ""
    optional: str = ""
    begins: bool = True
    glued: str = ""
    sign: bool = False


def plain(text: str) -> str:
    """Return text with one way to write digits, spaces, hyphens and quotes, without what nobody sees."""
    text = _unmarked(text)
    if len(_LISTED.findall(text)) > 1:
        text = _LISTED.sub("", text)
    # One order of day and month.
    text = _DAY.sub(r"\2 \1", text)
    raised = _PART.sub(r"\1 \2", _RAISED.sub(_exponent, text)).replace("№", " no ")
    seen = _UNSEEN.sub("", unicodedata.normalize("NFKC", raised).translate(_SAME))
    digits = "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in seen)
    grouped = _GROUPED.sub(lambda found: regex.sub(r"[,. ']", "", found[0]), digits)
    return _MINUS.sub("-", _QUOTIENT.sub(_decimal, _PER_CENT.sub("percent", grouped)))


@lru_cache(maxsize=4096)
def tokens(text: str) -> tuple[Token, ...]:
    """Split text into tokens, signs included."""
    whole = plain(text)
    japanese = _KANA.search(whole) is not None
    found: list[Token] = []
    end = 0
    for match in _TOKEN.finditer(whole):
        # All but the parts of a number touch what is before them.
        touching = 0 < match.start() == end
        for token in _read(match, found[-1] if found else None):
            if touching:
                token = replace(token, glued=token.raw if token.sign else _mark_before(found))
                if not token.sign and token.glued == "-" and found[-2].raw in _PREFIXES:
                    token = replace(token, begins=False)
                # In Japanese another such letter before it makes another word: 東京都 is not 京都.
                if japanese and _HAN.match(token.raw) and _HAN.match(found[-1].raw):
                    token = replace(token, begins=False)
            found.append(token)
        end = match.end()
    return tuple(_numbers(found))


def folded_words(text: str) -> list[str]:
    """Return the words and numbers of a text, folded; characters where a script has no spaces."""
    return [fold(match[0]) for match in _TOKEN.finditer(plain(text)) if match["sign"] is None]


def _unmarked(text: str) -> str:
    """Text without the marks of Markdown, LaTeX and HTML that say how it looks."""
    bare = html.unescape(text).replace("**", "").replace("{,}", ",")
    bare = _QUOTED_SIGN.sub(r"\1", _STYLE.sub("{", _FRAC.sub(r" \1/\2", bare)))
    bare = _LOWERED.sub(lambda found: found[1] or found[2], bare)
    bare = _POWER.sub(lambda found: f"^{found[1] or found[2]}", bare)
    # "-$5" is "$-5"; a space that does not break groups digits.
    return _WIDE_GROUP.sub(",", _DEBT.sub(r"\1-", bare))


def _exponent(found: "regex.Match[str]") -> str:
    """A raised number behind a short number or a unit is an exponent; elsewhere it points to a footnote."""
    raised = unicodedata.normalize("NFKC", found[0])
    before = regex.search(r"(\p{L}*)(\d*)$", found.string[max(0, found.start() - 20) : found.start()])
    short = len(before[2]) < 4 if before[2] else 0 < len(before[1]) <= 2
    return f"^{raised}" if short and raised != "1" else ""


def _decimal(found: "regex.Match[str]") -> str:
    """A half or three quarters as a decimal; dates, scores and thirds stay."""
    whole, above, below = int(found[1] or 0), int(found[2]), int(found[3])
    if 0 < above < below and below in (2, 4, 5, 8, 10):
        return written(whole + Fraction(above, below))
    return str(found[0])


def _mark_before(found: Sequence[Token]) -> str:
    """The one mark between two words that touch it."""
    if len(found) < 2 or not found[-1].sign or found[-2].sign:
        return ""
    return found[-1].raw if found[-1].raw in _GLUE and found[-1].glued else ""


def _read(match: "regex.Match[str]", before: Token | None) -> Iterator[Token]:
    text = match[0]
    if match["number"] is not None:
        unit = _UNITS.get(before.raw, "") if before is not None and before.sign else ""
        yield from _number(match["number"], match["suffix"] or "", unit)
    elif match["sign"] is not None:
        # "&" is read as "and", and is not written so. A sign between words may join them.
        yield Token(frozenset({"and"} if text == "&" else {text}), text, sign=text != "&")
    elif match["short"] is not None or match["initial"] is not None:
        initials = match["initial"] is not None or " " in text
        yield replace(_word(regex.sub(r"[. ]", "", text)), optional="initial" if initials else "")
    else:
        yield _word(text)


def _word(text: str) -> Token:
    return Token(frozenset({fold(text)}), fold(text), text)


def _number(digits: str, suffix: str, unit: str) -> Iterator[Token]:
    if len(digits) > 100:
        # No number that anybody means.
        yield _word(digits + suffix)
        return
    if suffix in ("st", "nd", "rd", "th"):
        text = digits + suffix
        yield Token(frozenset({text, f"#{int(digits)}"} if digits.isdigit() else {text}), text)
        return
    digits = regex.sub(r"^(-?)\.", r"\g<1>0.", digits.replace(",", "."))
    whole, _, part = digits.partition(".")
    text = digits if part.strip("0") else whole
    yield Token(frozenset({text}), text, digits, Fraction(text), unit)
    if suffix:
        yield _word(suffix)


def _numbers(found: Sequence[Token]) -> Iterator[Token]:
    """Number words and scales ("5 million") become one number each; other words mean what is beside them."""
    place, behind = 0, None
    while place < len(found):
        token = found[place]
        number, last = _spelled(found, place, behind)
        if number is None and token.value is not None:
            number, last = token, place
        while number is not None and _scalable(number) and _raw(found, last + 1) in SCALES:
            last += 1
            number = _valued(number, (number.value or 0) * Fraction(SCALES[_raw(found, last)]))
        if number is None:
            yield _named(token, behind, found, place)
            behind = behind if token.sign else token
            place += 1
        else:
            unit = number.unit or _UNITS.get(_raw(found, last + 1), "")
            yield replace(_dated(number, behind, found, last), unit=unit)
            behind, place = found[last], last + 1


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
        return replace(token, forms=frozenset(forms), raw=token.raw if taken == 1 else f"#{value}"), last
    number = _valued(token, Fraction(value))
    return (replace(number, forms=number.forms | {token.raw}) if taken == 1 else number), last


def _scalable(number: Token) -> bool:
    return number.value is not None and number.value < 10**18


def _valued(token: Token, value: Fraction) -> Token:
    return replace(token, forms=frozenset({written(value)}), raw=written(value), value=value)


def _named(token: Token, behind: Token | None, found: Sequence[Token], place: int) -> Token:
    """A Roman numeral behind a name, an ordinal in a date, a unit behind its number."""
    if behind is not None and (number := roman(token.written)):
        # "XL" is a size, and "I" a word, unless they number something.
        usual = len(token.written) > 2 or (len(token.written) == 2 and set(token.written) <= set("IVX"))
        if behind.raw in _NUMBERED or (usual and behind.written[:1].isupper()):
            return replace(token, forms=token.forms | {str(number), f"#{number}"})
    amount = behind is not None and (
        behind.value is not None or behind.raw in SCALES or spelled([behind.raw])[1] > 0
    )
    if not token.sign and token.raw in _UNITS and amount:
        return replace(token, optional=_UNITS[token.raw])
    return _dated(token, behind, found, place)


def _dated(token: Token, behind: Token | None, found: Sequence[Token], last: int) -> Token:
    """The first of May is May 1."""
    ordinal = next((form for form in token.forms if form.startswith("#") and len(form) > 1), "")
    after = _raw(found, last + 1)
    near = {behind.raw if behind else "", _raw(found, last + 2) if after == "of" else after}
    return replace(token, forms=token.forms | {ordinal[1:]}) if ordinal and near & _MONTHS else token


def _raw(found: Sequence[Token], place: int) -> str:
    return found[place].raw if place < len(found) else ""
