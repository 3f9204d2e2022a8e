"""One way to write dates, times of day, eras and ranges."""

import regex

_MONTHS = "January February March April May June July August September October November December".split()
MONTHS = frozenset(month.lower() for month in _MONTHS)
_SHORT = {month[:3].lower(): month for month in _MONTHS} | {"sept": "September"}
_MONTH = "|".join(_MONTHS)
_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth twenty-first twenty-second twenty-third "
    "twenty-fourth twenty-fifth twenty-sixth twenty-seventh twenty-eighth twenty-ninth thirtieth thirty-first"
).split()
_DAYS = {word: day for day, word in enumerate(_ORDINALS, 1)}
_WORD = "|".join(sorted(_ORDINALS, key=len, reverse=True))

_ISO = regex.compile(r"(?<![\w.-])(\d{4})([-/])(\d{2})\2(\d{2})(?:T(?=\d)|(?![\w/-]))")
_DOTTED = regex.compile(r"(?<![\w.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?!\.?\w)")
_SLASHED = regex.compile(r"(?<![\w/])(\d{1,2})/(\d{1,2})/(\d{4})(?![\w/])")
_DASHED = regex.compile(r"(?<![\w-])(\d{1,2})-(\p{L}{3,9})-(\d{4})(?![\w-])")
_EASTERN = regex.compile(r"(?<!\d)(?:(\d{4})[年년] ?)?(\d{1,2})[月월](?: ?(\d{1,2})[日일])?")
_EASTERN_YEAR = regex.compile(r"(?<=(?<!\d)\d{3,4})[年년]")
_BRIEF = regex.compile(
    r"(?<!\w)(?:(?<=\d )(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)(?:\.(?= ?\d)|(?!\w|\.\w))"
    r"|(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?(?= \d))",
    regex.IGNORECASE,
)
_DAY = regex.compile(
    rf"(?<![\w.,/–-])(?:(\d{{1,2}})(?:st|nd|rd|th)?(?: (?:day )?of)?|({_WORD}) (?:day )?of) ({_MONTH})(?!\w)",
    regex.IGNORECASE,
)
_BEHIND = regex.compile(
    rf"(?<!\w)({_MONTH}),? (?:the )?(?:(\d{{1,2}})(?:st|nd|rd|th)|({_WORD}))(?!\w)", regex.IGNORECASE
)
_YEAR_FIRST = regex.compile(rf"(?<![\w.,])(\d{{4}}),? ({_MONTH}) (\d{{1,2}})(?!\w|,? \d{{4}}|[.,–-]\d)")
_OF_YEAR = regex.compile(rf"(?<!\w)({_MONTH}),? of (?:the year )?(?=\d{{3,4}}(?!\d))", regex.IGNORECASE)

_HALVES = regex.compile(r"(\d) ?([AaPp])(?:\. ?[Mm]\.?|[Mm])(?!\w)")
_DOTTED_TIME = regex.compile(r"(?<![\w.])(\d{1,2})\.([0-5]\d)(?= [ap]m(?!\w))")
_SCORE = regex.compile(r"(?<![\w:.])(\d):(?=\d(?![\d:.]))")
_ERA = regex.compile(r"(?<!\w)(A\.? ?D\.?|B\.? ?C\.? ?E\.?|B\.? ?C\.?|C\.? ?E\.?) ?(\d{1,4})(?!\w|[.,]\d)")
_DOTTED_ERA = regex.compile(r"(?<=\d ?)(A\.D|B\.C\.E|B\.C|C\.E)(?:\.(?=\s*[^\s\p{Lu}]|\s*$)|\.?(?!\w))")

_MINUS = regex.compile(r"(?<![\w)\]%.,/]|[\d%] )–(?=\d)")
_BETWEEN = regex.compile(r"(?<=(?<!\w)between \d{1,9}) and (?=\d)", regex.IGNORECASE)
_TO = regex.compile(r"(?<=(?<![\p{L}\d])\d{1,9})(?: (?:to|until|till|through) | ?[–—] ?| - )(?=\d)")
# Figures that fall are no range but a score.
_RESULT = regex.compile(r"(?<!from )(?<![\w.,:/$€£¥₹–-])(\d{1,2})[-–](\d{1,2})(?![\w:/–-]|[.,]\d|°|%)")
_SHORTENED = regex.compile(r"(?<![\w.,/–-])(\d{2})(\d{2})[-–/](\d{2})(?![\w/–-]|[.,:]\d)")


def dated(text: str) -> str:
    """Return text with every date as "May 8, 1945", "10 pm", "44 BC", and every range as "1914–1918"."""
    text = _ISO.sub(lambda found: _date(found, int(found[3]), int(found[4]), found[1]), text)
    text = _DOTTED.sub(lambda found: _date(found, int(found[2]), int(found[1]), found[3]), text)
    text = _SLASHED.sub(_slashed, text)
    text = _EASTERN_YEAR.sub(" ", _EASTERN.sub(_eastern, _DASHED.sub(r"\1 \2 \3", text)))
    text = _BRIEF.sub(lambda found: _SHORT[(found[1] or found[2]).lower()], text)
    text = _DAY.sub(lambda found: f"{found[3]} {found[1] or _DAYS[found[2].lower()]}", text)
    text = _BEHIND.sub(lambda found: f"{found[1]} {found[2] or _DAYS[found[3].lower()]}", text)
    text = _OF_YEAR.sub(r"\1 ", _YEAR_FIRST.sub(r"\2 \3 \1", text))
    text = _HALVES.sub(lambda found: f"{found[1]} {found[2].lower()}m", text)
    text = _SCORE.sub(r"\1–", _DOTTED_TIME.sub(r"\1:\2", text))
    text = _ERA.sub(lambda found: f"{found[2]} {_letters(found[1])}", text)
    text = _DOTTED_ERA.sub(lambda found: _letters(found[1]), text)
    text = _TO.sub("–", _BETWEEN.sub("–", _MINUS.sub("-", text)))
    text = _RESULT.sub(_result, text)
    return _SHORTENED.sub(_lengthen, text)


def _letters(era: str) -> str:
    return era.replace(".", "").replace(" ", "")


def _date(found: "regex.Match[str]", month: int, day: int, year: str) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return str(found[0])
    return f"{_MONTHS[month - 1]} {day}, {year}" + (" " if found[0].endswith("T") else "")


def _eastern(found: "regex.Match[str]") -> str:
    month, day = int(found[2]), int(found[3] or 1)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return str(found[0])
    rest = (f" {day}" if found[3] else "") + (f", {found[1]}" if found[1] else "")
    return f" {_MONTHS[month - 1]}{rest} "


def _slashed(found: "regex.Match[str]") -> str:
    """Which is the month shows where the other is none; else the year alone is sure."""
    first, second = int(found[1]), int(found[2])
    if first <= 12 and (second > 12 or first == second):
        return _date(found, first, second, found[3])
    return _date(found, second, first, found[3]) if first > 12 else f"{found[1]}/{found[2]}, {found[3]}"


def _result(found: "regex.Match[str]") -> str:
    return f"{found[1]}:{found[2]}" if int(found[1]) >= int(found[2]) else str(found[0])


def _lengthen(found: "regex.Match[str]") -> str:
    """The years 1914-18."""
    whole = f"{found[1]}{found[2]}–{found[1]}{found[3]}"
    return whole if found[3] > found[2] and int(found[1]) >= 10 else str(found[0])
