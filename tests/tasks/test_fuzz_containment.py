"""Containment of any text in any other: no exception, nothing lost, nothing gained from a sentence "
"beside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import often
from tasks.scoring.text import contains_alias

PIECES = (
    "5 -5 10 1.5 2,5 1,000 $ € % km m² - – / : . , ' ( ) A B I X C++ .NET May 8 1945 12th half a "
    "quarter million "
    "two and one third of Charles V the é Straße 東 京 서울 القاهرة 5m 10k am pm BC AD 10:30 3/4 ½ ² ¹ "
    "[5] St. U.S. "
    "& + # ° √ × x 2.5e6 10^6 to between point minus O negative sharp us who 👩\u200d🚀 -ve <b> \\frac{1}{2}"
).split()
ANY = st.text(max_size=12)
PIECED = st.lists(st.sampled_from(PIECES), min_size=1, max_size=7).flatmap(
    lambda pieces: st.sampled_from([" ".join(pieces), "".join(pieces)])
)
# Sentences that begin with what could belong to a number, a letter or a name in the sentence before.
BESIDE = (
    "It was quiet | Million people came | I think so | Half of them left | May came early | "
    "Kilometres away | "
    "And a half more | Percent is a word | B was there | X is unknown | Positive people | "
    "Minus that | To be | "
    "Point one is this | Hundred of them | 11 people came | 8 of them | II was better | Dollars matter | "
    "Sharp knives | Of the year | BC is a province | PM Thatcher"
).split(" | ")
WORDS = (
    "5 -5 10 1.5 $5 5% 5 km 20 A B I X C++ Charles World War May 8 1945 12th half a quarter million "
    "two and one of V "
    "10 am BC 3/4 2½ 10² vitamin type O Apollo hundred twenty point minus nineteen forty between to is"
).split()
ASKED = (
    "5 | 10 | 5 km | $5 | 5% | -5 | Charles I | World War I | Vitamin A | A | B | I | X | O | 1945 | "
    "May 8 | May 1945 | "
    "8 May 1945 | 2.5 | 1.5 million | 5 million | Apollo 11 | World War II | C++ | 10 am | 44 BC | "
    "Type B | C | A+ | "
    "B- | C sharp | 21 | 100 | 20 dollars | Charles V | Charles II | 1/2 | 0.5 | 1.1 | 65 | 19"
).split(" | ")


@often(1000)
@given(st.one_of(ANY, PIECED))
def test_a_text_has_itself(text: str) -> None:
    assert contains_alias(text, text)


@often(1000)
@given(st.one_of(ANY, PIECED), st.one_of(ANY, PIECED))
def test_any_text_can_be_asked_of_any(text: str, alias: str) -> None:
    assert contains_alias(text, alias) in (True, False)


@pytest.mark.parametrize("alias", ASKED)
def test_an_answer_in_a_sentence_is_found(alias: str) -> None:
    assert contains_alias(f"The answer is {alias}.", alias)
    assert contains_alias(f"{alias}.", alias)


@often(1000)
@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), st.sampled_from(BESIDE), st.sampled_from(ASKED)
)
def test_a_sentence_beside_makes_nothing_right(words: list[str], beside: str, alias: str) -> None:
    answer = " ".join(words)
    answer = answer[0].upper() + answer[1:] + "."
    if not contains_alias(answer, alias) and not contains_alias(f"{beside}.", alias):
        assert not contains_alias(f"{answer} {beside}.", alias)
        assert not contains_alias(f"{beside}. {answer}", alias)
