"""Which points no other point beats."""

import numpy as np
import pandas as pd

_DIGITS = 9


def front(frame: pd.DataFrame, x: str, y: str, larger_x: bool = True, larger_y: bool = True) -> pd.Series:
    """Return which rows are on the Pareto front of two columns.

    A row is on the front if no other row is at least as good in both columns and better in one. Rows that tie
    in both are on it together. A row that lacks either value is not on it, and beats none.

    Parameters
    ----------
    frame
        One row a point; None and NaN are missing values.
    x, y
        Names of its columns.
    larger_x, larger_y
        Whether more is better.

    Returns
    -------
    Series of bool
        With the index of the frame.

    Raises
    ------
    KeyError
        The frame lacks a column.
    """
    points = frame[[x, y]].astype(float).to_numpy() * [1 if larger_x else -1, 1 if larger_y else -1]
    # The same answers, added up in another order, are as good.
    points = points.round(_DIGITS)
    on_front = np.zeros(len(points), dtype=bool)
    known = np.flatnonzero(~np.isnan(points).any(axis=1))
    # From the best x down, and the best y first among equal ones: what comes later is never better in x.
    beaten_x, best_y = np.nan, -np.inf
    for place in known[np.lexsort((-points[known, 1], -points[known, 0]))]:
        own_x, own_y = points[place]
        on_front[place] = own_y > best_y or (own_y == best_y and own_x == beaten_x)
        if on_front[place]:
            beaten_x, best_y = own_x, own_y
    return pd.Series(on_front, index=frame.index, name="front")
