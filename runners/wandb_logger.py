"""Report a finished run to Weights & Biases, after the fact and at arm's length.

The run is complete and stored before this begins. Whatever W&B does then, be it missing, refused, slow or
broken, ends in one warning line, and everything it writes lies in `<run folder>/wandb/`.
"""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runners.notices import printable
from runners.schema import sample_rows, samples_table

if TYPE_CHECKING:
    # It knows the engine's options, and so torch, which nothing here needs.
    from runners.settings import LoggerConfig

EXAMPLE_COLUMNS = [
    *("example_id", "turn", "category", "question", "prompt", "output_text", "full_output_text"),
    *("finish_reason", "output_tokens", "full_output_tokens", "decode_s", "full_decode_s"),
    *("quality", "full_quality", "outcome", "full_outcome", "collapsed"),
]
VERDICT_COLUMNS = [
    *("judge", "example_id", "turn", "category", "side", "rating", "winner", "parsed", "reply"),
]
# Of examples, and of verdicts.
MAX_ROWS = 2000
# That a run is about to be told, whom it was told, and the content of what was last told of a judge.
_TO_TELL, _TOLD_RUN, _TOLD = "to-tell", "told-run.json", "told-grades.sha256"
_log = getLogger(__name__)


@dataclass(frozen=True)
class Destination:
    """Where W&B keeps a run.

    Attributes
    ----------
    mode : str
        "offline" writes files for `wandb sync`, "online" also uploads them, "disabled" does nothing.
    project, group, entity : str or None
        W&B's own.
    timeout_s : float
        Seconds after which W&B is stopped.
    """

    mode: str = "offline"
    project: str = "skipbench"
    group: str | None = None
    entity: str | None = None
    timeout_s: float = 120.0

    @classmethod
    def of(cls, logger: "LoggerConfig") -> "Destination":
        """What `logger=` says."""
        mode = logger.mode if logger.name == "wandb" else "disabled"
        return cls(mode, logger.project, logger.group)


# Nobody is told.
NOWHERE = Destination(mode="disabled")


def log_run(
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
    to: Destination,
) -> Path | None:
    """Write one W&B run: metrics as its summary, a table of examples, the skipped runs by layer, the
    configuration.

    Parameters
    ----------
    config
        The run's configuration, nested as it is; keys and values that JSON can hold.
    metrics
        The run's `METRICS` record.
    rows
        The run's rows; the first 2000 go into the table of examples.
    folder
        The run's folder; its name, the run id, names the W&B run, so that reporting twice updates one run.
    to : Destination

    Returns
    -------
    Path or None
        The folder with W&B's files; None if disabled or, after one warning line, if W&B failed.
    """
    if to.mode == "disabled":
        return None
    failure = _told(lambda: content(config, metrics, rows), folder, to)
    with contextlib.suppress(OSError):
        if failure is None:
            _mark(folder, _TOLD_RUN).write_text(_whom(to), encoding="utf-8")
        _mark(folder, _TO_TELL).unlink(missing_ok=True)
    return _kept(failure, folder, "this run, whose results are stored")


def promise(folder: Path, to: Destination) -> None:
    """Note that a run will be told as soon as it is finished, in case the process is killed in between."""
    if to.mode != "disabled":
        with contextlib.suppress(OSError):
            mark = _mark(folder, _TO_TELL)
            mark.parent.mkdir(exist_ok=True)
            mark.touch()


def is_promised(folder: Path) -> bool:
    """Return whether the process of a run was killed before it had told W&B."""
    return _mark(folder, _TO_TELL).exists()


def is_told(folder: Path, to: Destination) -> bool:
    """Return whether W&B knows a run, or is not to."""
    if to.mode == "disabled":
        return True
    try:
        return _mark(folder, _TOLD_RUN).read_text(encoding="utf-8") == _whom(to)
    except (OSError, ValueError):
        return False


def forget(folder: Path) -> None:
    """Let a run be told again: its metrics have changed."""
    with contextlib.suppress(OSError):
        _mark(folder, _TOLD_RUN).unlink()


def _mark(folder: Path, name: str) -> Path:
    return folder / "wandb" / name


def _whom(to: Destination) -> str:
    return json.dumps([to.mode, to.project])


def log_grades(
    metrics: Mapping[str, Any],
    by_part: Mapping[str, float],
    verdicts: Sequence[Mapping[str, Any]],
    folder: Path,
    to: Destination,
) -> Path | None:
    """Add a judge's grades to the W&B run of a finished run: its metrics anew, grades by turn and category, a
    table of verdicts.

    What W&B has been told already it is not told again; what it was not, because it failed, it is.

    Parameters
    ----------
    metrics, folder, to
        As in `log_run`.
    by_part
        Grades by name, for the summary.
    verdicts
        Rows with `JUDGEMENTS` columns; the first 2000 go into the table.

    Returns
    -------
    Path or None
        As in `log_run`; None also where there is nothing new.
    """
    if to.mode == "disabled":
        return None
    told = graded(metrics, by_part, verdicts)
    digest = hashlib.sha256(json.dumps([asdict(to), told], sort_keys=True).encode()).hexdigest()
    home = folder.resolve() / "wandb"
    mark = home / _TOLD
    try:
        if mark.exists() and mark.read_text(encoding="utf-8") == digest:
            return None
        failure = _told(lambda: told, folder, to)
        if failure is None:
            mark.write_text(digest, encoding="utf-8")
            return home
    except (OSError, ValueError) as error:
        failure = " ".join(str(error).split())
    _log.warning("W&B has no record of these grades, which are stored: %s", printable(failure))
    return None


