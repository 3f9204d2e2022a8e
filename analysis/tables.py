"""The table of a comparison: which runs stand beside each other, and what is said of them."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd

from analysis.seeds import HIGHEST, LOWEST, SEEDS, pooled, together
from runners.schema import method_parameters, setting, settings_apart
from runners.significance import corrected_p_values, quality_verdict, said_p

UNKNOWN = "–"
UNNAMED = "unnamed method"
Record = dict[str, Any]
Setting = tuple[str, list[Record]]


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
    """A metric written by a format, with its 95 % limits where asked for and known, or with the lowest and
    the highest of several seeds.
    """

    def write(record: Record) -> str:
        value, lo, hi = (record.get(name) for name in (field, f"{field}_lo", f"{field}_hi"))
        if value is None:
            return UNKNOWN
        text = form.format(value * scale)
        lowest, highest = (record.get(end.format(field)) for end in (LOWEST, HIGHEST))
        if lowest is not None and highest is not None:
            text += f" ({form.format(lowest * scale)} to {form.format(highest * scale)})"
        if interval and lo is not None and hi is not None:
            text += f" [{form.format(lo * scale)}, {form.format(hi * scale)}]"
        return text

    return write


def method(record: Record, among: Sequence[Record]) -> str:
    """The method, with the parameter that says how much it skips and those in which its runs differ.

    A star marks a method whose paper trains the model, where nobody did.
    """
    given, solves = method_parameters(record), record.get("solved_parameter")
    if _solved(record):
        given[str(solves)] = record["solved_value"]
    names = [name for name in dict.fromkeys((solves, *_differing(record, among))) if name in given]
    said = ", ".join(f"{name}={_short(given[name])}" for name in names if given[name] is not None)
    star = "*" if record.get("untrained_ablation") else ""
    return f"{record['method']}{star}" + (f" ({said})" if said else "")


def point_label(record: Record, among: Sequence[Record]) -> str:
    """What tells a run from the others of its method, in few letters: values alone, the realised skip first
    with the one that was asked for, and the seed where there are several."""
    given = method_parameters(record)
    values = [given[name] for name in _differing(record, among)]
    said = [_realised(record)] if _solved(record) and record.get("target_skip") is not None else []
    said += [_short(value) for value in values if value is not None]
    seeds = {other.get("seed") for other in among if other["method"] == record["method"]}
    return " ".join([*said, f"seed {record.get('seed')}"] if len(seeds) > 1 else said)


def _solved(record: Record) -> bool:
    """Whether a parameter was solved, and not given."""
    return bool(record.get("solved_parameter")) and record.get("solved_value") is not None


def _realised(record: Record) -> str:
    """`0.37 (asked 0.3)`, both in the unit that was asked in."""
    unit = record.get("target_unit") or "weighted"
    realised, asked = record.get(f"realised_skip_{unit}"), f"asked {_short(record['target_skip'])}"
    return asked if realised is None else f"{realised:.2f} ({asked})"


def _asked(record: Record) -> str:
    """The skip that was asked for; in another unit than the column beside it, with what it came to."""
    if record.get("target_skip") is None:
        return UNKNOWN
    unit = record.get("target_unit") or "weighted"
    return f"{record['target_skip']:.2f}" if unit == "weighted" else f"{_realised(record)}, {unit}"


def _differing(record: Record, among: Sequence[Record]) -> list[str]:
    """Parameters in which runs of the same method differ, without what was solved, and the skip asked for
    unless the same was solved for another."""
    aside = {"target_skip", record.get("solved_parameter") if _solved(record) else None}
    if _solved(record) and any(
        other["method"] == record["method"]
        and other.get("solved_value") == record["solved_value"]
        and other.get("target_skip") != record.get("target_skip")
        for other in among
    ):
        aside.remove("target_skip")
    given = method_parameters(record)
    # Few texts among many runs.
    alike = {other.get("method_params"): other for other in among if other["method"] == record["method"]}
    parsed = [method_parameters(other) for other in alike.values()]
    return [
        name for name in given if name not in aside and any(one.get(name) != given[name] for one in parsed)
    ]


def preferred(record: Record) -> str:
    """In how many of a judge's comparisons the run's answer won, neither did, and the full model's did."""
    rates = [record.get(f"judge_{outcome}_rate") for outcome in ("win", "tie", "loss")]
    return UNKNOWN if None in rates else " / ".join(f"{100 * float(rate or 0):.0f} %" for rate in rates)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# What a record carries in addition: its p-value, corrected for the others of its table.
