"""What came of a run, in the one line that a log has room for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def result_line(metrics: Mapping[str, Any], folder: Path) -> str:
    """Quality, speed and realised skip of a run, and where the rest is.

    Parameters
    ----------
    metrics
        A `METRICS` record.
    folder
        The run's.
    """
    told = [
        _with_full(
            f"quality {{}} ({metrics.get('quality_metric')})",
            metrics.get("quality"),
            metrics.get("full_quality"),
        ),
        _number("realised skip {}", metrics.get("realised_skip_weighted")),
        _number("{} times the full model's decode speed", metrics.get("speedup")),
        _number("{} decode tokens/s", metrics.get("tokens_per_s")),
    ]
    return f"Finished, {metrics.get('examples')} examples: {', '.join(one for one in told if one)}; {folder}"


def _number(words: str, value: float | None) -> str | None:
    return None if value is None else words.format(f"{value:.3g}")


def _with_full(words: str, value: float | None, full: float | None) -> str | None:
    if value is None:
        return None
    beside = "" if full is None else f", the full model's {full:.3g}"
    return f"{words.format(f'{value:.3g}')}{beside}"
