"""The command line: `python -m analysis report results --out results/report`."""

import argparse
import sys
from pathlib import Path

from analysis.breakdown import by_category, by_score
from analysis.frames import AnalysisError, load_judgements, load_metrics, load_samples
from analysis.grades import grades_markdown
from analysis.page import gather, write_page
from analysis.tables import markdown, run_names, settings, table


def report(root: Path, out: Path) -> str:
    """Write the tables and the page of a results folder and return the comparison as Markdown.

    Raises
    ------
    AnalysisError
        There is nothing to report, or the files cannot be read or written.
    """
    metrics = load_metrics(root)
    if metrics.empty:
        raise AnalysisError(f"{root} holds no finished run")
    text = markdown(metrics)
    samples, judgements = load_samples(root), load_judgements(root)
    files = {"tables.md": text, "categories.md": "", "scores.md": "", "grades.md": ""}
    for title, runs in settings(metrics):
        names = run_names(runs)
        for file, frame in (
            ("categories.md", by_category(samples, names)),
            ("scores.md", by_score(samples, names)),
        ):
            if not frame.empty:
                files[file] += f"## {title}\n\n{table(frame)}\n\n"
        if judged := grades_markdown(judgements, names):
            files["grades.md"] += f"## {title}\n\n{judged}\n\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / name).write_text(content, encoding="utf-8")
        metrics.to_csv(out / "metrics.csv", index=False)
        write_page(gather(root, metrics, samples), out / "report.html")
    except OSError as error:
        raise AnalysisError(f"cannot write {error.filename or out}: {error.strerror}") from error
    return text


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    command = commands.add_parser("report", help="tables of all finished runs in a results folder")
    command.add_argument("results", type=Path)
    command.add_argument("--out", type=Path, help="default: <results>/report")
    given = parser.parse_args(arguments)
    out = given.out or given.results / "report"
    try:
        print(report(given.results, out))
    except AnalysisError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"Written to {out}: tables.md, categories.md, scores.md, grades.md, metrics.csv, report.html")


if __name__ == "__main__":
    main()
