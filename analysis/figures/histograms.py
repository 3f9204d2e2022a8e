"""Histograms of whole numbers: the layers at which tokens left, the tokens that a verification accepted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from analysis.figures.style import RC, grid
from analysis.looks import Look

_WIDTH, _HEIGHT, _HEAD = 2.3, 1.9, 0.35  # inches


@dataclass(frozen=True)
class Histogram:
    """One panel: shares by whole number, of one run or of a method's runs."""

    title: str
    method: str
    shares: pd.Series


def draw(title: str, axis: str, histograms: Sequence[Histogram], drawn_as: Mapping[str, Look]) -> Figure:
    """Small multiples on the same axes.

    Parameters
    ----------
    title
    axis
        What the numbers are.
    histograms
    drawn_as
        From `looks.looks`.
    """
    rows, columns = grid(len(histograms), 4)
    width, height = max(4.6, _WIDTH * columns), _HEIGHT * rows + _HEAD + 0.2
    with rc_context(RC):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        every = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        figure.subplots_adjust(
            left=0.55 / width,
            right=1 - 0.15 / width,
            bottom=0.45 / height,
            top=1 - (_HEAD + 0.3) / height,
            wspace=0.15,
            hspace=0.85,
        )
        figure.suptitle(title, x=0.1 / width, y=1 - 0.1 / height, ha="left", va="top", fontsize=9)
        for axes, one in zip(every.flat, histograms, strict=False):
            axes.bar(one.shares.index, one.shares, width=0.85, color=drawn_as[one.method].colour)
            axes.set_title(one.title, loc="left", fontsize=7)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        for axes in every.flat[len(histograms) :]:
            axes.set_visible(False)
        for axes in every[:, 0]:
            axes.set_ylabel("share")
        # The lowest panel of every column says what its axis is.
        for axes in every.flat[max(0, len(histograms) - columns) : len(histograms)]:
            axes.set_xlabel(axis)
            axes.tick_params(labelbottom=True)
    return figure
