"""What a text is made of, so that two ways to write one thing compare equal: words, numbers, signs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import regex

from tasks.scoring.folding import fold
from tasks.scoring.plain import PICTURES, plain
from tasks.scoring.units import NONE, TOUCHING

_SPACELESS = r"\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_CHARACTER = r"[\p{L}\p{M}\p{N}]"
# What continues a word: a letter of a script with spaces.
_WORDLY = rf"(?![{_SPACELESS}\p{{Katakana}}]){_CHARACTER}"
_LAST = rf"(?!{_WORDLY}|\^-?\d)"
_FIRST = rf"(?<!{_CHARACTER})(?<![{_SPACELESS}\p{{Katakana}}])"
_TOKEN = regex.compile(
    "|".join(
        (
            r"(?P<version>(?<![\w.])\d+(?:\.\d+){2,}(?!\w))",
            r"(?P<clock>(?<![\w:.])\d{1,4}:\d{1,4}(?::\d{2})?(?![\w:]))",
            r"(?P<ratio>(?<![\w.,/])\d{1,3}/\d{1,3}(?![\w/]|[.,]\d)|[√∛]\d+(?:\.\d+)?)",
            # A minus stands before the number and behind nothing; a decimal comma has two digits at most.
            rf"(?P<number>(?:(?<![\p{{L}}\p{{M}}\p{{N}})\]%.,/])(?<!\w'|\d )-)?"
            r"(?:(?<![\w.])\.\d+|\d+(?:\.\d+|(?<!\d,\d{1,3}),\d{1,2}(?![\d,]))?))"
            rf"(?P<suffix>(?:{'|'.join(TOUCHING)})(?:\^[23]|[23])?{_LAST})?{_LAST}",
            # U.S., D.C, J. R. R.
            rf"(?P<short>{_FIRST}(?:\p{{Lu}}\.(?: \p{{Lu}}\.)+|(?:\p{{L}}\.){{2,}}(?:\p{{L}}{_LAST})?"
            rf"|\p{{L}}\.\p{{L}}{_LAST}))",
            r"(?P<initial>(?<=\p{Lu}[\p{L}\p{M}]{1,20} )\p{Lu}\.(?= \p{Lu}))",
            rf"(?P<dotted>(?<![\p{{L}}\p{{N}}.])\.(?:\p{{Lu}}{{2,}}|\p{{Ll}}{{2,}}|Net){_LAST})",
            rf"(?P<signed>{_FIRST}(?:AB?|B|O|C|D|Rh|RH)-(?![\w-])|{_FIRST}(?<!\*)A\*(?![\w*]))",
            rf"(?P<picture>\p{{RI}}\p{{RI}}|{PICTURES})",
            r"(?P<kana>[\p{Katakana}ー]+)",
            rf"(?P<letter>[{_SPACELESS}]\p{{M}}*)",
            # C++ and F# are words, x^-2 is one.
            rf"(?P<word>(?:{_WORDLY}|\^-(?=\d)|\^)+(?:(?:\+{{1,2}}|[#♭]){_LAST})?)",
            r"(?P<sign>[^\s\p{L}\p{M}\p{N}])",
        )
    )
)
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
_HAN = regex.compile(r"\p{Han}")
# Between two words these may stand or not: Spider-Man, O'Brien, Node.js.
_GLUE = frozenset("-'.")
# Behind these and a hyphen stands something else than what it names.
_PREFIXES = frozenset("non anti un semi quarter sub half step vice ex north south".split())
# "St." is a saint or a street; these two are not the same.
_SHORTENED = {
    **{"st": "saint street", "mt": "mount", "mts": "mountains", "ft": "fort", "dr": "doctor", "jr": "junior"},
    **{"sr": "senior", "mr": "mister", "prof": "professor", "gen": "general", "col": "colonel"},
    **{"capt": "captain", "lt": "lieutenant", "sgt": "sergeant", "gov": "governor", "sen": "senator"},
    **{"rep": "representative", "rev": "reverend", "pres": "president", "bros": "brothers", "co": "company"},
    **{"corp": "corporation", "inc": "incorporated", "ltd": "limited", "dept": "department"},
    **{"univ": "university", "vs": "versus", "ave": "avenue", "blvd": "boulevard", "rd": "road"},
}
# A full stop behind these ends no sentence.
_ABBREVIATIONS = frozenset(_SHORTENED) | frozenset(
    "mrs ms hon no etc fig vol op approx ca al messrs nos sq cu".split()
)
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_UMLAUT = regex.compile("[äöüøå]")

# What makes one thing of a letter and what is beside it, as in X-ray, e-mail, R&B, A/B; "B's" is of B.
_TIED_LEFT = regex.compile(r"[\p{L}\p{N}](?:\.?[-'/&@+·]|\.)$")
_TIED_RIGHT = regex.compile(r"[-/&@.·][\p{L}\p{N}]|'(?!s(?!\w))\p{L}|\. \p{Ll}| \d{1,2}(?![\w.,%])")
_NAMED_NUMBER = regex.compile(r"(?:(?<!\p{L})(?:\p{L}|\p{Lu}{2,8})-|\d[×:'])$")
_NUMBER_NAMING = regex.compile(r"-\p{L}(?!\p{L})|[×:']\d")
_SENTENCE_END = regex.compile(r"\.[\"'”’)\]]*\s")
_PARTED = regex.compile(r"[.,;:!?()\[\]—…\n]|[–-]\s|\s[–-]")


@dataclass(frozen=True)
class Token:
    """A word, a number or a sign.

    Attributes
    ----------
    forms : frozenset of str
        Spellings that are the same thing; those of an ordinal begin with "#".
    raw, written : str
        Folded, and as it stands in the text.
    behind : frozenset of str
        Spellings that hold behind another word only: a Roman numeral's value, the day behind a month.
    value : Fraction or None
        Of a cardinal number.
    units : frozenset of str
        The units that a number can have; empty if there is none.
    measures : bool
        A word that is part of the unit of the number before it.
    optional : str
        "initial" of a name or "day" of a date, which others leave out.
    begins, ends : bool
        A reference may begin here, and end here.
    glued : str
        The mark that alone separates this from the token before, or the mark itself if it touches one; else
        empty.
    parted : str
        What parts this from the word before: "." a sentence's end, "," another mark, "–" the dash of a range,
        "+" nothing at all; empty for white space and marks within a word.
    sign : bool
        Neither word nor number; of no weight beside words.
    """

    forms: frozenset[str]
    raw: str
    written: str = ""
    behind: frozenset[str] = frozenset()
    value: Fraction | None = None
    units: frozenset[str] = NONE
    measures: bool = False
    optional: str = ""
    begins: bool = True
    ends: bool = True
    glued: str = ""
    parted: str = ""
    sign: bool = False


def parts(text: str) -> list[Token]:
    """Split text into words, numbers and signs, each as it stands alone."""
    whole = plain(text)
    japanese = _KANA.search(whole) is not None
    found: list[Token] = []
    end, ended = 0, 0
    for match in _TOKEN.finditer(whole):
        # All but the parts of a number touch what is before them.
        touching = 0 < match.start() == end
        for token in _read(match):
            if touching:
                token = _touching(token, found, japanese)
            if not token.sign and not token.parted and ended:
                last = next(one for one in reversed(found) if not one.sign)
                token = replace(token, parted=_parted(whole, ended, match.start(), last))
            found.append(token if token.sign else _tied(token, whole, match))
        end = match.end()
        ended = ended if found[-1].sign else end
    return found


def _touching(token: Token, found: Sequence[Token], japanese: bool) -> Token:
    """A token that nothing separates from those before it."""
    token = replace(token, glued=token.raw if token.sign else _mark_before(found))
    prefixed = not token.sign and token.glued == "-" and found[-2].raw in _PREFIXES
    # In Japanese another such letter before it makes another word: 東京都 is not 京都.
    continued = japanese and _HAN.match(token.raw) and _HAN.match(found[-1].raw)
    return replace(token, begins=False) if prefixed or continued else token


def folded_words(text: str) -> list[str]:
    """Return the words and numbers of a text, folded; characters where a script has no spaces.

    A text without any has its signs instead.
    """
    found = list(_TOKEN.finditer(plain(text)))
    read = [fold(match[0]) for match in found if match["sign"] is None and match["picture"] is None]
    return read or [match[0] for match in found]


def worded(text: str) -> Token:
    """Return the token of a word."""
    raw = fold(text)
    forms = {raw, *_SHORTENED.get(raw, "").split()}
    lower = text.lower()
    if _UMLAUT.search(lower):
        forms.add(fold(lower.translate(_UMLAUTS)))
    return Token(frozenset(forms), raw, text)


def _parted(whole: str, start: int, end: int, last: Token) -> str:
    gap = whole[start : min(end, start + 40)]
    if gap in ("–", "-") and last.value is not None and whole[end].isdecimal():
        return "–"
    if not last.written or (len(last.raw) > 1 and last.raw not in _ABBREVIATIONS):
        if _SENTENCE_END.match(gap):
            return "."
    elif last.raw in _ABBREVIATIONS and gap.startswith("."):
        gap = gap[1:]
    return "," if _PARTED.search(gap) else ""


def _tied(token: Token, whole: str, match: "regex.Match[str]") -> Token:
    """A letter or number that another makes a name of: X-ray, F-16, 4×4."""
    before, after = whole[max(0, match.start() - 10) : match.start()], whole[match.end() : match.end() + 5]
    if token.value is not None or match["clock"] is not None:
        small = token.value is None or abs(token.value) < 1000
        if small and _NAMED_NUMBER.search(before):
            token = replace(token, begins=False)
        return replace(token, ends=False) if _NUMBER_NAMING.match(after) else token
    if match["initial"] is not None:
        return replace(token, begins=False)
    short = len(token.written) == 1 or (
        len(token.written) < 4 and token.written.isupper() and "&" in before[-1:] + after[:1]
    )
    if match["word"] is None or not short:
        return token
    left = _TIED_LEFT.search(before) is not None
    return replace(token, begins=token.begins and not left, ends=_TIED_RIGHT.match(after) is None)


def _mark_before(found: Sequence[Token]) -> str:
    """The one mark between two words that touch it."""
    if len(found) < 2 or not found[-1].sign or found[-2].sign:
        return ""
    return found[-1].raw if found[-1].raw in _GLUE and found[-1].glued else ""


def _read(match: "regex.Match[str]") -> Iterator[Token]:
    text = match[0]
    if match["number"] is not None:
        yield from _number(match["number"], match["suffix"] or "")
    elif match["sign"] is not None or match["picture"] is not None:
        # "&" is read as "and", and is not written so. A sign between words may join them.
        yield Token(frozenset({"and"} if text == "&" else {text}), text, sign=text != "&")
    elif match["short"] is not None or match["initial"] is not None:
        initials = match["initial"] is not None or " " in text
        yield replace(worded(regex.sub(r"[. ]", "", text)), optional="initial" if initials else "")
    else:
        yield worded(text)


def _number(digits: str, suffix: str) -> Iterator[Token]:
    if len(digits) > 100:
        # No number that anybody means.
        yield worded(digits + suffix)
        return
    if suffix in ("st", "nd", "rd", "th"):
        text = digits + suffix
        yield Token(frozenset({text, f"#{int(digits)}"} if digits.isdigit() else {text}), text)
        return
    digits = regex.sub(r"^(-?)\.", r"\g<1>0.", digits.replace(",", "."))
    whole, _, part = digits.partition(".")
    text = digits if part.strip("0") else whole
    yield Token(frozenset({text}), text, digits, value=Fraction(text))
    if suffix:
        yield replace(worded(suffix), parted="+")
