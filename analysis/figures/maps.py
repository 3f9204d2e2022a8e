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

# Of a row whose cells have limits too, and of such a cell.
_TALL_ROW, _CELL = 0.3, 0.78
_ROW, _LEFT, _BLOCK, _BETWEEN, _HEAD, _FOOT = 0.17, 1.9, 3.4, 0.25, 0.5, 0.7  # inches
# Cells of more columns than that are too narrow for a number.
_MOST_NUMBERS = 14
# More letters than that do not fit below a map side by side.
_MOST_LETTERS = 40


@dataclass(frozen=True)
class Cells:
    """The values of a map, in rows and columns; with limits and numbers of answers where they are estimates.

    Attributes
    ----------
    values : DataFrame
        NaN: unknown.
    lo, hi : DataFrame or None
        95 % limits, in the same rows and columns.
    n : DataFrame or None
        Answers.
    """

    values: pd.DataFrame
    lo: pd.DataFrame | None = None
    hi: pd.DataFrame | None = None
    n: pd.DataFrame | None = None

    def reindexed(self, names: Sequence[str]) -> "Cells":
        """These rows of it."""
        parts = (self.values, self.lo, self.hi, self.n)
        return Cells(*(None if part is None else part.reindex(names) for part in parts))  # type: ignore[arg-type]

    @property
    def has_limits(self) -> bool:
        """Whether limits are known and there is room for them."""
        return self.lo is not None and self.values.shape[1] <= _MOST_NUMBERS

    def heads(self) -> list[str]:
        """The names of the columns, with the number of answers that each row has there."""
        if self.n is None:
            return [str(name) for name in self.values.columns]
        counts = [self.n[name].dropna().astype(int) for name in self.n]
        least, most = ([getattr(one, end)() if len(one) else 0 for one in counts] for end in ("min", "max"))
        said = [f"n = {a}" if a == b else f"n = {a} to {b}" for a, b in zip(least, most, strict=True)]
        return [f"{name}\n{n}" for name, n in zip(self.values.columns, said, strict=True)]


@dataclass(frozen=True)
class Panel:
    """Maps that share their rows.

    Attributes
    ----------
    title : str
    maps : sequence of (str, Cells)
        What the columns are, and the values; a row that one of them lacks is unknown there.
    """

    title: str
    maps: Sequence[tuple[str, Cells]]

    def aligned(self) -> list[tuple[str, Cells]]:
        """The maps with all rows of any of them, in one order."""
        names = list(dict.fromkeys(name for _, cells in self.maps for name in cells.values.index))
        return [(what, cells.reindexed(names)) for what, cells in self.maps]


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
    every = [cells for together in aligned for _, cells in together]
    row = _TALL_ROW if any(cells.has_limits for cells in every) else _ROW
    block = max([_BLOCK, *(_CELL * cells.values.shape[1] for cells in every if cells.has_limits)])
    heights = [row * len(together[0][1].values) for together in aligned]
    width = _LEFT + blocks * (block + _BETWEEN)
    height = sum(heights) + len(panels) * (_HEAD + _FOOT) + 0.9
    with rc_context(RC):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        figure.suptitle(title, x=0.1 / width, y=1 - 0.12 / height, ha="left", va="top", fontsize=9)
        top = height - 0.3
        for panel, together, tall in zip(panels, aligned, heights, strict=True):
            figure.text(0.1 / width, (top - 0.05) / height, panel.title, va="top")
            for number, (what, cells) in enumerate(together):
                left = _LEFT + number * (block + _BETWEEN)
                place = (left / width, (top - _HEAD - tall) / height, block / width, tall / height)
                axes = figure.add_axes(place)
                _map(axes, cells, scale, named=number == 0)
                axes.set_title(what, loc="left")
            top -= _HEAD + tall + _FOOT
        if row == _TALL_ROW:
            said = "In brackets: 95 % limits. n: answers."
            figure.text(0.1 / width, 0.1 / height, said, fontsize=7, va="bottom")
        bar = figure.add_axes(
            ((width - _BETWEEN - _BLOCK) / width, 0.42 / height, _BLOCK / width, 0.1 / height)
        )
        figure.colorbar(
            ScalarMappable(scale.norm, scale.colours), cax=bar, orientation="horizontal", label=scale.title
        )
    return figure


def _map(axes: Axes, cells: Cells, scale: Scale, named: bool) -> None:
    frame = cells.values
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
        _numbers(axes, cells, scale)
    names = cells.heads()
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


def _numbers(axes: Axes, cells: Cells, scale: Scale) -> None:
    values = cells.values.to_numpy(float)
    limits = [None if part is None else part.to_numpy(float) for part in (cells.lo, cells.hi)]
    for row, column in np.argwhere(~np.isnan(values)):
        value = values[row, column]
        red, green, blue, _ = scale.colours(scale.norm(value))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        axes.text(
            column,
            row,
            "\n".join((scale.form.format(value), *_limits(limits, row, column, scale))),
            ha="center",
            va="center",
            fontsize=6 if cells.lo is None else 5.5,
            linespacing=1.1,
            color="white" if dark else "black",
        )


def _limits(limits: Sequence[np.ndarray | None], row: int, column: int, scale: Scale) -> list[str]:
    known = [part[row, column] for part in limits if part is not None]
    return (
        [] if len(known) < 2 or np.isnan(known).any() else [f"[{', '.join(map(scale.form.format, known))}]"]
    )