HOLM = "quality_p_holm"
_P_VALUE = "p (Holm)"
COLUMNS = (
    Column("seeds", lambda record: str(record.get(SEEDS, UNKNOWN))),
    Column("realised skip", number("realised_skip_weighted", "{:.2f}"), lambda record: "0"),
    Column("asked skip", _asked),
    Column("quality", number("quality", "{:.2f}"), number("full_quality", "{:.2f}")),
    Column("difference to full", number("quality_delta", "{:+.2f}", interval=True)),
    Column(_P_VALUE, lambda record: _p_value(record)),
    Column("judge's grade", number("judge_score", "{:.2f}"), number("full_judge_score", "{:.2f}")),
    Column("judge: won / tie / lost", preferred),
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
_VALUES = (
    *(
        "run_id",
        "method",
        "method_params",
        "untrained_ablation",
        "lossless",
        "examples",
        "target_skip",
        "target_unit",
    ),
    *("realised_skip_weighted", "realised_skip_ffn", "realised_skip_attention"),
    *("quality", "quality_lo", "quality_hi", "full_quality"),
    *("quality_delta", "quality_delta_lo", "quality_delta_hi", "quality_p", HOLM, "quality_mde"),
    *("new_hallucination_rate", "collapse_rate", "replay_agreement", "replay_kl"),
    *("speedup", "speedup_lo", "speedup_hi", "ideal_speedup", "efficiency"),
)
_MARKS = (
    "↓ worse, ↑ better than the full model: McNemar's exact test in pairs, p < 0.05 after Holm's correction "
    "for the runs of this table."
)
_SEEDS_NOTE = (
    "Several seeds: the mean (lowest to highest, where they differ). Each run by itself is in metrics.csv."
)
_NOTE = "\\* untrained ablation: the method's paper trains the model for it, and this one was not."


def records_of(metrics: pd.DataFrame) -> list[Record]:
    """Rows of a frame as records: missing values as None, and a method without a name as `UNNAMED`."""
    records: list[Record] = metrics.astype(object).where(metrics.notna(), None).to_dict("records")
    return [
        record | {"method": UNNAMED} if record.get("method", "") is None else record for record in records
    ]


def mark(record: Record) -> str:
    """↓ or ↑ where a run of `settings` is worse or better than the full model beyond chance, else nothing."""
    return {"lower": "↓", "higher": "↑"}.get(quality_verdict(record, record.get(HOLM)) or "", "")


def _p_value(record: Record) -> str:
    p = record.get(HOLM)
    if p is None:
        return UNKNOWN
    return f"{said_p(p).removeprefix('= ')} {mark(record)}".strip()


def comparison(runs: Sequence[Record]) -> pd.DataFrame:
    """The runs of one of the `settings` as text, below the full model; by method and rising skip.

    Runs that differ in their seed alone are one row, as `seeds.pooled` has it.
    """
    records = sorted(pooled(runs), key=lambda one: (one["method"], one.get("realised_skip_weighted") or 0))
    beside = next((record for record in records if record.get("full_quality") is not None), None)
    if beside is not None:
        # The full model's own run, which others reuse, is the first row already.
        records = [one for one in records if one["method"] != "full" or one.get("full_quality") is not None]
    rows = [[method(record, records), *(column.run(record) for column in COLUMNS)] for record in records]
    if beside is not None:
        rows.insert(0, ["full", *(column.full(beside) for column in COLUMNS)])
    frame = pd.DataFrame(rows, columns=["method", *(column.title for column in COLUMNS)])
    # What no run of the table has says nothing.
    own = frame.iloc[0 if beside is None else 1 :]
    return frame.drop(columns=[name for name in frame.columns[1:] if (own[name] == UNKNOWN).all()])


def _corrected(records: list[Record]) -> list[Record]:
    # Runs that differ in their seed alone are told as their mean, which has no test.
    tested = [group[0] for group in together(records) if len(group) == 1]
    p_values = dict(zip(map(id, tested), corrected_p_values(tested), strict=True))
    return [record | {HOLM: p_values.get(id(record))} for record in records]


def comparison_values(runs: Sequence[Record]) -> pd.DataFrame:
    """The runs of one setting in numbers: names, what a figure shows with its limits, corrected p-values."""
    names = run_names(runs)
    rows = [{"run": names.get(one["run_id"]), **{name: one.get(name) for name in _VALUES}} for one in runs]
    return pd.DataFrame(rows, columns=["run", *_VALUES])


def run_names(runs: Sequence[Record]) -> dict[str, str]:
    """What each run is called beside the others, by run_id; by its seed as well, if nothing else tells."""
    names = {one["run_id"]: method(one, runs) for one in runs if one.get("run_id")}
    often = Counter(names.values())
    seeds = {one["run_id"]: one.get("seed") for one in runs if one.get("run_id")}
    return {
        run_id: f"{name}, seed {seeds[run_id]}" if often[name] > 1 and seeds[run_id] is not None else name
        for run_id, name in names.items()
    }


def settings(metrics: pd.DataFrame) -> list[Setting]:
    """The runs that may stand beside each other, with a title for them and their corrected p-values."""
    records = sorted(records_of(metrics), key=_setting)
    groups = [_corrected(list(group)) for _, group in groupby(records, key=_setting)]
    return [(_title(runs, records), runs) for runs in groups]


def markdown(found: Sequence[Setting]) -> str:
    """The table of each of the `settings` under its heading; what can be told apart comes first."""
    parts = []
    for title, runs in found:
        parts += [f"## {title}", ""]
        detectable = [one["quality_mde"] for one in runs if one.get("quality_mde") is not None]
        if detectable:
            parts += [f"Differences in quality are detectable from {max(detectable):.2f} on.", ""]
        compared = comparison(runs)
        parts += [table(compared), ""]
        if any(sign in cell for cell in compared.get(_P_VALUE, ()) for sign in "↓↑"):
            parts += [_MARKS, ""]
        if "seeds" in compared:
            parts += [_SEEDS_NOTE, ""]
        if any(one.get("untrained_ablation") for one in runs):
            parts += [_NOTE, ""]
    return "\n".join(parts)


def _setting(record: Record) -> tuple[str, ...]:
    return (*setting(record), str(record.get("examples")))


def _title(runs: Sequence[Record], among: Sequence[Record]) -> str:
    names = ("model", "task", "source", "dtype", "device", "batch_size", "max_new_tokens", "examples")
    first = runs[0]
    model, task, source, dtype, device, batch, tokens, examples = (
        first.get(name) or UNKNOWN for name in names
    )
    said = (
        f"{model} · {task} ({source}) · {dtype} on {device} · batch {batch} · "
        f"{examples} examples of at most {tokens} tokens"
    )
    return " · ".join([said, *(f"{name} {first.get(name)}" for name in settings_apart(among, names))])


def table(frame: pd.DataFrame) -> str:
    """A frame of text as a Markdown table."""
    lines = [
        frame.columns.tolist(),
        ["---", *["---:"] * (len(frame.columns) - 1)],
        *frame.to_numpy().tolist(),
    ]
    return "\n".join(f"| {' | '.join(map(_in_cell, line))} |" for line in lines)


# Names of categories and parameters come with data and models: in a cell they are text, whatever they hold.
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])")


def _in_cell(text: str) -> str:
    return _MARKUP.sub("&lt;", " ".join(text.split())).replace("|", "&#124;")
