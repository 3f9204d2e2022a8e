"""Where labels of points go: beside their point, and not on each other."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Diagonals first: error bars run along the axes.
_DIRECTIONS = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1)], dtype=float)
_DISTANCES = (5.0, 12.0, 20.0, 30.0, 42.0)
# What a pixel costs: of overlap with another label, with a marker, with what lies outside; of distance.
_ON_LABEL, _ON_MARKER, _OUTSIDE, _AWAY = 8.0, 3.0, 20.0, 2.0
_MARKER = 4.0


def place(anchors: Floats, sizes: Floats, bounds: tuple[float, float, float, float]) -> Floats:
    """Return the lower left corners of labels, one after the other at the cheapest of forty places.

    Parameters
    ----------
    anchors
        Shape (n, 2): the points, in pixels; the first ones choose first.
    sizes
        Shape (n, 2): widths and heights of the labels.
    bounds
        Left, bottom, right, top of the panel.

    Returns
    -------
    ndarray of shape (n, 2)
    """
    markers = np.hstack([anchors - _MARKER, anchors + _MARKER])
    placed = np.empty((0, 4))
    corners = np.empty_like(anchors)
    for number, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
        candidates, away = _candidates(anchor, size)
        boxes = np.hstack([candidates, candidates + size])
        cost = (
            _ON_LABEL * _overlap(boxes, placed)
            + _ON_MARKER * _overlap(boxes, markers)
            + _OUTSIDE * _outside(boxes, bounds)
            + _AWAY * away
        )
        best = int(cost.argmin())
        corners[number] = candidates[best]
        placed = np.vstack([placed, boxes[best]])
    return corners


def _candidates(anchor: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Lower left corners around a point, and how far each is from it."""
    corners = [anchor + _DIRECTIONS * distance + (_DIRECTIONS - 1) / 2 * size for distance in _DISTANCES]
    return np.vstack(corners), np.repeat(_DISTANCES, len(_DIRECTIONS))


def _overlap(boxes: Floats, others: Floats) -> Floats:
    """Pixels that each box shares with others."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared: Floats = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    return shared


def _outside(boxes: Floats, bounds: tuple[float, float, float, float]) -> Floats:
    """Pixels by which each box leaves the panel."""
    left, bottom, right, top = bounds
    beyond = np.clip(np.array([left, bottom]) - boxes[:, :2], 0, None).sum(axis=1)
    beyond += np.clip(boxes[:, 2:] - np.array([right, top]), 0, None).sum(axis=1)
    return beyond
