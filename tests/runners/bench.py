"""Short commands on the tiny model."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from runners.configure import job_from
from runners.execute import Finished, execute
from runners.pair import Pair
from runners.settings import Job
from runners.storage import RunFolder
from runners.typed import as_typed

ROOT = Path(__file__).resolve().parents[2]


@lru_cache(maxsize=512)
def composed(*overrides: str) -> Job:
    """The checked job of a command line; composing takes longer than a short run on a tiny model."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return job_from(compose("config", as_typed(overrides)))


class Bench:
    """Runs on the tiny model, into a results folder of the test's own."""

    def __init__(self, model: Path, folder: Path):
        self.model, self.folder, self.results = model, folder, folder / "results"

    def overrides(self, *overrides: str) -> list[str]:
        """A command line: these settings unless the test says otherwise."""
        usual = {
            "method": "full",
            "model": "hub",
            "model.path": str(self.model),
            "logger": "none",
            "results_dir": str(self.results),
            "limit": "4",
            "max_new_tokens": "24",
            "threads": "1",
        }
        said = {override.partition("=")[0].lstrip("~") for override in overrides}
        return [f"{key}={value}" for key, value in usual.items() if key not in said] + list(overrides)

    def job(self, *overrides: str) -> Job:
        """The checked job of a command line."""
        if any(override.lstrip("~").startswith("results_dir") for override in overrides):
            return composed(*self.overrides(*overrides))
        job = composed(*self.overrides(*overrides, "results_dir=results"))
        return replace(job, settings=replace(job.settings, results_dir=str(self.results)))

    def run(self, *overrides: str) -> Finished:
        """Execute a command line in this process."""
        return execute(self.job(*overrides))

    def rows(self, *overrides: str) -> list[dict[str, Any]]:
        """The rows of a run, which is executed unless it is finished already."""
        return rows_of(self.run(*overrides))

    def interrupted(self, monkeypatch: pytest.MonkeyPatch, batches: int, *overrides: str) -> None:
        """Execute a command line that is stopped while it answers the batch after so many."""
        ask, asked = Pair.rows, []

        def until_then(self: Pair, examples: Any, number: int) -> Any:
            asked.append(number)
            if len(asked) > batches:
                raise KeyboardInterrupt
            return ask(self, examples, number)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Pair, "rows", until_then)
            self.run(*overrides)

    def files(self) -> dict[str, bytes]:
        """Everything in the results folder, by its path there."""
        return {
            str(path.relative_to(self.results)): path.read_bytes()
            for path in sorted(self.results.rglob("*"))
            if path.is_file()
        }


def rows_of(finished: Finished) -> list[dict[str, Any]]:
    """The stored rows of a finished run."""
    return RunFolder(finished.folder.parent, finished.folder.name).read_rows()


# What two runs of one thing differ in: times, what follows from them, and how the run went.
_TIMED = re.compile(
    r"speedup.*|efficiency|.*tokens_per_s|token_ms_.*|ttft_s|(full_)?gb_per_s|search_s|replay_speedup|baseline_drift"
    r"|(draft|search)_time_share"
    r"|peak_memory.*|full_peak_memory_bytes|energy_.*|setup_s|wall_s|run_id|code_revision"
)
_TIMED_COLUMNS = re.compile(r"(full_)?(prefill_s|decode_s|step_s|replay_s)|search_s|draft_s|run_id")


def untimed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics or the row without what a clock had a say in."""
    pattern = _TIMED_COLUMNS if "example_id" in record else _TIMED
    return {name: value for name, value in record.items() if not pattern.fullmatch(name)}
