"""Maps: methods down, layers, categories or lengths across."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from analysis.figures.style import RC

_ROW, _LEFT, _BLOCK, _BETWEEN, _HEAD, _FOOT = 0.17, 1.9, 3.4, 0.25, 0.5, 0.7  # inches
# Cells of more columns than that are too narrow for a number.
_MOST_NUMBERS = 14
# More letters than that do not fit below a map side by side.
_MOST_LETTERS = 40


@dataclass(frozen=True)
class Panel:
    """Maps that share their rows.

    Attributes
    ----------
    title : str
    maps : sequence of (str, DataFrame)
        What the columns are, and the values; a row that one of them lacks is unknown there.
    """

    title: str
    maps: Sequence[tuple[str, pd.DataFrame]]

    def aligned(self) -> list[tuple[str, pd.DataFrame]]:
        """The maps with all rows of any of them, in one order."""
        names = dict.fromkeys(name for _, frame in self.maps for name in frame.index)
        return [(what, frame.reindex(list(names))) for what, frame in self.maps]


@dataclass(frozen=True)
class Scale:
    """How values become colours, and what they are."""

    title: str
    colours: Colormap
    norm: Normalize
    form: str


def skip_scale() -> Scale:
    """White: always run; dark: never."""
    return Scale("share of decode steps skipped", colormaps["Blues"], Normalize(0, 1), "{:.2f}")


def difference_scale(frames: Sequence[pd.DataFrame]) -> Scale:
    """Orange: worse than the full model; purple: better; the same distance either way."""
    most = max((np.nanmax(np.abs(frame.to_numpy(float))) for frame in frames), default=0.0)
    return Scale(
        "difference in quality to the full model",
        colormaps["PuOr"],
        Normalize(-(most or 1), most or 1),
        "{:+.2f}",
    )


def draw(title: str, panels: Sequence[Panel], scale: Scale) -> Figure:
    """One row of maps for every panel, with one bar of colours."""
    blocks = max(len(panel.maps) for panel in panels)
    aligned = [panel.aligned() for panel in panels]
    heights = [_ROW * len(together[0][1]) for together in aligned]
    width = _LEFT + blocks * (_BLOCK + _BETWEEN)
    height = sum(heights) + len(panels) * (_HEAD + _FOOT) + 0.9
    with rc_context(RC):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        figure.suptitle(title, x=0.1 / width, y=1 - 0.12 / height, ha="left", va="top", fontsize=9)
        top = height - 0.3
        for panel, together, tall in zip(panels, aligned, heights, strict=True):
            figure.text(0.1 / width, (top - 0.05) / height, panel.title, va="top")
            for number, (what, frame) in enumerate(together):
                left = _LEFT + number * (_BLOCK + _BETWEEN)
                place = (left / width, (top - _HEAD - tall) / height, _BLOCK / width, tall / height)
                axes = figure.add_axes(place)
                _map(axes, frame, scale, named=number == 0)
                axes.set_title(what, loc="left")
            top -= _HEAD + tall + _FOOT
        bar = figure.add_axes(
            ((width - _BETWEEN - _BLOCK) / width, 0.42 / height, _BLOCK / width, 0.1 / height)
        )
        figure.colorbar(
            ScalarMappable(scale.norm, scale.colours), cax=bar, orientation="horizontal", label=scale.title
        )
    return figure


def _map(axes: Axes, frame: pd.DataFrame, scale: Scale, named: bool) -> None:
    values = frame.to_numpy(float)
    axes.set_facecolor("#dddddd")  # what is unknown
    axes.imshow(
        np.ma.masked_invalid(values), cmap=scale.colours, norm=scale.norm, aspect="auto", interpolation="none"
    )
    axes.set_yticks(range(len(frame)), frame.index if named else [""] * len(frame), fontsize=6.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if frame.shape[1] <= _MOST_NUMBERS:
        _numbers(axes, values, scale)
    names = [str(name) for name in frame.columns]
    # Layers are numbers, of which some can be left out; categories are words, which need room.
    every = -(-len(names) // 16) if all(name.isdecimal() for name in names) else 1
    slanted = len("".join(names)) > _MOST_LETTERS and every == 1
    axes.set_xticks(
        range(0, len(names), every),
        names[::every],
        rotation=40 if slanted else 0,
        ha="right" if slanted else "center",
        rotation_mode="anchor",
        fontsize=6.5,
    )


def _numbers(axes: Axes, values: np.ndarray, scale: Scale) -> None:
    for row, column in np.argwhere(~np.isnan(values)):
        value = values[row, column]
        red, green, blue, _ = scale.colours(scale.norm(value))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        axes.text(
            column,
            row,
            scale.form.format(value),
            ha="center",
            va="center",
            fontsize=6,
            color="white" if dark else "black",
        )
