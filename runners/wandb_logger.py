"""Report a finished run to Weights & Biases, after the fact and at arm's length.

The run is complete and stored before this begins. Whatever W&B does then, be it missing, refused, slow or
broken, ends in one warning line, and everything it writes lies in `<run folder>/wandb/`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any, Literal

from runners.schema import sample_rows, samples_table

Mode = Literal["offline", "online", "disabled"]
EXAMPLE_COLUMNS = [
    *("example_id", "turn", "category", "question", "prompt", "output_text", "full_output_text"),
    *("finish_reason", "output_tokens", "full_output_tokens", "decode_s", "full_decode_s"),
    *("quality", "full_quality", "outcome", "full_outcome", "collapsed"),
]
MAX_EXAMPLES = 2000
_log = getLogger(__name__)


def log_run(
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
    mode: Mode = "offline",
    project: str = "skipbench",
    group: str | None = None,
    entity: str | None = None,
    timeout_s: float = 120.0,
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
    mode
        "offline" writes files for `wandb sync`, "online" also uploads them, "disabled" does nothing.
    project, group, entity
        W&B's own.
    timeout_s
        Seconds after which W&B is stopped.

    Returns
    -------
    Path or None
        The folder with W&B's files; None if disabled or, after one warning line, if W&B failed.
    """
    if mode == "disabled":
        return None
    home = folder.resolve() / "wandb"
    try:
        home.mkdir(parents=True, exist_ok=True)
        where = {
            "project": project,
            "entity": entity,
            "group": group,
            "mode": mode,
            "dir": str(home.parent),
            "timeout_s": timeout_s,
        }
        message = json.dumps({"id": folder.name, **where, **content(config, metrics, rows)})
        failure = _run_process(message, home, timeout_s)
    except (OSError, ValueError, TypeError) as error:
        failure = " ".join(str(error).split())
    if failure is None:
        return home
    _log.warning("W&B has no record of this run, whose results are stored: %s", failure)
    return None


def content(
    config: Mapping[str, Any], metrics: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what W&B is told of a run, in values that JSON can hold."""
    shown = sample_rows(samples_table(rows[:MAX_EXAMPLES]))
    histograms = {
        f"{kind}_runs_skipped_by_layer": skipped_by_layer(rows, kind) for kind in ("attention", "ffn")
    }
    return {
        "config": dict(config),
        "summary": {name: value for name, value in metrics.items() if value is not None},
        "columns": EXAMPLE_COLUMNS,
        "examples": [[row[name] for name in EXAMPLE_COLUMNS] for row in shown],
        "histograms": {name: skipped for name, skipped in histograms.items() if skipped},
    }


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


def _run_process(message: str, home: Path, timeout_s: float) -> str | None:
    """Run the W&B process; return None if it succeeded, else the reason."""
    below_home = {
        "WANDB_DIR": home.parent,  # to which W&B itself appends "wandb"
        "WANDB_CACHE_DIR": home / "cache",
        "WANDB_DATA_DIR": home / "data",
        "WANDB_CONFIG_DIR": home / "config",
        "WANDB_ARTIFACT_DIR": home / "artifacts",
    }
    variables = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
    variables |= {name: str(path) for name, path in below_home.items()}
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
            env=variables,
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


def _reason(stderr: str) -> str:
    """Return the error of a traceback without the frames above it, else the last line; in one line."""
    frames, _, innermost = stderr.rpartition('\n  File "')
    lines = [line for line in innermost.split("\n")[1 if frames else 0 :] if line.strip()]
    first = next((n for n, line in enumerate(lines) if frames and not line.startswith(" ")), len(lines) - 1)
    return " ".join(" ".join(lines[max(first, 0) :]).split())[:500]
