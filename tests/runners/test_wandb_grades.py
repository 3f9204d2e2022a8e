"""A judge's grades reach the W&B run of the answers, once, and no failure of W&B loses a verdict."""

import json
import logging

import pyarrow.parquet as pq
import pytest

from runners.judge_metrics import grades_by_part
from runners.wandb_logger import NOWHERE, VERDICT_COLUMNS, Destination, log_grades
from tasks.judges.endpoint import Reply

VERDICT = dict.fromkeys(VERDICT_COLUMNS) | {"example_id": "a", "rating": 7.0, "reply": "[[7]]"}
GRADED = ({"judge_score": 7.0, "judge_win_rate": None}, {"judge_score/math": 7.0}, [VERDICT])
# Writes down, one line a run, what it is told.
RECORDER = """
import json, pathlib
class Settings(dict):
    pass
class Table(dict):
    pass
class Histogram(dict):
    pass
class Run:
    def __init__(self, options):
        self.options, self.summary, self.logged = options, {}, []
    def log(self, values):
        self.logged += values
    def finish(self):
        told = {name: self.options[name] for name in ("id", "resume", "mode", "project")}
        told |= {"summary": self.summary, "logged": self.logged}
        with pathlib.Path(__file__).with_name("told.jsonl").open("a") as file:
            file.write(json.dumps(told) + "\\n")
def init(**options):
    return Run(options)
"""
NO_SERVER = "raise OSError('no server')"


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """A stand-in for wandb, whose source can be changed; what it was told."""
    folder = tmp_path / "fake"
    folder.mkdir()
    (folder / "wandb.py").write_text(RECORDER)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    class Fake:
        def becomes(self, source):
            (folder / "wandb.py").write_text(source)

        @property
        def told(self):
            file = folder / "told.jsonl"
            return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    return Fake()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "results" / "smol-mtbench-ffnskip-0123abcd"
    path.mkdir(parents=True)
    return path


def test_the_same_run_is_told_once(folder, wandb):
    assert log_grades(*GRADED, folder, Destination()) == folder / "wandb"
    (told,) = wandb.told
    assert (told["id"], told["resume"], told["mode"]) == (folder.name, "allow", "offline")
    assert told["logged"] == [], "a history that goes on would begin again at step 0"
    table = told["summary"].pop("verdicts")
    assert table == {"columns": VERDICT_COLUMNS, "data": [[VERDICT[name] for name in VERDICT_COLUMNS]]}
    assert told["summary"] == {"judge_score": 7.0, "judge_score/math": 7.0}
    assert log_grades(*GRADED, folder, Destination()) is None and len(wandb.told) == 1
    # Other grades are news, and so is another place.
    log_grades({"judge_score": 6.0}, {}, [], folder, Destination())
    log_grades({"judge_score": 6.0}, {}, [], folder, Destination(project="other"))
    assert len(wandb.told) == 3


def test_nobody_is_told(folder, wandb):
    assert log_grades(*GRADED, folder, NOWHERE) is None
    assert wandb.told == [] and list(folder.iterdir()) == []


def test_what_failed_is_told_the_next_time(folder, wandb, caplog):
    wandb.becomes(NO_SERVER)
    assert log_grades(*GRADED, folder, Destination()) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "\n" not in record.getMessage()
    assert "these grades, which are stored: OSError: no server" in record.getMessage()
    wandb.becomes(RECORDER)
    assert log_grades(*GRADED, folder, Destination()) == folder / "wandb" and len(wandb.told) == 1


def test_a_folder_that_cannot_be_written_is_a_warning(folder, caplog):
    (folder / "wandb").write_text("a file in the way")
    assert log_grades(*GRADED, folder, Destination()) is None and len(caplog.records) == 1


def test_wandb_itself_adds_to_the_run(folder):
    pytest.importorskip("wandb")
    assert log_grades(*GRADED, folder, Destination()) == folder / "wandb"
    (run,) = (folder / "wandb").glob(f"offline-run-*-{folder.name}")
    (table,) = run.glob("files/media/table/verdicts*.json")
    assert json.loads(table.read_text())["columns"] == VERDICT_COLUMNS
    assert b"judge_score/math" in (run / f"run-{folder.name}.wandb").read_bytes()


