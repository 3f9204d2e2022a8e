"""How numbers are written in the tables of a report; what is unknown is a dash."""

import pandas as pd

from analysis.tables import UNKNOWN


def number(value: float | None, form: str = "{:.3f}") -> str:
    """Write a number."""
    return UNKNOWN if value is None or pd.isna(value) else form.format(value)


def percent(value: float | None) -> str:
    """Write a share."""
    return number(value if value is None else 100 * value, "{:.0f} %")


def mean(values: pd.Series, form: str = "{:.3f}") -> str:
    """Write the mean of the values that are known."""
    return number(values.astype(float).mean(), form)


def interval(estimate: float | None, lo: float | None, hi: float | None, form: str = "{:+.3f}") -> str:
    """Write a difference, with its confidence limits where they are known."""
    if estimate is None:
        return UNKNOWN
    said = form.format(estimate)
    return said if lo is None or hi is None else f"{said} [{form.format(lo)}, {form.format(hi)}]"
