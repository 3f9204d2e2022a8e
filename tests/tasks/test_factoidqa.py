"""Prompts and scores of factoid question answering."""

from typing import Any

import pytest

from tasks import registry
from tasks.base import Answer, Example
from tasks.errors import DataError
from tasks.factoidqa import FactoidQA, FactoidQAConfig

EXAMPLE = Example("x", None, "Which city is the capital of Peru?", ("Lima",))


def answer(
    text: str, output_ids: list[int] | None = None, finish_reason: str = "eos", **fields: Any
) -> Answer:
    """Return an answer to EXAMPLE."""
    ids = list(range(len(text.split()) + 1)) if output_ids is None else output_ids
    return Answer(text, ids, finish_reason, ("Lima",), "prompt", fields.get("question", EXAMPLE.question))


@pytest.fixture(scope="module")
def task() -> FactoidQA:
    return FactoidQA(FactoidQAConfig())


@pytest.fixture
def few_shot(write_jsonl: Any) -> FactoidQA:
    """A few-shot task with a calibration file of its own."""
    pool = [
        {"id": f"c{index}", "question": f"Q{index}?", "answers": [f"A{index}", "B"]} for index in range(8)
    ]
    scored = write_jsonl({"question": EXAMPLE.question, "answers": ["Lima"]}, name="scored.jsonl")
    config = FactoidQAConfig(
        source="file",
        path=scored,
        calibration_path=write_jsonl(*pool, name="pool.jsonl"),
        prompt="fewshot",
        shots=3,
    )
    return FactoidQA(config)


def test_chat_prompt_asks_for_a_sentence(task: FactoidQA) -> None:
    content = f"Answer in one short sentence.\n{EXAMPLE.question}"
    assert task.prompt(EXAMPLE, 0, []) == [{"role": "user", "content": content}]
    assert (task.prompt_style, task.stop_strings, task.max_new_tokens) == ("chat", (), 48)


def test_without_instruction_the_prompt_is_the_question() -> None:
    task = FactoidQA(FactoidQAConfig(instruction=""))
    assert task.prompt(EXAMPLE, 0, []) == [{"role": "user", "content": EXAMPLE.question}]


def test_few_shot_prompt(few_shot: FactoidQA) -> None:
    prompt = few_shot.prompt(EXAMPLE, 0, [])
    assert isinstance(prompt, str)
    blocks = prompt.split("\n\n")
    assert len(blocks) == 4
    assert blocks[-1] == f"Question: {EXAMPLE.question}\nAnswer:"
    for block in blocks[:-1]:
        number = block.removeprefix("Question: Q")[0]
        assert block == f"Question: Q{number}?\nAnswer: A{number}"
    assert (few_shot.prompt_style, few_shot.stop_strings) == ("fewshot", ("\n",))


def test_solved_questions_do_not_calibrate(few_shot: FactoidQA) -> None:
    prompt = few_shot.prompt(EXAMPLE, 0, [])
    calibration = few_shot.calibration()
    assert len(calibration) == 5
    assert not any(example.question in prompt for example in calibration)


def test_the_choice_of_solved_questions_ignores_their_order(few_shot: FactoidQA, write_jsonl: Any) -> None:
    pool = [
        {"id": f"c{index}", "question": f"Q{index}?", "answers": [f"A{index}"]}
        for index in reversed(range(8))
    ]
    config = FactoidQAConfig(
        source="file",
        path=few_shot.config.path,
        calibration_path=write_jsonl(*pool, name="reversed.jsonl"),
        prompt="fewshot",
        shots=3,
    )
    assert FactoidQA(config).prompt(EXAMPLE, 0, []) == few_shot.prompt(EXAMPLE, 0, [])


def test_zero_shots_need_no_calibration_questions() -> None:
    task = FactoidQA(FactoidQAConfig(source="file", path="absent", prompt="fewshot", shots=0))
    assert task.prompt(EXAMPLE, 0, []) == f"Question: {EXAMPLE.question}\nAnswer:"


def test_more_shots_than_questions_is_an_error(few_shot: FactoidQA) -> None:
    config = FactoidQAConfig(
        source="file",
        path=few_shot.config.path,
        calibration_path=few_shot.config.calibration_path,
        prompt="fewshot",
        shots=9,
    )
    with pytest.raises(DataError, match=r"task\.shots is 9, but there are only 8"):
        FactoidQA(config).prompt(EXAMPLE, 0, [])


def test_there_is_one_turn(task: FactoidQA) -> None:
    with pytest.raises(ValueError, match="single turn"):
        task.prompt(EXAMPLE, 1, ["Lima"])


LOOP = [1, 2, 3] * 16


@pytest.mark.parametrize(
    ("given", "outcome", "collapsed"),
    [
        (answer("The capital of Peru is Lima."), "correct", False),
        (answer("I'm not sure, but Lima."), "correct", False),
        (answer("I don't know, Lima?"), "correct", False),
        (answer("Lima Lima Lima", LOOP, "length"), "correct", True),
        (answer("Quito Quito Quito", LOOP, "length"), "collapsed", True),
        (answer("I don't know. I don't know.", LOOP), "collapsed", True),
        (answer("", [2]), "collapsed", True),
        (answer("I don't know."), "abstained", False),
        (answer("The capital of Peru is Quito."), "wrong", False),
        (answer("The limas of Peru"), "wrong", False),
    ],
)
def test_outcomes(task: FactoidQA, given: Answer, outcome: str, collapsed: bool) -> None:
    score = task.score(given)
    assert (score.outcome, score.collapsed) == (outcome, collapsed)
    assert score.quality == float(outcome == "correct") == score.scores["contains"]


def test_scores_hold_every_number(task: FactoidQA) -> None:
    score = task.score(answer("The capital is Lima.", [1, 2, 3, 4, 5, 6], "length"))
    assert score.scores == {
        "contains": 1.0,
        "exact_match": 0.0,
        "f1": pytest.approx(0.5),
        "abstained": 0.0,
        "reference_in_question": 0.0,
        "repeated_4gram_share": 0.0,
        "empty": 0.0,
        "no_eos": 1.0,
    }
    assert task.score(answer("lima.")).scores["exact_match"] == 1.0
    assert task.score(answer("No.", question="Is Lima in Peru?")).scores["reference_in_question"] == 1.0


def test_scoring_needs_no_data() -> None:
    config = FactoidQAConfig(source="file", path="absent.jsonl", prompt="fewshot")
    assert FactoidQA(config).score(answer("Lima")).outcome == "correct"


def test_the_registry_makes_it() -> None:
    assert "factoidqa" in registry.names()
    assert isinstance(registry.create("factoidqa"), FactoidQA)
