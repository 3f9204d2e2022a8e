"""What of a summary follows from its article, by a stand-in for a model that can tell."""

import pytest

from tasks.base import Answer
from tasks.errors import DataError
from tasks.scoring.entailment import entailed, windows
from tasks.summarization import Summarization, SummarizationConfig

ARTICLE = "Anna Ellis opened a bridge. It cost 3 million. Rain fell. Nobody came."


class Judge:
    """Probabilities by rule: the share of the hypothesis's words that the premise has."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, pairs: list[tuple[str, str]]) -> list[float]:
        self.asked += pairs
        both = [[set(text.replace(".", "").split()) for text in pair] for pair in pairs]
        return [len(premise & hypothesis) / len(hypothesis) for premise, hypothesis in both]


def test_windows_are_two_sentences_in_a_row() -> None:
    assert windows(ARTICLE) == [
        "Anna Ellis opened a bridge. It cost 3 million.",
        "It cost 3 million. Rain fell.",
        "Rain fell. Nobody came.",
    ]
    assert windows("One sentence.") == ["One sentence."] and windows("A b. C d.") == ["A b. C d."]
    assert windows("") == [""]


def test_the_best_window_counts_and_sentences_are_averaged() -> None:
    judge = Judge()
    # Each word of the first is in one window; of the second, the best window has two of four.
    assert entailed("It cost 3 million. Rain fell on Ellis.", ARTICLE, judge) == pytest.approx(0.75)
    assert len(judge.asked) == 6
    assert entailed("Anna Ellis opened a bridge.", ARTICLE, judge) == 1.0
    # A summary may join two sentences that follow each other, but not any two.
    assert entailed("Rain Nobody", ARTICLE, Judge()) == 1.0
    assert entailed("Anna Nobody", ARTICLE, Judge()) == 0.5


def test_a_loop_is_asked_about_once() -> None:
    judge = Judge()
    assert entailed("Rain fell. " * 9 + "Unheard words.", ARTICLE, judge) == pytest.approx(0.9)
    assert len(judge.asked) == 2 * 3


@pytest.mark.parametrize(("summary", "article"), [("", ARTICLE), ("  \n", ARTICLE), ("Rain fell.", "")])
def test_nothing_to_ask_is_unknown(summary: str, article: str) -> None:
    judge = Judge()
    assert entailed(summary, article, judge) is None and judge.asked == []


def answer(text: str) -> Answer:
    return Answer(text, list(range(9)), "eos", ("Anna Ellis opened a bridge.",), "prompt", ARTICLE)


def test_the_score_of_a_summary() -> None:
    task = Summarization(SummarizationConfig(names="rules", nli="some/model"))
    assert task.entailment_model == "some/model"
    before = task.score(answer("Rain fell."))
    assert "nli_entailed" not in before.scores, "nobody has been given yet"
    task.entails = Judge()
    after = task.score(answer("Rain fell."))
    assert after.scores == {**before.scores, "nli_entailed": 1.0}
    assert (after.quality, after.outcome) == (before.quality, before.outcome)
    assert "nli_entailed" not in task.score(answer("")).scores
    assert Summarization(SummarizationConfig(names="rules")).entailment_model is None


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(DataError, match=r"task\.nli is empty"):
        SummarizationConfig(nli=" ")