def log_report(figures: Sequence[Path], folder: Path, to: Destination) -> Path | None:
    """Add the figures of a report to W&B, as the media of a run of their own.

    Parameters
    ----------
    figures
        PNG files; each is called by its name without the ending.
    folder
        The report's. Its run is named by `to.group`; online a later report of a study is a later step of it.
    to : Destination

    Returns
    -------
    Path or None
        As in `log_run`.
    """
    name = f"report-{re.sub('[^A-Za-z0-9._-]+', '_', to.group or 'all')}"
    images = {figure.stem: str(figure.resolve()) for figure in figures}
    failure = _told(lambda: {"images": images, "summary": {}}, folder, to, name)
    return _kept(failure, folder, "this report, which is written")


def _kept(failure: str | None, folder: Path, what: str) -> Path | None:
    """Where W&B's files are; after a failure a warning, and None."""
    if failure is None:
        return folder.resolve() / "wandb"
    _log.warning("W&B has no record of %s: %s", what, printable(failure))
    return None


def content(
    config: Mapping[str, Any], metrics: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what W&B is told of a run, in values that JSON can hold."""
    shown = sample_rows(samples_table(rows[:MAX_ROWS]))
    histograms = {
        f"{kind}_runs_skipped_by_layer": skipped_by_layer(rows, kind) for kind in ("attention", "ffn")
    }
    return {
        "config": dict(config),
        # W&B takes no longer ones.
        "tags": [str(metrics[name])[:64] for name in ("method", "task", "model") if metrics.get(name)],
        "summary": _known(metrics),
        "examples": _table(EXAMPLE_COLUMNS, shown),
        "histograms": {name: skipped for name, skipped in histograms.items() if skipped},
    }


def graded(
    metrics: Mapping[str, Any], by_part: Mapping[str, float], verdicts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what W&B is told of a judge's verdicts on a run, in values that JSON can hold."""
    return {
        "summary": {**_known(metrics), **by_part},
        "verdicts": _table(VERDICT_COLUMNS, verdicts[:MAX_ROWS]),
    }


def _known(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if value is not None}


def _table(columns: list[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"columns": columns, "data": [[row[name] for name in columns] for row in rows]}


def skipped_by_layer(rows: Sequence[Mapping[str, Any]], kind: str) -> list[int]:
    """Return the token runs of `kind` (attention, ffn) left out in decode, by layer; [] if no row tells."""
    run, total = f"{kind}_run_by_layer", f"{kind}_total"
    counted = [row for row in rows if row.get(run) and row.get(total) is not None]
    layers = max((len(row[run]) for row in counted), default=0)
    skipped = [0] * layers
    for row in counted:
        for layer, runs in enumerate(row[run]):
            skipped[layer] += row[total] // len(row[run]) - runs
    return skipped


def _told(
    told: Callable[[], Mapping[str, Any]], folder: Path, to: Destination, name: str | None = None
) -> str | None:
    """Tell W&B of what is in a folder, by its name or another; return None if it took it, else the reason."""
    home = folder.resolve() / "wandb"
    try:
        home.mkdir(parents=True, exist_ok=True)
        where = {**asdict(to), "id": name or folder.name, "dir": str(home.parent)}
        return _run_process(json.dumps({**where, **told()}), home, to.timeout_s)
    except (OSError, ValueError, TypeError) as error:
        return " ".join(str(error).split())


def _run_process(message: str, home: Path, timeout_s: float) -> str | None:
    """Run the W&B process; return None if it succeeded, else the reason."""
    # Files instead of pipes: a helper that W&B leaves behind could hold a pipe open, and we would wait for
    # it.
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+", errors="replace") as errors:
        given.write(message)
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "runners.wandb_process"],
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=Path(__file__).resolve().parents[1],  # from where the module is importable, installed or not
            env=environment_below(home),
            start_new_session=True,
        )
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return f"it took longer than {timeout_s:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        errors.seek(0)
        return None if status == 0 else _reason(errors.read()) or f"its process ended with status {status}"


def environment_below(home: Path) -> dict[str, str]:
    """The environment of a process of W&B, which writes below a run's `wandb/` alone."""
    below_home = {
        "WANDB_DIR": home.parent,  # to which W&B itself appends "wandb"
        "WANDB_CACHE_DIR": home / "cache",
        "WANDB_DATA_DIR": home / "data",
        "WANDB_CONFIG_DIR": home / "config",
        "WANDB_ARTIFACT_DIR": home / "artifacts",
    }
    variables = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
    return variables | {name: str(path) for name, path in below_home.items()}


def _reason(stderr: str) -> str:
    """Return the error of a traceback without the frames above it, else the last line; in one line."""
    frames, _, innermost = stderr.rpartition('\n  File "')
    lines = [line for line in innermost.split("\n")[1 if frames else 0 :] if line.strip()]
    first = next((n for n, line in enumerate(lines) if frames and not line.startswith(" ")), len(lines) - 1)
    return " ".join(" ".join(lines[max(first, 0) :]).split())[:500]
