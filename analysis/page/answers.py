"""The answers of a run as the page stores them: texts once, rows as lists, the telling ones first."""

import math
from typing import Any

import pandas as pd

from runners.schema import RIGHT, WRONG

# What became of an answer, in the order in which answers are shown.
CHANGES = ("new wrong", "collapsed", "abstained", "wrong", "repaired", "right", "not scored")
# Above this a run shows only the answers that come first, so that a page stays small enough to open.
MOST_ANSWERS = 200
# Of all runs together, so that a page of a thousand runs opens too; but a few of each.
MOST_TOGETHER, LEAST_ANSWERS = 20_000, 10

_TEXTS = ("question", "prompt", "full_output_text", "output_text")
_PLAIN = (
    *(
        "example_id",
        "turn",
        "outcome",
        "full_outcome",
        "quality",
        "full_quality",
        "collapsed",
        "full_collapsed",
    ),
    *("output_tokens", "full_output_tokens", "finish_reason", "full_finish_reason"),
    *("prefill_s", "decode_s", "full_prefill_s", "full_decode_s"),
)
# What tells how telling an answer is.
_ORDERED = ("outcome", "full_outcome", "collapsed", "quality", "full_quality", "example_id", "turn")
COLUMNS = ("change", *_TEXTS, *_PLAIN, "reference")
# What is read of the results.
SAMPLE_COLUMNS = ("run_id", *COLUMNS[1:])


class Texts:
    """Texts by number; prompts, references and the full model's answers recur, and are kept once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: Any) -> int | None:
        """Return the number of a text; None for what is no text."""
        return self._numbers.setdefault(text, len(self._numbers)) if isinstance(text, str) else None

    def all(self) -> list[str]:
        """Return the texts in the order of their numbers."""
        return list(self._numbers)


def change(outcome: str | None, full_outcome: str | None, collapsed: bool | None) -> str:
    """Return one of `CHANGES`: what the answer is, seen from the full model's answer to the same question.

    New wrong is wrong where the full model is right, repaired the other way round. An answer without an
    outcome (an open question without a judge) can still be known to have collapsed.
    """
    if outcome in WRONG:
        return "new wrong" if full_outcome in RIGHT else "wrong"
    if outcome in RIGHT:
        return "right" if full_outcome is None or full_outcome in RIGHT else "repaired"
    if outcome == "collapsed" or (outcome is None and collapsed):
        return "collapsed"
    return "abstained" if outcome == "abstained" else "not scored"


def most_answers(runs: int) -> int:
    """Return how many answers of each run a page of so many runs shows."""
    return min(MOST_ANSWERS, max(LEAST_ANSWERS, MOST_TOGETHER // max(runs, 1)))


def answer_rows(
    samples: pd.DataFrame, texts: Texts, most: int = MOST_ANSWERS
) -> tuple[list[list[Any]], dict[str, int]]:
    """Return the answers of one run, and how many there are of each change.

    Parameters
    ----------
    samples
        Rows of `load_samples` that belong to one run.
    texts
        Where texts are kept; it grows.
    most
        Answers that are shown.

    Returns
    -------
    rows : list of list
        At most `most` rows of `COLUMNS`, in the order of `CHANGES`, the largest losses of quality
        first; some of every change. Texts are numbers, references lists of numbers, what is unknown is None.
    counts : dict
        Of all answers, also of those without a row.
    """
    short = [
        {"place": place} | {name: _plain(value) for name, value in row.items()}
        for place, row in enumerate(samples[[*_ORDERED]].to_dict(orient="records"))
    ]
    for one in short:
        one["change"] = change(one["outcome"], one["full_outcome"], one["collapsed"])
    counts = {name: sum(one["change"] == name for one in short) for name in CHANGES}
    chosen = _some_of_every_change(sorted(short, key=_order), counts, most)
    # Only now the rest of those that are shown: texts are long.
    frame = samples[[*_TEXTS, *_PLAIN, "reference"]].iloc[[one["place"] for one in chosen]]
    rows = []
    for one, row in zip(chosen, frame.to_dict(orient="records"), strict=True):
        record = {name: _plain(value) for name, value in row.items()} | {"change": one["change"]}
        record |= {name: texts.number(record[name]) for name in _TEXTS}
        record["reference"] = [texts.number(text) for text in record["reference"] or []]
        rows.append([record[name] for name in COLUMNS])
    return rows, counts


def _some_of_every_change(
    records: list[dict[str, Any]], counts: dict[str, int], most: int
) -> list[dict[str, Any]]:
    """At most `most` of sorted records: as many of each change as all can have, and what is left in order."""
    kinds = sum(count > 0 for count in counts.values())
    share = most // max(kinds, 1)
    first: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    taken = dict.fromkeys(CHANGES, 0)
    for record in records:
        taken[record["change"]] += 1
        (first if taken[record["change"]] <= share else rest).append(record)
    return sorted([*first, *rest[: most - len(first)]], key=_order)


def _order(record: dict[str, Any]) -> tuple[Any, ...]:
    quality, full = record["quality"], record["full_quality"]
    loss = 0.0 if quality is None or full is None else full - quality
    return CHANGES.index(record["change"]), -loss, record["example_id"] or "", record["turn"] or 0


def _plain(value: Any) -> Any:
    """Return a cell as JSON knows it; four digits are enough for seconds and scores."""
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        value = value.tolist()
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return None if value is pd.NA or value is pd.NaT else value
