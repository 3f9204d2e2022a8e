"""What arrives at a server of W&B: at the end of a run, by `wandb sync`, and of a report."""

import json
import os
import shutil
import subprocess
import sys

import pandas
import pytest
from wandb_double import Server

from analysis.__main__ import main as analysis

pytest.importorskip("wandb")
RUN = ("method=unified", "limit=2", "max_new_tokens=24", "logger=wandb", "logger.group=ours")


@pytest.fixture
def server(monkeypatch):
    """A W&B that takes everything."""
    with Server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        yield server


def assert_told(server, finished):
    told = server.runs[finished.folder.name]
    metrics = json.loads((finished.folder / "metrics.json").read_text())
    known = {name: value for name, value in metrics.items() if value is not None}
    assert known.items() <= told.summary.items()
    assert told.config["method"]["value"]["name"] == "unified" and told.group == "ours" and told.complete
    tables = [json.loads(body) for name, body in told.files.items() if "table/examples" in name]
    texts = [[row[table["columns"].index("output_text")] for row in table["data"]] for table in tables]
    stored = pandas.read_parquet(finished.folder / "samples.parquet")
    assert texts and all(shown == list(stored.output_text) for shown in texts)
    name = "ffn_runs_skipped_by_layer"
    skipped = [sum(line[name]["values"]) for line in told.history if name in line]
    assert skipped and set(skipped) == {(stored.ffn_total - stored.ffn_run).sum()}


@pytest.mark.slow
def test_online_and_again(server, bench):
    finished = bench.run(*RUN, "logger.mode=online")
    assert_told(server, finished)
    begun = server.runs[finished.folder.name].times_begun
    # Run again it is the same W&B run, with later numbers.
    again = bench.run(*RUN, "logger.mode=online", "force=true")
    assert again.folder == finished.folder and server.runs[finished.folder.name].times_begun > begun
    assert_told(server, again)
    assert not any("0" * 40 in path.read_text(errors="replace") for path in finished.folder.glob("*.*"))


@pytest.mark.slow
def test_synced_later(server, bench):
    finished = bench.run(*RUN, "logger.mode=offline")
    assert not server.runs
    program = shutil.which("wandb", path=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    folders = [str(path) for path in finished.folder.glob("wandb/offline-run-*")]
    subprocess.run([program, "sync", *folders], check=True, capture_output=True, timeout=60, cwd=bench.folder)
    assert_told(server, finished)


@pytest.mark.slow
def test_the_figures_of_a_report(server, bench, capsys):
    pytest.importorskip("matplotlib")
    bench.run("method=unified", "limit=2", "max_new_tokens=8")
    analysis(["report", str(bench.results), "--wandb", "online", "--group", "ours"])
    assert f"Weights & Biases files: {bench.results}/report/wandb" in capsys.readouterr().out
    told = server.runs["report-ours"]
    assert told.group == "ours" and told.complete
    drawn = {path.stem for path in (bench.results / "report").glob("*.png")}
    assert drawn and drawn <= set(told.history[-1])
    assert all(body.startswith(b"\x89PNG") for name, body in told.files.items() if name.endswith(".png"))
    assert len([name for name in told.files if name.endswith(".png")]) == len(drawn)
