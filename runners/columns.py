"""Reading columns out of rows in which anything can be null."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, Any]
Rows = Sequence[Row]


def known(row: Row, *names: str) -> bool:
    """Return whether the row has a value, and no NaN, in every one of these columns."""
    values = [row.get(name) for name in names]
    return not any(value is None or (isinstance(value, float) and math.isnan(value)) for value in values)


def rows_with(rows: Rows, *names: str) -> list[Row]:
    """Return the rows that have a value in every one of these columns."""
    return [row for row in rows if known(row, *names)]


def column(rows: Rows, name: str) -> NDArray[np.float64]:
    """Return one column as numbers, shape (rows,); every row must have a value."""
    return np.array([row[name] for row in rows], dtype=np.float64)


def total(rows: Rows, name: str) -> float | None:
    """Return the sum of a column over the rows that have a value; None if no row has."""
    values = column(rows_with(rows, name), name)
    return float(values.sum()) if len(values) else None


def mean(values: Iterable[float]) -> float | None:
    """Return the mean; None of nothing."""
    values = list(values)
    return math.fsum(values) / len(values) if values else None


def column_mean(rows: Rows, name: str) -> float | None:
    """Return the mean of a column over the rows that have a value; None if no row has."""
    return mean(float(row[name]) for row in rows_with(rows, name))


def quotient(numerator: float | None, denominator: float | None) -> float | None:
    """Return numerator ÷ denominator; None where either is unknown or the denominator is 0."""
    return None if numerator is None or not denominator else numerator / denominator
