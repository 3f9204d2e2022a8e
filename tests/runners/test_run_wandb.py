"""Reporting to W&B: all files below the run folder, and no failure of W&B reaches the run."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runners.schema import SAMPLES, metrics_record
from runners.wandb_logger import EXAMPLE_COLUMNS, Destination, content, log_run, skipped_by_layer

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    {
        "example_id": "a",
        "output_text": "x\ud800\x00",
        "quality": 1.0,
        "attention_total": 20,
        "attention_run_by_layer": [10, 10],
        "ffn_total": 20,
        "ffn_run_by_layer": [10, 4],
    },
    {"example_id": "b", "ffn_total": 6, "ffn_run_by_layer": [3, 1], "attention_run_by_layer": None},
]
METRICS = metrics_record({"run_id": "run-1", "quality": 1.0})
OFFLINE = Destination()
CONFIG = {"method": {"name": "ffnskip", "threshold": 0.9}, "seed": 0}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "results" / "smol-factoidqa-ffnskip-0123abcd"
    path.mkdir(parents=True)
    return path


def pretend(monkeypatch, tmp_path, source):
    """Let the W&B process find this module instead of wandb."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "wandb.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))


def alive(process):
    """Whether a process runs; one that is dead and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_offline_run_is_readable_and_lies_below_its_folder(folder, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "WANDB_DIR", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    untracked = set(ROOT.iterdir())
    assert log_run(CONFIG, METRICS, ROWS, folder, OFFLINE) == folder / "wandb"
    assert list(home.iterdir()) == [] and list(here.iterdir()) == [] and set(ROOT.iterdir()) == untracked
    assert [path.name for path in folder.iterdir()] == ["wandb"]
    [run] = (folder / "wandb").glob(f"offline-run-*-{folder.name}")
    assert (run / f"run-{folder.name}.wandb").stat().st_size > 1000
    [table] = run.glob("files/media/table/examples*.json")
    content_of_table = json.loads(table.read_text())
    assert content_of_table["columns"] == EXAMPLE_COLUMNS
    assert [row[0] for row in content_of_table["data"]] == ["a", "b"]
    stored = (run / f"run-{folder.name}.wandb").read_bytes()
    assert b"ffn_runs_skipped_by_layer" in stored and b"threshold" in stored and b"quality" in stored


def test_what_wandb_is_told():
    told = content(CONFIG, METRICS, ROWS)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["summary"] == {"run_id": "run-1", "quality": 1.0} and told["config"] == CONFIG
    assert told["histograms"] == {
        "attention_runs_skipped_by_layer": [0, 0],
        "ffn_runs_skipped_by_layer": [0, 8],
    }
    examples = told["examples"]
    assert [row[examples["columns"].index("output_text")] for row in examples["data"]] == [
        "x\ufffd\x00",
        None,
    ]
    assert set(EXAMPLE_COLUMNS) <= set(SAMPLES.names)


def test_no_row_tells_about_layers():
    assert skipped_by_layer([], "ffn") == skipped_by_layer([{"ffn_total": 3}], "ffn") == []


def test_disabled_does_nothing(folder):
    assert log_run(CONFIG, METRICS, ROWS, folder, Destination(mode="disabled")) is None
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ImportError('No module named wandb')", "No module named wandb"),
        (
            "def init(**options): raise PermissionError('api key refused\\nsecond line')\nSettings = dict",
            "second line",
        ),
        ("import os; os._exit(7)", "status 7"),
        ("import os; os.kill(os.getpid(), 11)", "status -11"),
    ],
)
def test_a_failure_is_one_warning_line(folder, tmp_path, monkeypatch, caplog, source, reason):
    pretend(monkeypatch, tmp_path, source)
    assert log_run(CONFIG, METRICS, ROWS, folder, OFFLINE) is None
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert reason in record.getMessage() and "\n" not in record.getMessage()
    assert "whose results are stored" in record.getMessage()


def test_a_slow_server_is_stopped_with_everything_it_started(folder, tmp_path, monkeypatch, caplog):
    source = """
import pathlib, subprocess, sys, time
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(__file__).with_name("pid").write_text(str(helper.pid))
time.sleep(60)
"""
    pretend(monkeypatch, tmp_path, source)
    began = time.monotonic()
    assert log_run(CONFIG, METRICS, ROWS, folder, Destination("online", timeout_s=3)) is None
    assert time.monotonic() - began < 20
    assert "longer than 3 s" in caplog.text
    helper = int((tmp_path / "fake" / "pid").read_text())
    if Path("/proc/self/stat").exists():
        while alive(helper):  # a signal takes effect when its target is next scheduled
            assert time.monotonic() - began < 20
            time.sleep(0.05)


def test_a_configuration_that_json_cannot_hold_is_a_warning(folder, caplog):
    assert log_run({"method": object()}, METRICS, ROWS, folder, OFFLINE) is None
    assert "not JSON serializable" in caplog.text


def test_a_folder_that_cannot_be_written_is_a_warning(folder, caplog):
    (folder / "wandb").write_text("a file in the way")
    assert log_run(CONFIG, METRICS, ROWS, folder, OFFLINE) is None
    assert len(caplog.records) == 1


def test_an_unknown_mode_is_refused_by_wandb_as_a_warning(folder, caplog):
    pytest.importorskip("wandb")
    assert log_run(CONFIG, METRICS, ROWS, folder, Destination("sideways")) is None
    assert len(caplog.records) == 1 and "sideways" in caplog.text


def test_the_settings_reach_wandb(folder, tmp_path, monkeypatch):
    source = """
import json, os, pathlib
class Settings(dict):
    pass
class Table(dict):
    pass
class Histogram:
    def __init__(self, np_histogram):
        assert len(np_histogram[1]) == len(np_histogram[0]) + 1
class Run:
    summary = {}
    def log(self, values):
        pass
    def finish(self):
        pass
def init(**options):
    options["environment"] = {k: v for k, v in os.environ.items() if k.startswith("WANDB_")}
    pathlib.Path(__file__).with_name("options.json").write_text(json.dumps(options))
    return Run()
"""
    pretend(monkeypatch, tmp_path, source)
    monkeypatch.setenv("WANDB_SERVICE", "of another process")
    to = Destination("online", "project", "group", "team", timeout_s=30)
    result = log_run(CONFIG, METRICS, ROWS, folder, to)
    assert result == folder / "wandb"
    given = json.loads((tmp_path / "fake" / "options.json").read_text())
    assert (given["id"], given["resume"], given["mode"]) == (folder.name, "allow", "online")
    assert (given["project"], given["entity"], given["group"]) == ("project", "team", "group")
    assert given["settings"]["init_timeout"] == 30 and given["settings"]["console"] == "off"
    variables = given["environment"]
    assert "WANDB_SERVICE" not in variables
    assert all(Path(path).is_relative_to(folder) for path in variables.values()) and len(variables) == 5


def test_importing_the_logger_does_not_import_wandb():
    code = "import sys, runners.wandb_logger; assert 'wandb' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
