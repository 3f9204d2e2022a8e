"""The table that ends a run: the full model beside each method, and in words what the numbers say.

Plain text without colours and without cut-off words: it reads the same on a terminal and in a log file.
"""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

from runners.notices import printable
from runners.schema import setting
from runners.significance import corrected_p_values, said_p
from runners.table_rows import ROWS, Row, heading, title
from runners.verdict import sentences

Record = Mapping[str, Any]
Cell = list[str]  # lines
_GAP = 2
_LABEL, _HEADING = 26, 18  # widest label and column heading; longer ones take more lines
# For terminals whose encoding lacks these characters.
_PLAIN = str.maketrans({"–": "-", "×": "x", "÷": "/", "─": "-", "·": "-"})


def show(
    metrics: Sequence[Record],
    folders: Iterable[Path | str] = (),
    wandb_folders: Iterable[Path | str] = (),
    stream: TextIO | None = None,
) -> None:
    """Print the comparison of some runs and where their files lie.

    Parameters
    ----------
    metrics
        `METRICS` records.
    folders, wandb_folders
        Of the results, and of W&B's files where there are any.
    stream
        Standard output by default. Characters that its encoding lacks are replaced.
    """
    stream = stream or sys.stdout
    width = shutil.get_terminal_size().columns if stream.isatty() else 80
    lines = [comparison(metrics, min(width, 160))]
    lines += [printable(f"Results (samples.parquet, metrics.json): {folder}") for folder in folders]
    lines += [printable(f"Weights & Biases files: {folder}") for folder in wandb_folders]
    text = "\n".join(lines)
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    print(text, file=stream)


def comparison(metrics: Sequence[Record], width: int = 80) -> str:
    """Return, for each model and task, a table of the full model and the runs, and a few sentences a run.

    Parameters
    ----------
    metrics
        `METRICS` records; null shows as a dash.
    width
        Characters a line. Runs that do not fit beside each other continue below.
    """
    width = max(width, 60)
    ordered = sorted(metrics, key=setting)  # stable: within a setting the order given stays
    groups = [list(records) for _, records in groupby(ordered, key=setting)]
    return "\n".join(_group(title(records[0], ordered), records, width) for records in groups)


def _group(title: str, records: list[Record], width: int) -> str:
    full = next((record for record in records if _has_baseline(record)), None)
    rows = [
        row
        for given in ROWS
        if not given.optional or any(record.get(given.field) is not None for record in records)
        for row in (given, *_baselines(given, records))
    ]
    labels = [_wrapped([row.label(records[0])], _LABEL) for row in rows]
    columns = [
        [_wrapped(_breakable(heading(record, records)), _HEADING), *(row.cell(record) for row in rows)]
        for record in records
    ]
    apart = {row.field for given in ROWS for row in _baselines(given, records)}
    baseline = None
    if full is not None:
        # Where each run has its own, one of them would be taken for all.
        cells = ([""] if row.full in apart else row.full_cell(full) for row in rows)
        baseline = [["full model"], *cells]
    parts = [textwrap.fill(printable(title), width), ""]
    for panel in _panels([[""], *labels], baseline, columns, width):
        parts += [_rendered(panel), ""]
    if any(record.get("quality_lo") is not None for record in records):
        parts += ["In brackets: 95 % confidence limits.", ""]
    for record, p in zip(records, corrected_p_values(records), strict=True):
        said = f"{' '.join(heading(record, records))}: {' '.join(sentences(record, p))}"
        parts += [textwrap.fill(printable(said), width, subsequent_indent="  ", break_on_hyphens=False)]
    parts += [textwrap.fill(line, width, subsequent_indent="  ") for line in _corrected(records)]
    return "\n".join([*parts, ""])


def _corrected(records: Sequence[Record]) -> list[str]:
    """The p-values once more, corrected for there being several."""
    corrected = [
        (" ".join(heading(record, records)), p)
        for record, p in zip(records, corrected_p_values(records), strict=True)
        if p is not None
    ]
    if len(corrected) < 2:
        return []
    said = ", ".join(f"{name} p {said_p(p)}" for name, p in corrected)
    return [f"Corrected for there being several (Holm): {said}."]


def _baselines(row: Row, records: Sequence[Record]) -> list[Row]:
    """The row of the full model's values beside each run, where they are not one value."""
    if not row.full.startswith("full_"):
        return []
    own = row.own_baseline
    return [own] if len({own.cell(record)[0] for record in records}) > 1 else []


def _has_baseline(record: Record) -> bool:
    return any(value is not None for name, value in record.items() if name.startswith("full_"))


def _breakable(heading: Iterable[str]) -> list[str]:
    """A name and its value take a line each, where they do not fit into one."""
    return [line if len(line) <= _HEADING else line.replace("=", "= ", 1) for line in heading]


def _wrapped(lines: Iterable[str], width: int) -> Cell:
    return [piece for line in lines for piece in textwrap.wrap(printable(line), width) or [""]]


def _panels(
    labels: list[Cell], baseline: list[Cell] | None, columns: list[list[Cell]], width: int
) -> list[list[list[Cell]]]:
    """Deal the columns out to as many tables as the width asks for, each beside the full model."""
    fixed = [labels] if baseline is None else [labels, baseline]
    panels: list[list[list[Cell]]] = []
    room = 0
    for column in columns:
        needed = _width(column) + _GAP
        if not panels or needed > room:
            panels.append(list(fixed))
            room = width - sum(map(_width, fixed)) - _GAP * (len(fixed) - 1)
        panels[-1].append(column)
        room -= needed
    return panels


def _width(column: list[Cell]) -> int:
    return max(len(line) for cell in column for line in cell)


def _rendered(columns: list[list[Cell]]) -> str:
    widths = [_width(column) for column in columns]
    lines = []
    for number, cells in enumerate(zip(*columns, strict=True)):
        for line in range(max(map(len, cells))):
            texts = [cell[line] if line < len(cell) else "" for cell in cells]
            padded = [
                texts[0].ljust(widths[0]),
                *(t.rjust(w) for t, w in zip(texts[1:], widths[1:], strict=True)),
            ]
            lines.append((" " * _GAP).join(padded).rstrip())
        if number == 0:
            lines.append("─" * (sum(widths) + _GAP * (len(widths) - 1)))
    return "\n".join(lines)