def test_grades_by_part():
    def row(side, turn, category, rating):
        return {"side": side, "turn": turn, "category": category, "rating": rating}

    rows = [row("own", 0, "math", 4.0), row("own", 1, "math", 8.0), row("full", 0, "math", 9.0)]
    rows += [row("own", 0, "stem", None), row("own_first", 0, "math", None), row("own", 1, None, 2.0)]
    assert grades_by_part(rows) == {
        "full_judge_score/math": 9.0,
        "full_judge_score/turn 1": 9.0,
        "judge_score/math": 6.0,
        "judge_score/turn 1": 4.0,
        "judge_score/turn 2": 5.0,
    }
    single = [row("own", 0, "short", 3.0)]
    assert grades_by_part(single) == {"judge_score/short": 3.0}


@pytest.fixture
def judged(bench, tmp_path, monkeypatch):
    """Runs a conversation of two turns that is graded with 6."""
    row = {"question_id": "a", "category": "math", "turns": ["Say one.", "Again?"]}
    for name, one in (("talks", row), ("other", {**row, "question_id": "c", "turns": ["C?"]})):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(one))
    monkeypatch.setattr(
        "runners.judging.endpoint", lambda config: lambda messages: Reply("[[6]] \ud800", 1, 1)
    )

    def run(*overrides):
        return bench.run(
            *("method=full", "task=mtbench", "task.source=file", "limit=1", "max_new_tokens=4"),
            *(f"task.path={tmp_path / 'talks.jsonl'}", f"task.calibration_path={tmp_path / 'other.jsonl'}"),
            *overrides,
        )

    return run


JUDGE = ["judge=openai", "judge.model=m", "judge.base_url=http://127.0.0.1:9/v1"]


def test_judged_within_a_run(judged, wandb):
    finished = judged("logger=wandb", *JUDGE)
    run, grades = wandb.told
    assert run["id"] == grades["id"] == finished.folder.name
    assert "judge_score" not in run["summary"] and grades["summary"]["judge_score"] == 6
    assert grades["summary"]["judge_score/turn 2"] == 6
    judged("logger=wandb", *JUDGE)
    assert len(wandb.told) == 2, "nothing is new"


def test_judged_later(judged, wandb, command):
    """The run's own logger is told, unless another one is named."""
    finished = judged("logger=wandb", "logger.project=mine")
    assert command("judge", str(finished.folder), *JUDGE, "logger=none")[0] == 0 and len(wandb.told) == 1
    assert command("judge", str(finished.folder), *JUDGE)[0] == 0
    assert [told["project"] for told in wandb.told] == ["mine", "mine"]
    assert command("judge", str(finished.folder), *JUDGE, "logger=wandb", "logger.project=yours")[0] == 0
    assert wandb.told[-1]["project"] == "yours" and wandb.told[-1]["summary"]["judge_score"] == 6


def test_a_run_that_was_not_logged_stays_so(judged, wandb, command):
    finished = judged("logger=none")
    assert command("judge", str(finished.folder), *JUDGE)[0] == 0 and wandb.told == []
    assert not (finished.folder / "wandb").exists()


def test_no_failure_of_wandb_loses_a_verdict(judged, wandb, command, caplog):
    finished = judged("logger=wandb")
    wandb.becomes(NO_SERVER)
    status, out, _ = command("judge", str(finished.folder), *JUDGE)
    assert status == 0 and "6.00" in out and "no server" in caplog.text
    (path,) = finished.folder.glob("judgements-*.parquet")
    assert {row["rating"] for row in pq.read_table(path).to_pylist()} == {6.0}
    assert json.loads((finished.folder / "metrics.json").read_text())["judge_score"] == 6


def test_what_else_the_command_refuses(judged, command):
    finished = judged("logger=none")
    status, _, err = command("judge", str(finished.folder), *JUDGE, "logger=oracle")
    assert status == 2 and "oracle" in err and err.count("\n") == 1
    status, _, err = command("judge", str(finished.folder), *JUDGE, "seed=3")
    assert status == 2 and "and logger=..., not seed=3" in err
