"""The command line: `python -m analysis report results --out results/report`."""

import argparse
import sys
from pathlib import Path

from analysis.chosen import Choice
from analysis.frames import AnalysisError
from analysis.report import write_report
from runners.notices import printable
from runners.streams import steady, unwritten
from runners.wandb_logger import Destination, log_report


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    command = commands.add_parser(
        "report", help="tables and figures of all finished runs in a results folder"
    )
    command.add_argument("results", type=Path)
    command.add_argument("runs", nargs="*", metavar="run_id", help="of these runs alone")
    where = "of runs with these values of a metric alone, such as method=ffnskip,full; several must all hold"
    command.add_argument("--where", action="append", default=[], metavar="METRIC=VALUE[,VALUE]", help=where)
    command.add_argument("--out", type=Path, help="default: <results>/report")
    command.add_argument("--wandb", choices=("offline", "online"), help="the figures also as a W&B run")
    command.add_argument("--project", default=Destination.project, help="of W&B")
    command.add_argument("--group", help="of W&B; default: the name of the results folder")
    steady()
    given = parser.parse_args(arguments)
    try:
        # A shell completes the names of folders.
        runs = tuple(Path(one).name for one in given.runs)
        results = _expanded(given.results)
        out = _expanded(given.out) if given.out else results / "report"
        report = write_report(results, out, Choice(tuple(given.where), runs))
    except AnalysisError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(map(printable, report.text.splitlines())))
    print(f"Written to {out}: {', '.join(sorted(path.name for path in report.files))}")
    if given.wandb:
        group = given.group or results.resolve().name
        figures = [path for path in report.files if path.suffix == ".png"]
        if told := log_report(figures, out, Destination(given.wandb, given.project, group)):
            print(f"Weights & Biases files: {told}")
    if lost := unwritten():
        print(f"error: {lost}", file=sys.stderr)
        sys.exit(2)


def _expanded(path: Path) -> Path:
    """A path with `~` and `~user` replaced."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise AnalysisError(f"{path}: {error}") from error


if __name__ == "__main__":
    main()
