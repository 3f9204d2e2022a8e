"""The figures of a report. What they show is computed without matplotlib; drawing needs it (`.[plots]`)."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.tables import Setting

# What figures read of the answers.
FIGURE_COLUMNS = (
    *("run_id", "example_id", "category", "prompt_tokens", "full_output_tokens", "quality", "full_quality"),
    *("attention_run_by_layer", "attention_total", "ffn_run_by_layer", "ffn_total"),
    *("exit_layers", "accepted_lengths"),
)

# Each figure is there as each of these.
KINDS = (".svg", ".png", ".pdf")
# What the names of figures begin with.
FIGURES = (
    *(
        "pareto-score-",
        "pareto-quality-speedup",
        "pareto-hallucination-speedup",
        "pareto-quality-skip",
        "speed-ideal",
    ),
    *("skip-by-layer", "quality-by-category", "quality-by-length", "exit-layers", "accepted-lengths"),
)


def draw_all(settings: Sequence[Setting], samples: pd.DataFrame, out: Path) -> tuple[list[Path], list[str]]:
    """Draw every figure that there is something for, as SVG, PNG and PDF.

    Parameters
    ----------
    settings
        From `tables.settings`, through `points.with_new_hallucination_limits`.
    samples
        A frame of `load_samples` with `FIGURE_COLUMNS`.
    out
        A folder that exists.

    Returns
    -------
    list of Path, list of str
        The files, and what was not drawn and why, a line each.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return [], ["No figures: they need matplotlib; pip install -e '.[plots]'"]
    from analysis.figures.study import draw_studies

    return draw_studies(settings, samples, out)
