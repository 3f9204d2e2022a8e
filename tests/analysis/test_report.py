"""A results folder as frames, and the table made of it."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_study import write_study

from analysis import AnalysisError, load_metrics, load_samples
from analysis.__main__ import main
from analysis.chosen import Choice
from analysis.tables import comparison, markdown, settings
from runners.schema import METRICS, SAMPLES, metrics_json, samples_table
from runners.storage import RunFolder


def metrics(**values):
    given = {
        "model": "smol",
        "task": "factoidqa",
        "source": "embedded",
        "dtype": "float32",
        "device": "cpu",
        "batch_size": 1,
        "max_new_tokens": 32,
        "examples": 40,
        "method": "ffnskip",
        "method_params": json.dumps({"threshold": None, "cold_start": 0.15}),
        "solved_parameter": "threshold",
        "solved_value": 0.94312,
        "untrained_ablation": False,
        "quality": 0.41,
        "full_quality": 0.5,
        "quality_delta": -0.09,
        "quality_delta_lo": -0.2,
        "quality_delta_hi": 0.01,
        "quality_mde": 0.2,
        "realised_skip_weighted": 0.204,
        "speedup": 1.1,
        "speedup_lo": 1.05,
        "speedup_hi": 1.16,
    }
    return {**given, **values}


@pytest.fixture
def results(tmp_path):
    """Two finished runs and one that is not."""
    for name, values in (("b", {}), ("a", {"method": "unified", "solved_parameter": None}), ("c", None)):
        folder = tmp_path / name
        folder.mkdir()
        if values is not None:
            row = {"run_id": name, "example_id": "x", "turn": 0, "scores": {"f1": 0.5}}
            (folder / "metrics.json").write_text(metrics_json(metrics(run_id=name, **values)))
            RunFolder(tmp_path, name).path.joinpath("DONE").touch()
            pq.write_table(samples_table([row]), folder / "samples.parquet")
    return tmp_path


def test_frames_hold_finished_runs_with_every_column(results):
    frame, samples = load_metrics(results), load_samples(results)
    assert list(frame.run_id) == ["a", "b"] and list(frame.columns) == METRICS.names
    assert list(samples.run_id) == ["a", "b"] and list(samples.columns) == SAMPLES.names
    assert samples.scores[0] == {"f1": 0.5}
    # One run's own folder will do.
    assert list(load_metrics(results / "a").run_id) == ["a"]


def test_an_empty_folder_gives_empty_frames(tmp_path):
    assert load_metrics(tmp_path).empty and list(load_metrics(tmp_path).columns) == METRICS.names
    assert load_samples(tmp_path).empty and list(load_samples(tmp_path).columns) == SAMPLES.names


def frame_of(*records):
    return pd.DataFrame([{name: record.get(name) for name in METRICS.names} for record in records])


def test_the_table_says_what_was_measured():
    table = comparison(
        [
            metrics(realised_skip_weighted=0.3, replay_agreement=0.5),
            metrics(),
            metrics(
                method="early_exit", method_params='{"kv_policy": "hole", "tau": 4}', untrained_ablation=True
            ),
            metrics(
                method="early_exit", method_params='{"kv_policy": "copy", "tau": 4}', untrained_ablation=True
            ),
        ]
    )
    assert list(table.method) == [
        "full",
        "early_exit* (threshold=0.9431, kv_policy=hole)",
        "early_exit* (threshold=0.9431, kv_policy=copy)",
        "ffnskip (threshold=0.9431)",
        "ffnskip (threshold=0.9431)",
    ]
    assert list(table["realised skip"]) == ["0", "0.20", "0.20", "0.20", "0.30"]
    assert list(table["difference to full"])[1] == "-0.09 [-0.20, +0.01]"
    assert list(table.speedup) == ["1", *["1.10 [1.05, 1.16]"] * 4]
    assert list(table.agreement) == ["100 %", *["–"] * 3, "50 %"]


def test_settings_stand_apart_and_the_detectable_difference_comes_first():
    text = markdown(settings(frame_of(metrics(), metrics(dtype="bfloat16", untrained_ablation=True))))
    assert text.count("## smol") == 2
    assert "engine_layer" not in text, "what they share is not said"
    first, second = text.split("## smol · factoidqa (embedded) · float32")
    assert "untrained ablation" in first and "untrained ablation" not in second
    lines = second.splitlines()
    assert lines[2] == "Differences in quality are detectable from 0.20 on."
    assert lines[4].startswith("| method |")


def test_engines_do_not_share_a_table():
    text = markdown(settings(frame_of(metrics(engine_layer="hf"), metrics(engine_layer="fused"))))
    assert text.count("## smol") == 2 and "engine_layer hf" in text and "engine_layer fused" in text


def test_without_a_baseline_there_is_no_full_row():
    alone = metrics(**{name: None for name in metrics() if name.startswith(("full_", "quality_", "speedup"))})
    table = comparison([alone])
    assert list(table.method) == ["ffnskip (threshold=0.9431)"] and list(table["realised skip"]) == ["0.20"]
    assert "speedup" not in table, "what no run has is left out"


def test_the_run_that_others_reuse_is_the_first_row_and_no_other():
    own = metrics(method="full", full_quality=None, quality_delta=None, speedup=None, baseline="none")
    assert list(comparison([metrics(), own]).method) == ["full", "ffnskip (threshold=0.9431)"]
    # Decoded beside itself, it shows the noise; alone, it is all there is.
    itself = metrics(method="full", solved_parameter=None)
    assert list(comparison([metrics(), itself]).method) == [
        "full",
        "ffnskip (threshold=0.9431)",
        "full",
    ]
    assert list(comparison([own | {"solved_parameter": None}]).method) == ["full"]


class TestCommand:
    def test_writes_and_prints(self, results, tmp_path, capsys):
        main(["report", str(results), "--out", str(tmp_path / "out")])
        printed = capsys.readouterr().out
        assert (tmp_path / "out/tables.md").read_text().strip() in printed
        assert "unified" in printed
        assert (tmp_path / "out/metrics.csv").read_text().count("\n") == 3

    @pytest.mark.parametrize("case", ["nowhere", "empty", "damaged", "wrong type", "no room"])
    def test_says_in_one_line_what_is_wrong(self, results, tmp_path, capsys, case):
        arguments = ["report", str(results), "--out", str(tmp_path / "out")]
        if case == "nowhere":
            arguments[1] = str(tmp_path / "none")
        elif case == "empty":
            (tmp_path / "empty").mkdir()
            arguments[1] = str(tmp_path / "empty")
        elif case == "damaged":
            (results / "a/metrics.json").write_text("{")
        elif case == "wrong type":
            (results / "a/metrics.json").write_text('{"seed": "x"}')
        else:
            (tmp_path / "out").write_text("a file")
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        said = capsys.readouterr()
        assert said.err.startswith("error: ") and said.err.count("\n") == 1 and not said.out

    def test_damaged_samples(self, results):
        (results / "a/samples.parquet").write_bytes(b"PAR1")
        with pytest.raises(AnalysisError, match=r"a/samples\.parquet cannot be read"):
            load_samples(results)


class TestSomeRuns:
    @pytest.fixture
    def results(self, tmp_path):
        write_study(tmp_path / "results")
        return tmp_path / "results"

    def reported(self, capsys, *arguments):
        main(["report", *map(str, arguments)])
        return capsys.readouterr().out

    def test_of_some_methods_and_tasks(self, results, tmp_path, capsys):
        where = ("--where", "method=ffnskip,full", "--where", "task=factoidqa")
        out = self.reported(capsys, results, *where, "--out", tmp_path / "some")
        assert "Of 10 runs only those with method=ffnskip,full, task=factoidqa; p-values" in out
        for name in ("tables.md", "report.html", "metrics.csv", "pareto-quality-speedup.svg"):
            text = (tmp_path / "some" / name).read_text()
            assert "early_exit" not in text and "summarization" not in text and "ffnskip" in text

    def test_of_some_runs(self, results, tmp_path, capsys):
        run, *_ = sorted(results.glob("*ffnskip*"))
        self.reported(capsys, results, run, "--out", tmp_path / "some")
        assert (tmp_path / "some" / "metrics.csv").read_text().count("\n") == 2

    @pytest.mark.parametrize(
        ("condition", "runs"),
        [("batch_size=1", 10), ("lossless=true", 2), ("seed=null", 10), ("realised_skip_weighted=0", 0)],
    )
    def test_numbers_truth_values_and_what_is_unknown(self, results, condition, runs):
        metrics = load_metrics(results)
        if runs:
            assert len(Choice((condition,)).of(metrics)) == runs
        else:
            with pytest.raises(AnalysisError, match=f"no run has {condition}; there are: "):
                Choice((condition,)).of(metrics)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--where", "method"], "--where method is no condition; write --where method="),
            (["--where", "metod=full"], "there is no metric metod; did you mean method?"),
            (
                ["--where", "method=fullest"],
                "no run has method=fullest; there are: early_exit, ffnskip",
            ),
            (["nowhere"], "there is no run nowhere"),
        ],
    )
    def test_what_cannot_be_chosen_is_one_line(self, results, capsys, arguments, says):
        with pytest.raises(SystemExit) as end:
            main(["report", str(results), *arguments])
        err = capsys.readouterr().err
        assert end.value.code == 2 and err.startswith(f"error: {says}") and err.count("\n") == 1
        assert not (results / "report").exists()
