"""The folder of one run: what is in it, in which order it appears, and who may write it."""

import contextlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from logging import getLogger
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runners.errors import RunError
from runners.files import explained, held, remove_temporaries, sync_folder, write_bytes, write_text
from runners.journal import Journal
from runners.schema import metrics_json, metrics_record, read_samples, sample_rows, samples_table

DONE = "DONE"
RESCORING = "RESCORING"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=@-]{0,199}")
_log = getLogger(__name__)


class RunFolder:
    """`<root>/<run_id>/`, written in this order: `config.yaml`, `environment.json`, `journal.jsonl` while the
    run goes on, then `samples.parquet`, `metrics.json`, `judgements-*.parquet`, and `DONE` as the promise
    that all are whole.

    Every method that touches the disk raises `RunError`, in one line, when the disk refuses.

    Parameters
    ----------
    root
        The folder that holds all runs; created when the first thing is written.
    run_id
        Name of the run: letters, digits and `. _ + = @ -`, at most 200, starting with a letter or a digit.
    """

    def __init__(self, root: Path | str, run_id: str) -> None:
        if not _RUN_ID.fullmatch(run_id):
            raise RunError(
                f"run id {run_id!r} cannot name a folder: use at most 200 letters, digits and . _ + = @ - "
                "and start with a letter or a digit"
            )
        self.run_id = run_id
        self.root = Path(root)
        self.path = self.root / run_id
        self.journal = Journal(self.path / "journal.jsonl")

    @contextlib.contextmanager
    def lock(self, wait: bool = False) -> Iterator[None]:
        """Hold the run for this process; the system lets go of it when the process ends, however it ends.

        Parameters
        ----------
        wait
            Wait, with a notice, until another process lets go; otherwise that is an error.
        """
        path = self.root / ".locks" / f"{self.run_id}.lock"
        with held(path, f"run {self.run_id} is being written by another process", wait):
            if self.path.is_dir():
                remove_temporaries(self.path)
            yield

    def is_done(self) -> bool:
        """Return whether the run is finished and every file of it whole."""
        with explained("read", self.path):
            return (self.path / DONE).is_file()

    def tidy(self) -> None:
        """Drop the journal of a finished run whose process was killed before it could."""
        if not self.journal.path.exists():
            return
        # Under the lock, because the run may be about to begin anew. Whoever holds it sees to the journal.
        with contextlib.suppress(RunError), self.lock():
            if self.is_done():
                self.journal.remove()

    def start(self, config: str, environment: Mapping[str, Any]) -> None:
        """Write `config.yaml` (the text given) and `environment.json`, before anything is measured.

        A run that is taken up again keeps the environment it began in; later ones follow under `resumed`,
        because times from two machines must not pass for times from one.
        """
        with explained("create", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self.write_text("config.yaml", config)
        described = dict(environment)
        if self.journal.path.exists() and (first := self._read_json("environment.json")) is not None:
            described = {**first, "resumed": [*first.get("resumed", []), described]}
        self.write_json("environment.json", described)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record to the journal; it is on disk when this returns. See `Journal.append`."""
        self.journal.append(record)

    def read_journal(self) -> list[dict[str, Any]]:
        """Return the records of an unfinished run, without a last one cut short. See `Journal.read`."""
        return self.journal.read()

    def finish(
        self,
        rows: Iterable[Mapping[str, Any]],
        metrics: Mapping[str, Any],
        judgements: Mapping[str, pa.Table] | None = None,
    ) -> None:
        """Write the results, then `DONE`, then drop the journal. Again: replace them (rescoring).

        Parameters
        ----------
        rows
            Rows with `SAMPLES` columns.
        metrics
            Values of `METRICS` fields.
        judgements
            Raw verdicts by judge, each written to `judgements-<name>.parquet`.
        """
        samples, record = samples_table(rows), metrics_json(metrics)
        self.write_parquet("samples.parquet", samples)
        self.write_text("metrics.json", record)
        for name, table in (judgements or {}).items():
            self.write_parquet(f"judgements-{name}.parquet", table)
        self.write_text(DONE, time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime()))
        self.journal.remove()

    @contextlib.contextmanager
    def rescoring(self) -> Iterator[None]:
        """Mark a finished run while its scores are replaced.

        Killed in between, its files are whole but not of one scoring, and its command scores it again.
        """
        self.write_text(RESCORING, "")
        yield
        with explained("remove", self.path):
            (self.path / RESCORING).unlink(missing_ok=True)

    def is_half_rescored(self) -> bool:
        """Return whether rescoring was cut short."""
        return (self.path / RESCORING).exists()

    def reset(self) -> None:
        """Remove the results and the journal of an earlier run; call it when new ones are about to begin.

        `DONE` goes first, so that a reset cut short never leaves a folder that looks finished. Files that no
        run writes are left alone.
        """
        with explained("remove", self.path):
            (self.path / DONE).unlink(missing_ok=True)
            if not self.path.is_dir():
                return
            sync_folder(self.path)
            for name in (
                "journal.jsonl",
                "metrics.json",
                "samples.parquet",
                "environment.json",
                "config.yaml",
                RESCORING,
            ):
                (self.path / name).unlink(missing_ok=True)
            for judgements in self.path.glob("judgements-*.parquet"):
                judgements.unlink()
            if (self.path / "wandb").is_dir():
                shutil.rmtree(self.path / "wandb")

    def read_rows(self) -> list[dict[str, Any]]:
        """Return the rows of `samples.parquet`."""
        path = self.path / "samples.parquet"
        with explained("read", path):
            try:
                return sample_rows(read_samples(path))
            except (ValueError, pa.ArrowException) as error:
                raise RunError(f"cannot read {path}: {str(error).splitlines()[0]}") from error

    def read_metrics(self) -> dict[str, Any]:
        """Return the record of `metrics.json`, with every `METRICS` field."""
        record = self._read_json("metrics.json")
        if record is None:
            raise RunError(f"{self.path / 'metrics.json'}: no such file; the run is not finished")
        try:
            return metrics_record(record)
        except ValueError as error:
            raise RunError(f"{self.path / 'metrics.json'}: {error}") from error

    def write_text(self, name: str, text: str) -> None:
        """Replace a file of the run by a text, in one step."""
        write_text(self.path / name, text)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Replace a file of the run by strict JSON, in one step."""
        self.write_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def write_parquet(self, name: str, table: pa.Table) -> None:
        """Replace a file of the run by a table, in one step."""
        sink = pa.BufferOutputStream()
        # Runs are many small files: zstd would save a tenth of the room and take twice as long to read;
        # dictionaries and statistics cost both.
        pq.write_table(table, sink, compression="snappy", use_dictionary=False, write_statistics=False)
        write_bytes(self.path / name, sink.getvalue().to_pybytes())

    def _read_json(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        with explained("read", path):
            try:
                value = json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                return None
            except (ValueError, RecursionError) as error:
                raise RunError(f"{path}: not JSON; remove the file, and the run starts anew") from error
        if not isinstance(value, dict):
            raise RunError(f"{path}: expected a JSON object, found {type(value).__name__}")
        return value


def find_runs(root: Path | str) -> list[RunFolder]:
    """Return the finished runs of a results folder by name, or the one run if `root` is itself its folder."""
    root = Path(root)
    with explained("read", root):
        if (root / DONE).is_file():
            root = root.resolve()
            return [RunFolder(root.parent, root.name)]
        if not root.is_dir():
            return []
        names = sorted(entry.name for entry in root.iterdir() if (entry / DONE).is_file())
    return [RunFolder(root, name) for name in names if _RUN_ID.fullmatch(name)]


def finished_run(path: Path) -> RunFolder:
    """The run in a folder, results/<run_id>.

    Raises
    ------
    RunError
        No finished run is there.
    """
    with explained("read", path):
        there = path.is_dir()
    if not there:
        raise RunError(f"{path} is not a folder; give the folder of a finished run, results/<run_id>")
    run = RunFolder(path.resolve().parent, path.resolve().name)
    if not run.is_done():
        raise RunError(f"{path} is not a finished run (it has no DONE); run its command again to finish it")
    return run


def check_writable(root: Path) -> None:
    """Refuse a results folder that cannot be written, before anything is loaded."""
    with explained("use", root):
        there = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise RunError(f"results_dir={root}: {there} is not a folder; choose another results_dir")
    # Tried, because rights do not tell: root may write everywhere, and cannot in /proc.
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise RunError(
            f"results_dir={root}: {there} cannot be written ({error.strerror}); choose another results_dir"
        ) from error
