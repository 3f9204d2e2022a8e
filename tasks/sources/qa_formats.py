"""Question-answer records of public data sets, turned into examples.

`jsonl`
    question, answers (a list, or SQuAD's {text: a list}); optional id, category. Also
    stanfordnlp/web_questions on the hub.
`nq_open`
    question, answer (a list): NQ-open as JSON Lines (google-research-datasets/natural-questions) or on the
    hub.
`webquestions`
    qText, answers, qId (brmson/dataset-factoid-webquestions), or utterance, targetValue (Berant et al.,
    2013).
`triviaqa`
    Question, QuestionId, Answer {Value, Aliases} (Joshi et al., 2017); in lower case on the hub.
`freebaseqa`
    RawQuestion, Question-ID, Parses[].Answers[].AnswersName (kelvin-jiang/FreebaseQA).
"""

import re
from collections.abc import Callable, Sequence

from tasks.base import Example
from tasks.errors import DataError
from tasks.sources.faults import STRICT, Faults
from tasks.sources.identifiers import with_ids
from tasks.sources.record import Record

_Parser = Callable[[Record], Example]
_DESCRIPTION = re.compile(r'\(description (?:"((?:[^"\\]|\\.)*)"|([^\s()]+))\)')
_ACCEPTED = (
    "{question, answers}, {question, answer: [..]} (NQ-open), {qText, answers} or {utterance, targetValue} "
    "(WebQuestions), {Question, Answer: {Value, Aliases}} (TriviaQA), {RawQuestion, Parses} (FreebaseQA)"
)


def examples_from(records: Sequence[Record], format_name: str, faults: Faults = STRICT) -> list[Example]:
    """Turn the records of one source into examples.

    Parameters
    ----------
    records
        All records of the source, in order; at least one.
    format_name
        A key of `FORMATS`, or `auto`: decided by the fields of the first record that is put up with.
    faults
        What becomes of records that cannot be read.

    Returns
    -------
    list of Example
        In the order of the records, with ids by `identifiers.with_ids`.

    Raises
    ------
    DataError
        If a record is malformed, or two records share an id.
    """
    if format_name == "auto":
        format_name = _layout(records, faults)
    parse = FORMATS[format_name]
    asked: dict[str, str] = {}

    def new(record: Record) -> Example | None:
        example = parse(record)
        if parse is _triviaqa and example.example_id and asked.get(example.example_id) == example.question:
            # TriviaQA's rc configuration lists a question once for the web and once for Wikipedia.
            return None
        asked[example.example_id] = example.question
        return example

    return with_ids(records, new, faults)


def _layout(records: Sequence[Record], faults: Faults) -> str:
    """The layout of the first record that has one; those before it are told of where they are read."""
    for record in records:
        try:
            return _detect(record)
        except DataError:
            if faults is STRICT:
                raise
    return _detect(records[0])


def _detect(record: Record) -> str:
    if "RawQuestion" in record or "Parses" in record:
        return "freebaseqa"
    if "qText" in record or "utterance" in record:
        return "webquestions"
    if "Question" in record or isinstance(record.values.get("answer"), dict):
        return "triviaqa"
    if "answers" in record:
        return "jsonl"
    if isinstance(record.values.get("answer"), list):
        return "nq_open"
    if isinstance(record.values.get("answer"), str):
        raise record.error("answer", "is a string; a list of strings, called 'answers', is expected")
    if "question" in record:
        raise record.error("answers", "is missing; a list of strings is expected")
    fields = ", ".join(record.values) or "none"
    raise DataError(f"{record.where}: no known format has these fields: {fields}; accepted: {_ACCEPTED}")


def _jsonl(record: Record) -> Example:
    return Example(
        record.identifier("id") or "",
        record.optional_text("category"),
        record.text("question"),
        _answers(record),
    )


def _answers(record: Record) -> tuple[str, ...]:
    # SQuAD has its answers beside their places in the text.
    if isinstance(record.values.get("answers"), dict):
        return record.child("answers").texts("text")
    return record.texts("answers")


def _nq_open(record: Record) -> Example:
    return Example(record.identifier("id") or "", None, record.text("question"), record.texts("answer"))


def _webquestions(record: Record) -> Example:
    if "utterance" in record:
        target = record.text("targetValue")
        answers = [quoted or bare for quoted, bare in _DESCRIPTION.findall(target)]
        if not answers:
            raise record.error("targetValue", 'must look like (list (description "…"))')
        named = Record({"targetValue": [answer.replace('\\"', '"') for answer in answers]}, record.where)
        return Example("", None, record.text("utterance"), named.texts("targetValue"))
    return Example(record.identifier("qId") or "", None, record.text("qText"), record.texts("answers"))


def _triviaqa(record: Record) -> Example:
    names = ("Question", "QuestionId", "Answer", "Value", "Aliases")
    if "Question" not in record:
        names = ("question", "question_id", "answer", "value", "aliases")
    question, question_id, answer_field, value_field, aliases_field = names
    answer = record.child(answer_field)
    value = answer.text(value_field)
    if value == "<unk>":
        raise answer.error(
            value_field, "is '<unk>': TriviaQA's test split has no answers; use the validation split"
        )
    aliases = answer.texts(aliases_field) if answer.values.get(aliases_field) else ()
    references = tuple(dict.fromkeys((value, *aliases)))
    return Example(record.identifier(question_id) or "", None, record.text(question), references)


def _freebaseqa(record: Record) -> Example:
    names: list[str] = []
    for parse in record.children("Parses"):
        for answer in parse.children("Answers"):
            # An entity may lack a name in Freebase; a name may be a string or a list of one.
            if answer.values.get("AnswersName"):
                single = isinstance(answer.values["AnswersName"], str)
                names.extend((answer.text("AnswersName"),) if single else answer.texts("AnswersName"))
    if not names:
        raise record.error("Parses", "has no answer with a non-empty 'AnswersName'")
    references = tuple(dict.fromkeys(names))
    return Example(record.identifier("Question-ID") or "", None, record.text("RawQuestion"), references)


FORMATS: dict[str, _Parser] = {
    "jsonl": _jsonl,
    "nq_open": _nq_open,
    "webquestions": _webquestions,
    "triviaqa": _triviaqa,
    "freebaseqa": _freebaseqa,
}
