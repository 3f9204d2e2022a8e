"""One way to write a text: characters, mark-up, groups of digits, powers, spoken signs."""

import html
import unicodedata
from fractions import Fraction

import regex

from tasks.scoring.dates import dated
from tasks.scoring.numerals import written
from tasks.scoring.units import CODES

# One way to write each of these marks; a space of no width is a space.
_SAME = str.maketrans(
    {"\u2044": "/", "\u2212": "-", "\u2010": "-", "\u2011": "-", "\u05be": "-", "\u066b": ".", "\u066c": ","}
    | {"\u200b": " ", "♯": "#", "\u05f3": "'", "\u05f4": '"', "\u20e3": ""}
    | dict.fromkeys("\u2019\u2018\u02bb\u02bc`", "'")
    # Alef and its seats, Persian letters, ta marbuta and alef maksura, as many people write them.
    | dict.fromkeys("\u0623\u0625\u0622\u0671", "\u0627")
    | {"\u06a9": "\u0643", "\u06cc": "\u064a", "\u0649": "\u064a", "\u0629": "\u0647", "\u06c1": "\u0647"}
    | {"\u06c0": "\u0647", "\u0901": "\u0902"}
)
# Several pictures that are one, and what nobody sees: also the vowel marks of Hebrew and Arabic.
PICTURES = r"\p{Extended_Pictographic}(?:\u200d\p{Extended_Pictographic})*[\U000e0020-\U000e007f]*"
_TONE = regex.compile(r"(?<=\p{Extended_Pictographic}\ufe0f?)[\U0001f3fb-\U0001f3ff\ufe0f]+")
_UNSEEN = regex.compile(
    rf"({PICTURES})|[\p{{Cf}}\u0640\ufe00-\ufe0f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    r"\u064b-\u065f\u0670\u06d6-\u06ed]"
)
# A nasal before a consonant of its own place is written as a letter or as a dot.
_NASAL = regex.compile("(?:ङ्(?=[क-घ])|ञ्(?=[च-झ])|ण्(?=[ट-ढ])|न्(?=[त-ध])|म्(?=[प-भ]))")

