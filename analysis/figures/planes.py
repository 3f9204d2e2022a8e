"""Pareto fronts, and speed against its ideal: runs as points, small multiples by task."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from analysis.figures.placement import place
from analysis.figures.points import Plane
from analysis.figures.style import RC, grid
from analysis.looks import Look

# With more points than that a panel is a cloud, in which only the front can be read.
MOST_LABELS = 60
_FADED = 0.35
_WIDTH, _HEIGHT, _HEAD = 4.6, 3.6, 0.3  # inches of a panel, and of the title
Line = Callable[[Axes, pd.DataFrame], None]
_SHARES = ("realised_skip_weighted", "new_hallucination_rate")
# From 0 to 1, as long as the values are: a quality may be a grade.
_RATES = (*_SHARES, "quality")


def fronts(
    title: str, plane: Plane, panels: Mapping[str, pd.DataFrame], drawn_as: Mapping[str, Look]
) -> Figure:
    """The front of every panel, with what it beats faded.

    Parameters
    ----------
    title
    plane
    panels
        Frames of `points.points`, by title.
    drawn_as
        From `looks.looks`.
    """
    note = "Faded: another point is at least as good in both, and better in one. Bars: 95 % limits."
    if not plane.y.larger:
        note += "\nA loop is no hallucination: see the share of collapsed answers in the table."
    return _figure(title, note, plane, panels, drawn_as, _front_line)


def against_ideal(
    title: str, plane: Plane, panels: Mapping[str, pd.DataFrame], drawn_as: Mapping[str, Look]
) -> Figure:
    """Every run's speedup over the one that its bytes allow; on the line the two are equal."""
    note = "On the line: as fast as the bytes moved allow. Below: overhead. Bars: 95 % limits."
    panels = {name: frame.assign(front=True, mark="") for name, frame in panels.items()}
    return _figure(title, note, plane, panels, drawn_as, _diagonal)


