"""All that a report consists of: notes, tables in three formats, figures where they can be drawn, a page."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.breakdown import category_text, category_values, score_text, score_values
from analysis.chosen import Choice
from analysis.figures import FIGURE_COLUMNS, FIGURES, KINDS, draw_all
from analysis.figures.points import with_new_hallucination_limits
from analysis.frames import (
    AnalysisError,
    half_rescored_runs,
    load_judgements,
    load_metrics,
    load_samples,
    unfinished_runs,
)
from analysis.grades import grades_markdown
from analysis.latex import latex
from analysis.notes import notes
from analysis.own_metrics import flat, own_metrics_markdown, with_own_metrics
from analysis.page import SAMPLE_COLUMNS, gather, write_page
from analysis.tables import Setting, comparison, comparison_values, markdown, run_names, settings, table

EVERYTHING = Choice()
# What the report reads of the answers.
COLUMNS = sorted(
    {
        *FIGURE_COLUMNS,
        *SAMPLE_COLUMNS,
        *("run_id", "task", "example_id", "category", "quality", "full_quality", "scores", "full_scores"),
        *("outcome", "full_outcome", "collapsed", "hallucinated", "full_hallucinated"),
    }
)
# What a report can have written besides figures.
TABLES = frozenset(
    {
        *(f"{name}.{kind}" for name in ("tables", "categories", "scores") for kind in ("md", "tex", "csv")),
        *("metrics.csv", "grades.md"),
    }
)


@dataclass(frozen=True)
class Report:
    """What has been written.

    Attributes
    ----------
    text : str
        Notes and comparison as Markdown, as in `tables.md`.
    files : tuple of Path
    """

    text: str
    files: tuple[Path, ...]


def write_report(root: Path, out: Path, choice: Choice = EVERYTHING) -> Report:
    """Write tables, figures and the page of the finished runs of a results folder, or of some of them.

    Raises
    ------
    AnalysisError
        There is nothing to report, or the files cannot be read or written.
    """
    metrics, unfinished = load_metrics(root), unfinished_runs(root)
    if metrics.empty:
        begun = f"; begun and not ended: {', '.join(run.name for run in unfinished)}" if unfinished else ""
        raise AnalysisError(f"{root} holds no finished run{begun}")
    count, metrics = len(metrics), choice.of(metrics)
    samples = _as_measured(load_samples(root, COLUMNS), metrics)
    samples = samples[samples["run_id"].isin(metrics["run_id"])]
    found = with_own_metrics(with_new_hallucination_limits(settings(metrics), samples))
    try:
        out.mkdir(parents=True, exist_ok=True)
        figures, remarks = draw_all(found, samples, out)
        said = [*choice.note(count), *notes(found, unfinished, half_rescored_runs(root)), *remarks]
        text = "".join(f"- {note}\n" for note in said) + ("\n" if said else "") + markdown(found)
        text += own_metrics_markdown(found)
        files = {"tables.md": text, "metrics.csv": flat(metrics).to_csv(index=False), **_comparisons(found)}
        files |= _breakdown("categories", found, lambda names: category_values(samples, names), category_text)
        files |= _breakdown("scores", found, lambda names: score_values(samples, names), score_text)
        files["grades.md"] = _grades(load_judgements(root), found)
        for name, content in files.items():
            (out / name).write_text(content, encoding="utf-8")
        page = out / "report.html"
        write_page(gather(root, found, samples, said), page)
        written = (*(out / name for name in files), *figures, page)
        _remove_others(out, written)
    except OSError as error:
        raise AnalysisError(f"cannot write {error.filename or out}: {error.strerror}") from error
    return Report(text, written)


def _as_measured(samples: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Answers without what could not be seen of them: a loop, within a length limit that ends before one."""
    unseen = metrics.loc[metrics["collapse_rate"].isna(), "run_id"]
    return samples.assign(collapsed=samples["collapsed"].mask(samples["run_id"].isin(unseen)))


def _remove_others(out: Path, written: Iterable[Path]) -> None:
    """What an earlier report of other runs has left under the names of this one."""
    kept = set(written)
    for path in out.iterdir():
        drawn = path.suffix in KINDS and path.name.startswith(FIGURES)
        if (drawn or path.name in TABLES) and path not in kept:
            path.unlink()


def _comparisons(found: list[Setting]) -> dict[str, str]:
    """`tables.tex` and `tables.csv`."""
    tex = [latex(comparison(runs), title) for title, runs in found]
    values = [comparison_values(runs).assign(setting=title) for title, runs in found]
    return {"tables.tex": "\n".join(tex), "tables.csv": _csv(values)}


def _grades(judgements: pd.DataFrame, found: list[Setting]) -> str:
    """What judges said, setting by setting."""
    said = ((title, grades_markdown(judgements, run_names(runs))) for title, runs in found)
    parts = [f"## {title}\n\n{text}\n\n" for title, text in said if text]
    return "".join(parts) or "No answer has been judged.\n"


def _breakdown(
    name: str,
    found: list[Setting],
    values_of: Callable[[dict[str, str]], pd.DataFrame],
    text_of: Callable[[pd.DataFrame], pd.DataFrame],
) -> dict[str, str]:
    """A table with a part for every setting, in three formats."""
    in_markdown, in_latex, frames = "", [], []
    for title, runs in found:
        values = values_of(run_names(runs))
        if not values.empty:
            text = text_of(values)
            in_markdown += f"## {title}\n\n{table(text)}\n\n"
            in_latex.append(latex(text, title))
            frames.append(values.assign(setting=title))
    if not frames:
        return {f"{name}.md": f"No answer has {name}.\n"}
    return {f"{name}.md": in_markdown, f"{name}.tex": "\n".join(in_latex), f"{name}.csv": _csv(frames)}


def _csv(frames: list[pd.DataFrame]) -> str:
    """Numbers as they are, with the setting first."""
    whole = pd.concat(frames, ignore_index=True)
    return whole[["setting", *whole.columns.drop("setting")]].to_csv(index=False)
