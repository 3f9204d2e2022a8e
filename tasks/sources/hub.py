"""Reads data sets of the Hugging Face hub into records."""

import importlib

from tasks.errors import DataError
from tasks.sources.record import Record


def read_hub(label: str, dataset: str, config: str | None, split: str, revision: str | None) -> list[Record]:
    """Download (or take from the local cache) one split of a data set.

    Parameters
    ----------
    label
        What to call the source in errors.
    dataset, config, split, revision
        Arguments of `datasets.load_dataset`.

    Raises
    ------
    DataError
        If the `datasets` package is not installed, or the split cannot be had or is empty.
    """
    # Imported here, because it is slow to import and most runs do not need it.
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise DataError(
            f"{label}: task.source=hub needs the package 'datasets': pip install datasets"
        ) from error
    try:
        # Rows are decoded while they are read.
        rows = list(datasets.load_dataset(dataset, config, split=split, revision=revision))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{label}: cannot be loaded ({reason}); "
            "a downloaded copy is read with task.source=file task.path=<file>"
        ) from error
    records = [Record(row, f"{label}, row {index}") for index, row in enumerate(rows)]
    if not records:
        raise DataError(f"{label}: the split is empty")
    return records
