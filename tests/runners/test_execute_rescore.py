"""New scores from stored outputs, without a model."""

import json

import pytest
from bench import rows_of, untimed

from runners.execute import Finished
from runners.rescore import rescore
from runners.schema import metrics_json


@pytest.fixture
def finished(bench, tmp_path):
    """A run in which some answers are right: a reference is a single letter, whole words of which occur."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    for name, answers in (("scored", list(letters[:13])), ("calibration", ["x"])):
        records = [{"question": f"{name} {n}?", "answers": answers} for n in range(8)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))
    overrides = [
        *("method=random_ffn", "method.share=0.7", "limit=8", "task.source=file"),
        *(
            f"task.path={tmp_path / 'scored.jsonl'}",
            f"task.calibration_path={tmp_path / 'calibration.jsonl'}",
        ),
    ]
    done = bench.run(*overrides)
    assert 0 < done.metrics["quality"] < 1 or 0 < done.metrics["full_quality"] < 1
    return done, overrides


@pytest.fixture
def no_model(monkeypatch):
    """Loading a model, or anything of one, is an error."""
    for name in ("AutoModelForCausalLM", "AutoTokenizer", "AutoConfig"):
        monkeypatch.setattr(f"transformers.{name}.from_pretrained", None)
    monkeypatch.setattr("runners.execute._model", None)


def test_nothing_has_changed(finished, no_model, command):
    done, _ = finished
    before, rows = done.metrics, rows_of(done)
    status, out, err = command("rescore", str(done.folder))
    assert (status, err) == (0, "") and str(done.folder) in out
    assert json.loads((done.folder / "metrics.json").read_text()) == before
    assert rows_of(done) == rows
    assert (done.folder / "DONE").exists()


def test_cut_short_it_is_done_again(finished, bench, monkeypatch):
    done, overrides = finished
    whole = {path.name: path.read_bytes() for path in done.folder.iterdir() if path.is_file()}

    def killed(run, rows, metrics, judgements=None):
        run.write_text("metrics.json", metrics_json({**metrics, "quality": 9.0}))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("runners.storage.RunFolder.finish", killed)
        with pytest.raises(KeyboardInterrupt):
            rescore(done.folder)
    assert (done.folder / "RESCORING").exists() and (done.folder / "DONE").exists()
    again = bench.run(*overrides)
    assert not again.fresh and again.metrics == done.metrics
    found = {path.name: path.read_bytes() for path in done.folder.iterdir() if path.is_file()}
    assert found.keys() == whole.keys() and found["samples.parquet"] == whole["samples.parquet"]


@pytest.mark.parametrize("value", ["2024-13-01", "9" * 5000, "[" * 3000])
def test_options_that_are_no_values(finished, command, value):
    status, _, err = command("rescore", str(finished[0].folder), f"task.names={value}")
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1


def test_a_folder_with_a_name_that_no_folder_has(command):
    for word in ("rescore", "judge"):
        status, _, err = command(word, "a" * 300, *(["judge=openai"] if word == "judge" else []))
        assert status == 2 and err.startswith("error: ") and err.count("\n") == 1


def test_new_scoring_gives_what_a_new_run_gives(finished, bench, no_model, monkeypatch, tmp_path):
    done, overrides = finished
    before = rows_of(done)
    monkeypatch.setattr("tasks.scoring.containment.contains_any", lambda text, references: len(text) % 2 == 0)
    monkeypatch.setattr("tasks.factoidqa.FactoidQA.version", 9)
    metrics = rescore(done.folder)
    monkeypatch.setattr("tasks.factoidqa.abstains", lambda text: False)
    after = rows_of(done)
    assert [row["quality"] for row in after] == [float(len(row["output_text"]) % 2 == 0) for row in after]
    assert [row["full_quality"] for row in after] == [
        float(len(row["full_output_text"]) % 2 == 0) for row in after
    ]
    assert [row["quality"] for row in after] != [row["quality"] for row in before]
    monkeypatch.undo()
    monkeypatch.setenv("SKIPBENCH_CACHE", str(bench.folder / "cache"))
    monkeypatch.setattr("tasks.scoring.containment.contains_any", lambda text, references: len(text) % 2 == 0)
    monkeypatch.setattr("tasks.factoidqa.FactoidQA.version", 9)
    anew = bench.run(*overrides, f"results_dir={tmp_path / 'anew'}")
    assert untimed(anew.metrics) == untimed(metrics)
    assert metrics["task_version"] == "9"
    for row, new in zip(after, rows_of(anew), strict=True):
        assert untimed(row) == untimed(new)
    # Times are those that were measured then.
    for name in ("speedup", "tokens_per_s", "wall_s", "setup_s", "peak_memory_bytes", "ideal_speedup"):
        assert metrics[name] == done.metrics[name]


def test_without_a_baseline(bench, no_model, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("SKIPBENCH_CACHE", str(bench.folder / "cache"))
    done = bench.run("runner.baseline=none")
    assert rescore(done.folder) == done.metrics
    assert isinstance(done, Finished) and all(row["full_quality"] is None for row in rows_of(done))


def test_several_at_once(bench, command):
    folders = [str(bench.run("limit=2", f"method={method}").folder) for method in ("full", "hf_generate")]
    status, out, _ = command("rescore", *folders)
    assert status == 0 and all(folder in out for folder in folders)
