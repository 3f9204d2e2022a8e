"""Every public format is read, by name and by detection, into the same kind of example."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.base import Example
from tasks.sources.files import read_records
from tasks.sources.qa_formats import FORMATS, examples_from

Write = Callable[..., str]

TRIVIAQA: dict[str, Any] = {
    "Data": [
        {
            "Answer": {
                "Aliases": ["Sunset Blvd", "Sunset Boulevard"],
                "Type": "X",
                "Value": "Sunset Boulevard",
            },
            "Question": "Which musical is named after a street?",
            "QuestionId": "tc_33",
            "SearchResults": [],
        }
    ],
    "Domain": "Web",
    "Version": 1.0,
}
FREEBASEQA = {
    "Dataset": "FreebaseQA-eval",
    "Version": "1.0",
    "Questions": [
        {
            "Question-ID": "FreebaseQA-eval-0",
            "RawQuestion": "Who was the first man on the moon?",
            "ProcessedQuestion": "who was the first man on the moon",
            "Parses": [
                {
                    "Parse-Id": "FreebaseQA-eval-0.P0",
                    "PotentialTopicEntityMention": "moon",
                    "Answers": [
                        {"AnswersMid": "m.1", "AnswersName": ["neil armstrong"]},
                        {"AnswersMid": "m.2", "AnswersName": None},
                    ],
                },
                {"Parse-Id": "P1", "Answers": [{"AnswersMid": "m.1", "AnswersName": "neil armstrong"}]},
            ],
        }
    ],
}
WEBQUESTIONS = [{"qId": "wqr1", "answers": ["Jaxon", "Jazmyn"], "qText": "who is the brother?"}]
WEBQUESTIONS_BERANT = [
    {
        "url": "http://x",
        "targetValue": '(list (description "St. John\'s") (description Paris) (description "a \\"b\\""))',
        "utterance": "where is it?",
    }
]

CASES = [
    (
        "jsonl",
        [{"id": 7, "category": "capital", "question": "Capital of France?", "answers": ["Paris", "Paris"]}],
        Example("7", "capital", "Capital of France?", ("Paris",)),
    ),
    (
        "nq_open",
        [{"question": "when was it", "answer": ["1972", "December 1972"]}],
        Example("58e7ff5ba0d7", None, "when was it", ("1972", "December 1972")),
    ),
    ("webquestions", WEBQUESTIONS, Example("wqr1", None, "who is the brother?", ("Jaxon", "Jazmyn"))),
    (
        "webquestions",
        WEBQUESTIONS_BERANT,
        Example("4540a8b7ea51", None, "where is it?", ("St. John's", "Paris", 'a "b"')),
    ),
    (
        "triviaqa",
        TRIVIAQA,
        Example("tc_33", None, "Which musical is named after a street?", ("Sunset Boulevard", "Sunset Blvd")),
    ),
    (
        "freebaseqa",
        FREEBASEQA,
        Example("FreebaseQA-eval-0", None, "Who was the first man on the moon?", ("neil armstrong",)),
    ),
]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("detect", [True, False])
@pytest.mark.parametrize(("format_name", "document", "expected"), CASES)
def test_documents(
    write_json: Write, format_name: str, document: Any, expected: Example, detect: bool, indent: int | None
) -> None:
    records = read_records(Path(write_json(document, indent=indent)))
    assert examples_from(records, "auto" if detect else format_name) == [expected]


@pytest.mark.parametrize(("format_name", "document", "expected"), CASES[:3])
def test_the_same_records_as_json_lines(
    write_jsonl: Write, format_name: str, document: Any, expected: Example
) -> None:
    records = read_records(Path(write_jsonl(*document)))
    assert examples_from(records, format_name) == [expected]


def test_every_format_has_a_case() -> None:
    assert {format_name for format_name, _, _ in CASES} == set(FORMATS)


def test_a_question_without_id_gets_one_from_its_text_and_a_number_if_it_repeats(write_jsonl: Write) -> None:
    first = {"question": "when was it", "answer": ["1972"]}
    other = {"question": "where was it", "answer": ["Rome"]}
    ids = [
        example.example_id
        for example in examples_from(read_records(Path(write_jsonl(first, other, first))), "auto")
    ]
    assert ids[0] == "58e7ff5ba0d7"
    assert ids[2] == "58e7ff5ba0d7-2"
    moved = examples_from(read_records(Path(write_jsonl(other, first))), "auto")
    assert [example.example_id for example in moved] == [ids[1], ids[0]]


def test_a_question_that_triviaqa_lists_for_web_and_wikipedia_counts_once(write_json: Write) -> None:
    document = {"Data": TRIVIAQA["Data"] * 2}
    assert len(examples_from(read_records(Path(write_json(document))), "auto")) == 1


def test_line_separators_inside_strings_and_a_byte_order_mark_are_harmless(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    line = '{"question": "Which\u2028one\u0085is it?", "answers": ["this"]}'
    path.write_bytes(f"\ufeff{line}\r\n\r\n{line.replace('Which', 'What')}\r\n".encode())
    examples = examples_from(read_records(path), "auto")
    assert [example.question for example in examples] == [
        "Which\u2028one\u0085is it?",
        "What\u2028one\u0085is it?",
    ]


def test_a_document_with_one_item_a_line_is_not_taken_for_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    item = json.dumps(TRIVIAQA["Data"][0])
    path.write_text(f'{{"Data": [\n{item}\n]}}\n')
    assert [example.example_id for example in examples_from(read_records(path), "auto")] == ["tc_33"]
