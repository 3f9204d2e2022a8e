"""A results folder as two frames."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from runners.schema import JUDGEMENTS, METRICS, SAMPLES, metrics_record


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


def load_metrics(root: Path | str) -> pd.DataFrame:
    """One row a finished run, with all columns of `runners.schema.METRICS`; what is unknown is missing.

    Raises
    ------
    AnalysisError
        No such folder, or a file in it is damaged.
    """
    records = []
    for run in finished_runs(root):
        path = run / "metrics.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(record, dict):
                raise ValueError("it is not a record")
            # A later version may have metrics that this one does not know.
            records.append(metrics_record({name: record.get(name) for name in METRICS.names}))
        except (OSError, ValueError) as error:
            raise AnalysisError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    return pa.Table.from_pylist(records, schema=METRICS).to_pandas()


def load_samples(root: Path | str) -> pd.DataFrame:
    """One row a turn of every finished run, with all columns of `runners.schema.SAMPLES`.

    Raises
    ------
    AnalysisError
        No such folder, or a file in it is damaged.
    """
    files = [str(run / "samples.parquet") for run in finished_runs(root)]
    return _frame(files, SAMPLES, "samples")


def load_judgements(root: Path | str) -> pd.DataFrame:
    """One row a verdict of every judge on finished runs, with the columns of `runners.schema.JUDGEMENTS`.

    Raises
    ------
    AnalysisError
        No such folder, or a file in it is damaged.
    """
    files = [str(file) for run in finished_runs(root) for file in sorted(run.glob("judgements-*.parquet"))]
    return _frame(files, JUDGEMENTS, "judgements")


def _frame(files: list[str], schema: pa.Schema, what: str) -> pd.DataFrame:
    if not files:
        return schema.empty_table().to_pandas()
    try:
        table = ds.dataset(files, schema=schema, format="parquet").to_table()
    except (OSError, pa.ArrowException) as error:
        raise AnalysisError(f"{what} cannot be read: {str(error).splitlines()[0]}") from error
    return table.to_pandas(maps_as_pydicts="strict")