def _figure(
    title: str,
    note: str,
    plane: Plane,
    panels: Mapping[str, pd.DataFrame],
    drawn_as: Mapping[str, Look],
    line: Line,
) -> Figure:
    rows, columns = grid(len(panels), 3)
    width = max(6.4, _WIDTH * columns)
    handles = _handles(pd.concat(panels.values()), drawn_as)
    beside = min(len(handles), int((width - 0.6) // 1.4))
    note = _footnote(note, panels)
    note_height = 0.14 * (note.count("\n") + 1) + 0.1
    foot = note_height + 0.18 * -(-len(handles) // beside) + 0.55
    height = _HEIGHT * rows + _HEAD + foot
    with rc_context(RC):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        every = figure.subplots(rows, columns, squeeze=False)
        figure.subplots_adjust(
            left=0.6 / width,
            right=1 - 0.2 / width,
            bottom=(foot + 0.1) / height,
            top=1 - (_HEAD + 0.2) / height,
            wspace=0.6 / _WIDTH,
            hspace=0.8 / _HEIGHT,
        )
        figure.suptitle(title, x=0.6 / width, y=1 - 0.12 / height, ha="left", va="top", fontsize=9)
        for axes, (name, frame) in zip(every.flat, panels.items(), strict=False):
            _panel(axes, name, plane, frame, drawn_as, line)
        for axes in every.flat[len(panels) :]:
            axes.set_visible(False)
        figure.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0.5 / width, note_height / height),
            ncols=beside,
            columnspacing=1.2,
            handletextpad=0.2,
        )
        figure.text(0.6 / width, 0.1 / height, note, fontsize=7, va="bottom")
    return figure


def _panel(
    axes: Axes, name: str, plane: Plane, frame: pd.DataFrame, drawn_as: Mapping[str, Look], line: Line
) -> None:
    axes.set_title(name, loc="left")
    axes.set_xlabel(plane.x.title)
    axes.set_ylabel(plane.y.title)
    for axis, quantity in ((axes.xaxis, plane.x), (axes.yaxis, plane.y)):
        if quantity.field in _SHARES:
            # With as many digits as it takes to tell two ticks apart.
            axis.set_major_formatter(PercentFormatter(1))
    for (method, ahead), group in frame.groupby(["method", "front"]):
        look = drawn_as[method]
        _, _, bars = axes.errorbar(
            group["x"],
            group["y"],
            xerr=_bars(group["x"], group["x_lo"], group["x_hi"]),
            yerr=_bars(group["y"], group["y_lo"], group["y_hi"]),
            linestyle="",
            color=look.colour,
            marker=look.marker,
            markersize=9 if method == "full" else 5,
            markeredgecolor="white",
            markeredgewidth=0.4,
            elinewidth=0.7,
            alpha=1 if ahead else _FADED,
            zorder=4 if ahead else 3,
            clip_on=False,
        )
        for bar in bars:
            bar.set_alpha(0.6 if ahead else 0.18)
    axes.margins(0.1)
    axes.autoscale_view()
    for name, quantity, limit in (("x", plane.x, axes.set_xlim), ("y", plane.y, axes.set_ylim)):
        if quantity.field in _RATES and frame[name].between(0, 1).all():
            limit(*np.clip(axes.get_xlim() if name == "x" else axes.get_ylim(), 0, 1))
    line(axes, frame)
    _labels(axes, frame)


def _bars(values: pd.Series, lo: pd.Series, hi: pd.Series) -> np.ndarray:
    """Lengths of error bars, 0 without limits; limits of a resampled ratio need not contain the ratio."""
    lengths = np.array([values - lo, hi - values], dtype=float)
    return np.clip(np.nan_to_num(lengths), 0, None)


def _front_line(axes: Axes, frame: pd.DataFrame) -> None:
    """Between two points of the front only what the worse of them reaches is reached."""
    ahead = frame[frame["front"]].sort_values("x")
    axes.plot(ahead["x"], ahead["y"], color="#444444", linewidth=1, drawstyle="steps-pre", zorder=2)


def _diagonal(axes: Axes, frame: pd.DataFrame) -> None:
    lo, hi = frame[["x", "y"]].to_numpy(float).min(), frame[["x", "y"]].to_numpy(float).max()
    axes.plot([lo, hi], [lo, hi], color="#444444", linewidth=1, zorder=2)


def _labels(axes: Axes, frame: pd.DataFrame) -> None:
    """A label a point, with the method's name on the front; a thin line where it had to move away."""
    frame = frame.sort_values("front", ascending=False, kind="stable")
    if len(frame) > MOST_LABELS:
        frame = frame[frame["front"] | (frame["method"] == "full")]
    if frame.empty:
        return
    texts = [
        axes.text(
            0,
            0,
            _label(row),
            fontsize=7 if row.front else 6,
            color="black" if row.front else "#555555",
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.3},
            zorder=5,
        )
        for row in frame.itertuples()
    ]
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    extents = [text.get_window_extent(renderer) for text in texts]
    anchors = axes.transData.transform(frame[["x", "y"]].to_numpy(float))
    sizes = np.array([(box.width, box.height) for box in extents])
    corners = place(anchors, sizes, axes.bbox.extents)
    back = axes.transData.inverted()
    for text, anchor, size, corner in zip(texts, anchors, sizes, corners, strict=True):
        text.set_position(tuple(back.transform(corner)))
        nearest = np.clip(anchor, corner, corner + size)
        if np.hypot(*(nearest - anchor)) > 12:
            ends = back.transform([anchor, nearest])
            axes.plot(*ends.T, color=text.get_color(), linewidth=0.4, alpha=0.6, zorder=2.5)


def _label(row: Any) -> str:
    if row.method == "full":
        return "full model"
    # A label that names what was asked for has the realised skip beside it.
    skip = "" if pd.isna(row.skip) or "(asked" in row.label else f"({row.skip:.2f})"
    words = [row.method if row.front or not row.label else "", row.label, skip, row.mark]
    return " ".join(word for word in words if word)


def _handles(frame: pd.DataFrame, drawn_as: Mapping[str, Look]) -> list[Line2D]:
    """The legend: methods by name, and the full model last."""
    kinds = frame.groupby("method")[["lossless", "untrained"]].any()
    methods = sorted(kinds.index, key=lambda name: (name == "full", name))
    titles = {
        row.Index: row.Index + "*" * row.untrained + " (lossless)" * row.lossless
        for row in kinds.itertuples()
    } | {"full": "full model"}
    return [
        Line2D(
            [],
            [],
            color=drawn_as[name].colour,
            marker=drawn_as[name].marker,
            linestyle="",
            label=titles[name],
        )
        for name in methods
    ]


def _footnote(note: str, panels: Mapping[str, pd.DataFrame]) -> str:
    parts = [note]
    if any((frame["mark"] != "").any() for frame in panels.values()):
        parts.append("↓ ↑: quality differs from the full model's (exact test, Holm, p < 0.05).")
    if any(frame["skip"].notna().any() for frame in panels.values()):
        parts.append("In parentheses: realised skip.")
    if any(frame["untrained"].any() for frame in panels.values()):
        parts.append("* untrained ablation: the method's paper trains the model for it.")
    if any(len(frame) > MOST_LABELS for frame in panels.values()):
        parts.append(f"Panels of more than {MOST_LABELS} points have labels on the front only.")
    return "\n".join(parts)
