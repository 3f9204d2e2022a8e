"""A results folder as two frames."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from runners.schema import JUDGEMENTS, METRICS, SAMPLES, completed, metrics_record, metrics_table


class AnalysisError(Exception):
    """What a user can mend, in one line."""


def finished_runs(root: Path | str) -> list[Path]:
    """Folders of finished runs under a results folder, or that folder itself, by name.

    Raises
    ------
    AnalysisError
        There is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise AnalysisError(f"{root} is not a folder; give a results folder, such as results")
    return sorted({done.parent for pattern in ("DONE", "*/DONE") for done in root.glob(pattern)})


def unfinished_runs(root: Path | str) -> list[Path]:
    """Folders of runs that have begun and not ended, by name."""
    root = Path(root)
    begun = {found.parent for pattern in ("config.yaml", "*/config.yaml") for found in root.glob(pattern)}
    return sorted(run for run in begun if not (run / "DONE").exists())


def half_rescored_runs(root: Path | str) -> list[Path]:
    """Folders of finished runs whose rescoring was cut short, by name."""
    return [run for run in finished_runs(root) if (run / "RESCORING").exists()]


def load_metrics(root: Path | str) -> pd.DataFrame:
    """One row a finished run, with all columns of `runners.schema.METRICS`; what is unknown is missing.

    Raises
    ------
    AnalysisError
        No such folder, or a file in it is damaged.
    """
    runs = finished_runs(root)
    records = [_record(run / "metrics.json") for run in runs]
    try:
        table = metrics_table(records)
    except ValueError:
        for run, record in zip(runs, records, strict=True):
            with _naming(run / "metrics.json"):
                metrics_record(record)
        raise
    # Whole numbers stay whole where some are missing.
    return table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get, maps_as_pydicts="strict")


def load_samples(root: Path | str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a turn of every finished run.

    Parameters
    ----------
    root
        A results folder.
    columns
        Which columns of `runners.schema.SAMPLES`; None: all. Few are much faster.

    Raises
    ------
    AnalysisError
        No such folder, or a file in it is damaged.
    """
    schema = SAMPLES if columns is None else pa.schema([SAMPLES.field(name) for name in columns])
    files = [run / "samples.parquet" for run in finished_runs(root)]
    # One thread a file; Arrow's own datasets take longer over many small ones.
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        tables = list(readers.map(partial(_samples, schema=schema), files))
    return pa.concat_tables(tables or [schema.empty_table()]).to_pandas(maps_as_pydicts="strict")


def load_judgements(root: Path | str) -> pd.DataFrame:
    """One row a verdict of every judge on finished runs, with the columns of `runners.schema.JUDGEMENTS`.

    Raises
    ------
    AnalysisError
        No such folder, or a file in it is damaged.
    """
    files = [file for run in finished_runs(root) for file in sorted(run.glob("judgements-*.parquet"))]
    tables = [_samples(file, JUDGEMENTS) for file in files]
    return pa.concat_tables(tables or [JUDGEMENTS.empty_table()]).to_pandas(maps_as_pydicts="strict")


def _samples(path: Path, schema: pa.Schema) -> pa.Table:
    with _naming(path):
        file = pq.ParquetFile(path)
        there = set(file.schema_arrow.names)
        known = [name for name in schema.names if name in there]
        return completed(file.read(known, use_threads=False), schema)


def _record(path: Path) -> dict[str, Any]:
    with _naming(path):
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict):
            raise ValueError("it is not a record")
        # A later version may have metrics that this one does not know.
        return {name: record.get(name) for name in METRICS.names}


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        raise AnalysisError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
