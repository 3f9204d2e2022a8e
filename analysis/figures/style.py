"""What all figures share: colours and markers of methods, sizes, and how a figure is saved."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with every common form of colour blindness; without the yellow, which
# paper swallows, and with grey for black, which is the full model.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d")
RC: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titley": 1.0,  # a fixed place: looking for one takes a tenth of the drawing
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "text.parse_math": False,  # names come with data and models, and may hold two dollar signs
    # Text stays text, and the same results give the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "skipbench",
}
DPI = 160


@dataclass(frozen=True)
class Look:
    """How a method is drawn."""

    colour: str
    marker: str


FULL = Look("#000000", "*")


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """A colour and a marker for every method; twelve have a marker of their own, and 84 a pair of both."""
    names = sorted(set(methods) - {"full"})
    found = {
        name: Look(COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])
        for number, name in enumerate(names)
    }
    return {**found, "full": FULL}


def save(figure: Figure, out: Path, name: str) -> list[Path]:
    """Write a figure as SVG and PNG."""
    paths = [out / f"{name}.svg", out / f"{name}.png"]
    with rc_context(RC):
        figure.savefig(paths[0], metadata={"Date": None})
        figure.savefig(paths[1], dpi=DPI)
    return paths


def grid(panels: int, most: int) -> tuple[int, int]:
    """Rows and columns for so many panels, at most so many beside each other."""
    columns = min(panels, most)
    return -(-panels // columns), columns
