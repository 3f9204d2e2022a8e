"""How numbers are written in the tables of a report; what is unknown is a dash."""

import pandas as pd

from analysis.tables import UNKNOWN


def mean(values: pd.Series, form: str = "{:.3f}") -> str:
    """Write the mean of the values that are known."""
    values = values.dropna()
    return UNKNOWN if values.empty else form.format(values.astype(float).mean())


def share(values: pd.Series) -> str:
    """Write how many of the values that are known are true, in per cent."""
    values = values.dropna()
    return UNKNOWN if values.empty else f"{100 * values.astype(float).mean():.0f} %"


def interval(estimate: float | None, lo: float | None, hi: float | None, form: str = "{:+.3f}") -> str:
    """Write a difference, with its confidence limits where they are known."""
    if estimate is None:
        return UNKNOWN
    said = form.format(estimate)
    return said if lo is None or hi is None else f"{said} [{form.format(lo)}, {form.format(hi)}]"