_TAG = regex.compile(r"</?(?:b|i|em|strong|u|s|a|span|font|q|cite|mark|code|small|sup)(?: [^<>]{0,200})?/?>")
_BLOCK = regex.compile(r"</?(?:p|br|li|ul|ol|div|td|tr|th|table|pre|h[1-6])(?: [^<>]{0,200})?/?>")
_FRAC = regex.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")
_STYLE = regex.compile(r"\\(?:text|mathrm|mathbf|boxed)\{")
_TIMES = regex.compile(r"\\(?:times|cdot)(?!\p{L})")
_QUOTED_SIGN = regex.compile(r"\\([%$&#_])")
_FORMULA = regex.compile(r"(?<![\w$])\$(?=\S)([^$\n]{1,80})(?<=\S)\$(?![\w$])")
_LOWERED = regex.compile(r"(?<=\w)_\{?(\d+)\}?|<sub>(\d+)</sub>")
_SUPERIOR = regex.compile(r"<sup>(-?\d+)</sup>")
_POWER = regex.compile(r"\^\{(-?\w+)\}|(?<=\d)\*\*(?=-?\d)")
_RAISED = regex.compile("⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_SUPERIORS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_POINTER = r"\[(?:\d{1,3}(?:[,–-] ?\d{1,3})*|[a-z])\]"
_FOOTNOTE = regex.compile(
    rf"(?<=[\p{{L}}\d.,;:!?)\"'”’%])(?:{_POINTER})+"
    rf"|(?<!(?:\b(?:is|was|are|were|be|equals|answer)|[=:])) (?:{_POINTER})+(?=[.,;]|\s*$)",
    regex.MULTILINE | regex.IGNORECASE,
)
# The numbers of a list are not of the answer.
_LISTED = regex.compile(r"(?m)^\s*(\d{1,2})[.)][^\S\n]+(?=\S)")
_INLINE = regex.compile(r"(?<!\S)\(?(\d{1,2})\)\s+(?=\S)")

_DEBT = regex.compile(r"(?<![\w)])[-−](\p{Sc})(?=\d)")
_WIDE_GROUP = regex.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_PAIR = regex.compile(r"(?<=[(\[{])(-?\d{1,3}),(?=-?\d{1,2}[)\]}])")
_GROUPED = regex.compile(
    r"(?<![\d.,])(?<!\d')(?!0)(?:\d{1,3}(?:,\d{3}){1,9}|\d{1,2}(?:,\d{2}){1,9},\d{3}|\d{1,3}(?:\.\d{3}){2,9}"
    r"|\d{1,3}(?:'\d{3}){1,9}|\d{1,3}(?: \d{3}){1,9})(?![\d,']{0,30}\d)"
)
_EUROPEAN = regex.compile(r"(?<![\d.,])(\d{1,3}(?:[. ]\d{3}){1,9}),(\d{1,2})(?![.,]?\d)")
_LEADING = regex.compile(r"(?<![\d.,])0,(?=\d+(?![.,]?\d))")

_PART = regex.compile(r"(\d)([¼-¾⅐-⅞])")
_QUOTIENT = regex.compile(r"(?<![\d/.,–])(?:(\d{1,3}) )?(\d{1,2})/(\d{1,2})(?![\d/.,]?\d|/)")
_SCIENTIFIC = regex.compile(
    r"(?<![\w.,^])(?:(\d{1,20}(?:\.\d{1,20})?)(?:[eE]([+-]?\d{1,2})| ?[x×*·⋅] ?10\^(-?\d{1,2}))"
    r"|10\^(-?\d{1,2}))(?!\.?\d|\w)"
)
_BY = regex.compile(r"(?<=(?<![\p{L}\d])\d{1,9})(?: ?[x×] ?| by )(?=\d{1,9}(?!\w))")
_SHORT_SCALE = regex.compile(
    r"(?<![\w.])(?:(\p{Sc} ?-?\d[\d.]*) ?(k|m|mm|mn|mln|b|bn|t|tn|trn)|(\d[\d.]*)([kmb]|mn|tn|trn))"
    r"(?!\w|[-'./]\w)",
    regex.IGNORECASE,
)
_SCALES = {"k": "thousand", "m": "million", "b": "billion", "t": "trillion"}
_DOLLARS = regex.compile(r"(?<!\w)(US|A|AU|C|CA|NZ|HK|S|R|MX|NT)\$ ?(?=\d)")
_COUNTRIES = {
    **{"US": "USD", "A": "AUD", "AU": "AUD", "C": "CAD", "CA": "CAD", "NZ": "NZD", "HK": "HKD"},
    **{"S": "SGD", "R": "BRL", "MX": "MXN", "NT": "TWD"},
}
_CODE = regex.compile(
    rf"(?<!\w)({CODES}|Rs\.?) ?(\d++(?:\.\d++)?+(?: (?:thousand|[mb]illion|trillion|lakh|crore))?)(?!\w)"
)
_PER_CENT = regex.compile(r"(?<!\w)per cent(?!\w)", regex.IGNORECASE)
_MINUS = regex.compile(r"(?<!\w)(?:minus|negative) (?=\d)", regex.IGNORECASE)
_COUNTER = regex.compile(r"(?<=\d)(?=\p{Hangul})|(?<=\d[만억천조])(?=\p{Hangul})")

# Blood groups, grades, keys and languages as they are said.
_GROUP = r"(?<!\w)(AB|[ABO]|Rh|RH)(?:,? ?\(?Rh(?:D| D)?)?"
_CHARGE = regex.compile(
    rf"{_GROUP}(?:[- ]([Pp]os(?:itive)?|[Nn]eg(?:ative)?)| ?([+-])ve|(?<=Rh|D)([+-]))\)?(?!\w)"
    r"(?! (?!blood|group|type)\p{Ll})"
    r"|(?<!\w)(AB|[BO]|Rh|RH)[- ]([Pp]ositive|[Nn]egative)(?!\w)"
)
_KEY = regex.compile(r"(?<!\w)(?:([B-G])(?: ?♭|[- ]flat)|(A)(?:♭|[- ]flat(?= major| minor|[.,;]|$)))(?!\w)")
_SHARP = regex.compile(r"(?<!\w)([A-G])[- ]sharp(?!\w)")
_PLUS = regex.compile(r"(?<!\w)([A-Z]) plus plus(?!\w)", regex.IGNORECASE)
_DASHED = regex.compile(r"(?<!\w)(AB|[A-DO]|Rh|RH)–(?![\w–-]| \w)")
_INITIALS = regex.compile(r"(?<!\w)(?<!\p{Lu} )(\p{Lu}(?: \p{Lu}){1,4})(?= \p{Lu}\p{Ll})")


def plain(text: str) -> str:
    """Return text with one way to write digits, spaces, hyphens and quotes, without what nobody sees."""
    text = _unlisted(_unmarked(text))
    raised = _PART.sub(r"\1 \2", _RAISED.sub(_exponent, text)).replace("№", " no ")
    seen = unicodedata.normalize("NFKC", _TONE.sub("", raised)).translate(_SAME)
    seen = _NASAL.sub("\u0902", _UNSEEN.sub(lambda found: found[1] or "", seen))
    digits = "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in seen)
    return _COUNTER.sub(" ", _spoken(dated(_counted(digits))))


def _counted(text: str) -> str:
    """Digits ungrouped, powers of ten written out, amounts of money with their code behind."""
    text = _PAIR.sub(r"\1, ", text)
    text = _EUROPEAN.sub(lambda found: f"{regex.sub('[. ]', '', found[1])}.{found[2]}", text)
    text = _GROUPED.sub(lambda found: regex.sub(r"[,. ']", "", found[0]), text)
    text = _SCIENTIFIC.sub(_scientific, _LEADING.sub("0.", text))
    text = _SHORT_SCALE.sub(_scaled, text)
    text = _DOLLARS.sub(lambda found: f"{_COUNTRIES[found[1]]} ", text)
    text = _CODE.sub(lambda found: f"{found[2]} {found[1].rstrip('.')}", text)
    text = _QUOTIENT.sub(_decimal, _PER_CENT.sub("percent", text))
    return _BY.sub("×", _MINUS.sub("-", text))


def _spoken(text: str) -> str:
    """Signs for "O negative", "C sharp", "C plus plus"; full stops behind the initials of a name."""
    text = _CHARGE.sub(_charge, _DASHED.sub(r"\1-", text))
    text = _KEY.sub(lambda found: f"{found[1] or found[2]}♭", _SHARP.sub(r"\1#", text))
    return _INITIALS.sub(lambda found: found[1].replace(" ", ". ") + ".", _PLUS.sub(r"\1++", text))


def _charge(found: "regex.Match[str]") -> str:
    said = found[2] or found[3] or found[4] or found[6]
    return f"{found[1] or found[5]}{'+' if said[0] in 'Pp+' else '-'}"


def _unmarked(text: str) -> str:
    """Text without the marks of Markdown, LaTeX and HTML that say how it looks, and without footnotes."""
    bare = _SUPERIOR.sub(lambda found: found[1].translate(_SUPERIORS), html.unescape(text))
    bare = _LOWERED.sub(lambda found: found[1] or found[2], bare)
    bare = _BLOCK.sub("\n", _TAG.sub("", _POWER.sub(lambda found: f"^{found[1] or ''}", bare)))
    bare = _FORMULA.sub(r"\1", bare.replace("**", "").replace("{,}", ","))
    bare = _QUOTED_SIGN.sub(r"\1", _STYLE.sub("{", _FRAC.sub(r" \1/\2", _TIMES.sub("×", bare))))
    # "-$5" is "$-5"; a space that does not break groups digits.
    return _WIDE_GROUP.sub(",", _DEBT.sub(r"\1-", _FOOTNOTE.sub("", bare)))


def _unlisted(text: str) -> str:
    """Text without the numbers of its list; a lone one but 1 is an answer: "4. It has four legs"."""
    inline = [int(number) for number in _INLINE.findall(text)]
    if len(inline) > 1 and inline == list(range(1, len(inline) + 1)):
        text = _INLINE.sub("", text)
    lines = _LISTED.findall(text)
    return _LISTED.sub("", text) if len(lines) > 1 or lines == ["1"] else text


def _exponent(found: "regex.Match[str]") -> str:
    """A raised number behind a short number or a unit is an exponent; elsewhere it points to a footnote."""
    raised = unicodedata.normalize("NFKC", found[0]).replace("\u2212", "-")
    before = regex.search(r"(\p{L}*)(\d*)$", found.string[max(0, found.start() - 20) : found.start()])
    short = len(before[2]) < 4 if before[2] else 0 < len(before[1]) <= 2
    return f"^{raised}" if short and raised != "1" else ""


def _scientific(found: "regex.Match[str]") -> str:
    power = int(found[2] or found[3] or found[4])
    return written(Fraction(found[1] or 1) * Fraction(10) ** power)


def _scaled(found: "regex.Match[str]") -> str:
    """ "$5m" is five million dollars, "10k" ten thousand; "5m" five metres, and "5b" no number."""
    if found[4] in ("b", "m"):
        return str(found[0])
    return f"{found[1] or found[3]} {_SCALES[(found[2] or found[4])[0].lower()]}"


def _decimal(found: "regex.Match[str]") -> str:
    """Three quarters as a decimal, two and a third as one quotient; dates, scores and thirds stay."""
    whole, above, below = int(found[1] or 0), int(found[2]), int(found[3])
    if 0 < above < below and below in (2, 4, 5, 8, 10):
        return written(whole + Fraction(above, below))
    if found[1] and 0 < above < below < 13:
        return f"{whole * below + above}/{below}"
    return str(found[0])
