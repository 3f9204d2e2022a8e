"""What all figures share: sizes, axes, and how a figure is saved."""

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis.figures import KINDS

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
    "pdf.fonttype": 42,  # letters that can be searched, and edited
}
DPI = 160
_UNDATED: Any = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def save(figure: Figure, out: Path, name: str) -> list[Path]:
    """Write a figure in each of `KINDS`."""
    paths = [out / f"{name}{kind}" for kind in KINDS]
    with rc_context(RC):
        for path in paths:
            resolution: Any = {"dpi": DPI} if path.suffix == ".png" else {}
            figure.savefig(path, metadata=_UNDATED.get(path.suffix), **resolution)
    return paths


def grid(panels: int, most: int) -> tuple[int, int]:
    """Rows and columns for so many panels, at most so many beside each other."""
    columns = min(panels, most)
    return -(-panels // columns), columns
