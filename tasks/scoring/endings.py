"""What Korean sets behind a name without a space, and Arabic and Hebrew before one."""

import regex

_HANGUL = regex.compile(r"\p{Hangul}+")
_ARABIC = regex.compile(r"\p{Arabic}+")
_HEBREW = regex.compile(r"\p{Hebrew}+")
_PARTICLES = frozenset(
    "은 는 이 가 을 를 의 에 에서 에게 로 으로 와 과 도 만 부터 까지 이다 다 입니다 이었다 였다 에는 에도 "
    "에서는 에서도 으로는 이며 이고 이란 라고 이라고 이라는 라는 이나 처럼 보다 뿐 한테 께서 하고 이랑 "
    "이에요 예요 이었습니다 였습니다 이라 이라서 이므로 에서의 으로의 들 들은 들이 들을 들의".split()
)
# Of a name of one syllable these may make another: 독 and 독도.
_UNSURE = frozenset("이 가 의 에 로 와 과 도 만 다 들 뿐".split())
_ARABIC_PREFIXES = ("وال", "بال", "فال", "كال", "ولل", "ال", "لل", "و")
_ARTICLE = "ال"
_HEBREW_PREFIXES = ("וה", "וב", "של", "שב", "מה", "ה", "ו", "ב", "ל", "מ")


def same_word(found: str, wanted: str, first: bool, last: bool) -> bool:
    """Whether an answer's word is a reference's with a particle behind it or an article or "and" before it.

    Parameters
    ----------
    found, wanted
        Folded words.
    first, last
        The word is the first or the last of the reference.
    """
    if last and _HANGUL.fullmatch(wanted) and found.startswith(wanted):
        particle = found[len(wanted) :]
        return particle in _PARTICLES and (len(wanted) > 1 or particle not in _UNSURE)
    if _ARABIC.fullmatch(wanted) and _ARABIC.fullmatch(found):
        return _bare(found, first) == _bare(wanted, False)
    if first and len(wanted) > (3 if last else 1) and _HEBREW.fullmatch(wanted) and found.endswith(wanted):
        return found[: -len(wanted)] in _HEBREW_PREFIXES
    return False


def _bare(word: str, joined: bool) -> str:
    """An Arabic word without its article, and without what may be joined to the first of several."""
    prefixes = _ARABIC_PREFIXES if joined else (_ARTICLE,)
    prefix = next((one for one in prefixes if word.startswith(one) and len(word) - len(one) > 2), "")
    return word[len(prefix) :]
