"""The front against its definition."""

import numpy as np
import pandas as pd
import pytest

from analysis.pareto import front


def points(*pairs, index=None):
    return pd.DataFrame(pairs, columns=["x", "y"], index=index)


def by_definition(frame, larger_x=True, larger_y=True):
    signs = np.array([1 if larger_x else -1, 1 if larger_y else -1])
    values = frame[["x", "y"]].to_numpy(float) * signs
    found = []
    for one in values:
        better = [(other >= one).all() and (other > one).any() for other in values]
        found.append(not np.isnan(one).any() and not any(better))
    return found


def test_what_is_beaten_is_not_on_the_front():
    frame = points((1.0, 0.5), (1.2, 0.4), (1.1, 0.3), (1.3, 0.1), (0.9, 0.5))
    assert front(frame, "x", "y").tolist() == [True, True, False, True, False]


def test_directions():
    frame = points((1.0, 0.0), (1.2, 0.2), (1.1, 0.3))
    assert front(frame, "x", "y", larger_y=False).tolist() == [True, True, False]
    assert front(frame, "x", "y", larger_x=False).tolist() == [True, False, True]
    assert front(frame, "x", "y", larger_x=False, larger_y=False).tolist() == [True, False, False]


def test_ties():
    same = points((1.0, 0.5), (1.0, 0.5), (1.0, 0.4))
    assert front(same, "x", "y").tolist() == [True, True, False]
    # The same answers, added up in another order.
    summed = points((0.8, 0.1 + 0.2), (1.0, 0.3))
    assert front(summed, "x", "y").tolist() == [False, True]
    level = points((1.0, 0.5), (1.2, 0.5))
    assert front(level, "x", "y").tolist() == [False, True]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_what_is_unknown_is_not_on_the_front_and_beats_nothing(missing):
    frame = points((missing, 9.0), (9.0, missing), (1.0, 0.5), index=["a", "b", "c"])
    frame = frame.astype({"x": "Float64", "y": "Float64"}) if missing is pd.NA else frame
    found = front(frame, "x", "y")
    assert found.dtype == bool and found.to_dict() == {"a": False, "b": False, "c": True}


def test_one_point_and_none():
    assert front(points((1.0, 0.5)), "x", "y").tolist() == [True]
    assert front(points(), "x", "y").empty


def test_an_index_with_repeats_is_kept():
    found = front(points((1.0, 0.5), (2.0, 0.6), index=[7, 7]), "x", "y")
    assert found.index.tolist() == [7, 7] and found.tolist() == [False, True]


def test_unknown_columns_are_refused():
    with pytest.raises(KeyError):
        front(points((1.0, 0.5)), "x", "speed")


@pytest.mark.parametrize("larger_x", [True, False])
@pytest.mark.parametrize("larger_y", [True, False])
def test_random_points_with_ties_and_gaps(larger_x, larger_y):
    drawn = np.random.default_rng(0)
    for _ in range(50):
        values = drawn.integers(0, 6, size=(20, 2)).astype(float)
        values[drawn.random(values.shape) < 0.1] = np.nan
        frame = pd.DataFrame(values, columns=["x", "y"])
        assert front(frame, "x", "y", larger_x, larger_y).tolist() == by_definition(frame, larger_x, larger_y)
