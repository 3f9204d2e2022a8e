"""The table of a comparison, as Markdown and CSV."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd

UNKNOWN = "–"
Record = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One quantity of the table.

    Attributes
    ----------
    title : str
    run, full : callable (record) -> str
        What a run's row says, and the row of the full model beside it.
    """

    title: str
    run: Callable[[Record], str]
    full: Callable[[Record], str] = lambda record: ""


def number(field: str, form: str, scale: float = 1.0, interval: bool = False) -> Callable[[Record], str]:
    """A metric written by a format, with its 95 % limits where asked for and known."""

    def write(record: Record) -> str:
        value, lo, hi = (record.get(name) for name in (field, f"{field}_lo", f"{field}_hi"))
        if value is None:
            return UNKNOWN
        text = form.format(value * scale)
        if interval and lo is not None and hi is not None:
            text += f" [{form.format(lo * scale)}, {form.format(hi * scale)}]"
        return text

    return write


def method(record: Record) -> str:
    """The method with its telling parameters; a star where its paper trains the model and nobody did."""
    given = json.loads(record.get("method_params") or "{}")
    if record.get("solved_parameter") and record.get("solved_value") is not None:
        given = {record["solved_parameter"]: record["solved_value"], **_choices(given)}
    else:
        given = {name: value for name, value in given.items() if value is not None}
    said = ", ".join(f"{name}={_short(value)}" for name, value in given.items())
    return f"{record['method']}{'*' if record.get('untrained_ablation') else ''}" + (
        f" ({said})" if said else ""
    )


def _choices(given: Record) -> Record:
    """Parameters that choose between variants of one method."""
    return {name: given[name] for name in ("confidence", "kv_policy") if name in given}


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


COLUMNS = (
    Column("method", method, lambda record: "full"),
    Column("skip", number("realised_skip_weighted", "{:.2f}"), lambda record: "0"),
    Column("quality", number("quality", "{:.2f}"), number("full_quality", "{:.2f}")),
    Column("difference to full", number("quality_delta", "{:+.2f}", interval=True)),
    Column("new hallucinations", number("new_hallucination_rate", "{:.0f} %", 100)),
    Column(
        "collapsed", number("collapse_rate", "{:.0f} %", 100), number("full_collapse_rate", "{:.0f} %", 100)
    ),
    Column("agreement", number("replay_agreement", "{:.0f} %", 100), lambda record: "100 %"),
    Column("KL", number("replay_kl", "{:.2f}"), lambda record: "0"),
    Column("speedup", number("speedup", "{:.2f}", interval=True), lambda record: "1"),
    Column("same tokens", number("replay_speedup", "{:.2f}"), lambda record: "1"),
    Column("ideal", number("ideal_speedup", "{:.2f}"), lambda record: "1"),
    Column("efficiency", number("efficiency", "{:.0f} %", 100)),
    Column("deciding", number("decision_bytes_share", "{:.0f} %", 100)),
)
_NOTE = "\\* untrained ablation: the method's paper trains the model for it, and this one was not."


def records_of(metrics: pd.DataFrame) -> list[Record]:
    """Rows of a frame as records, missing values as None."""
    return [
        {
            name: None if pd.api.types.is_scalar(value) and pd.isna(value) else value
            for name, value in row.items()
        }
        for row in metrics.to_dict("records")
    ]


def comparison(metrics: pd.DataFrame) -> pd.DataFrame:
    """The runs of one setting as text, below the full model; by method and rising skip."""
    records = sorted(
        records_of(metrics), key=lambda one: (one["method"], one.get("realised_skip_weighted") or 0)
    )
    rows = [[column.run(record) for column in COLUMNS] for record in records]
    beside = next((record for record in records if record.get("full_quality") is not None), None)
    if beside is not None:
        rows.insert(0, [column.full(beside) for column in COLUMNS])
    return pd.DataFrame(rows, columns=[column.title for column in COLUMNS])


def setting(record: Record) -> str:
    """What runs must share to stand in one table."""
    names = ("model", "task", "source", "dtype", "device", "batch_size", "max_new_tokens", "examples")
    model, task, source, dtype, device, batch, tokens, examples = (
        record.get(name) or UNKNOWN for name in names
    )
    return (
        f"{model} · {task} ({source}) · {dtype} on {device} · batch {batch} · "
        f"{examples} examples of at most {tokens} tokens"
    )


def markdown(metrics: pd.DataFrame) -> str:
    """Every setting's table under its heading; what can be told apart comes first."""
    parts = []
    records = sorted(records_of(metrics), key=setting)
    for title, group in groupby(records, key=setting):
        runs = list(group)
        parts += [f"## {title}", ""]
        detectable = [one["quality_mde"] for one in runs if one.get("quality_mde") is not None]
        if detectable:
            parts += [f"Differences in quality are detectable from {max(detectable):.2f} on.", ""]
        parts += [_table(comparison(pd.DataFrame(runs))), ""]
        if any(one.get("untrained_ablation") for one in runs):
            parts += [_NOTE, ""]
    return "\n".join(parts)


def _table(frame: pd.DataFrame) -> str:
    lines = [
        frame.columns.tolist(),
        ["---", *["---:"] * (len(frame.columns) - 1)],
        *frame.to_numpy().tolist(),
    ]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
