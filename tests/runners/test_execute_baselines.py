"""The full model beside a method: decoded along with it, taken from an earlier run, or left out."""

import json
import shutil

import pytest
import torch
from bench import rows_of, untimed

from runners.errors import RunError
from runners.reuse import stored_config
from runners.storage import RunFolder

RANDOM = ("method=random_ffn", "method.share=0.6")


def test_paired(bench):
    alone = bench.rows("runner.baseline=none")
    rows = bench.rows(*RANDOM)
    assert [row["full_output_ids"] for row in rows] == [row["output_ids"] for row in alone]
    assert any(row["output_ids"] != row["full_output_ids"] for row in rows)
    for row in rows:
        assert row["full_prompt_tokens"] == row["prompt_tokens"]
        assert row["full_output_tokens"] == len(row["full_output_ids"]) == len(row["full_step_s"]) + 1
        assert row["full_decode_s"] == pytest.approx(sum(row["full_step_s"]))
        assert row["decode_s"] == pytest.approx(sum(row["step_s"]))
        assert set(row["full_scores"]) == set(row["scores"])


def test_the_full_model_against_itself(bench):
    finished = bench.run()
    for row in rows_of(finished):
        assert row["output_ids"] == row["full_output_ids"] and row["output_text"] == row["full_output_text"]
        assert row["attention_run"] == row["ffn_run"] == row["ffn_total"] == 3 * (row["output_tokens"] - 1)
    metrics = finished.metrics
    assert (metrics["lossless"], metrics["quality_delta"], metrics["speed_note"]) == (True, 0, None)
    assert metrics["ideal_speedup"] == pytest.approx(1)


def test_none(bench):
    finished = bench.run(*RANDOM, "runner.baseline=none")
    own_ceiling = ("full_bytes", "full_logprob")
    for row in rows_of(finished):
        assert row["order"] is None
        assert all(row[name] is None for name in row if name.startswith("full_") and name not in own_ceiling)
    metrics = finished.metrics
    assert metrics["tokens_per_s"] > 0 and metrics["quality"] is not None
    for name in ("speedup", "speedup_end_to_end", "quality_delta", "full_quality", "new_hallucination_rate"):
        assert metrics[name] is None


def test_reuse_is_paired_without_the_second_decoding(bench, monkeypatch):
    paired = bench.run(*RANDOM)
    full = bench.run("limit=6", "runner.baseline=none")
    monkeypatch.setattr("methods.full.Full.generate", None)
    monkeypatch.setattr("runners.execute.warm_up", lambda *given: None)
    reused = bench.run(*RANDOM, "runner.baseline=reuse")
    for row, pair in zip(rows_of(reused), rows_of(paired), strict=True):
        assert (row["order"], pair["order"] is None) == (None, False)
        assert untimed({**row, "order": 0}) == untimed({**pair, "order": 0})
    own = {row["example_id"]: row for row in rows_of(full)}
    for row in rows_of(reused):
        for name in ("prefill_s", "decode_s", "step_s"):
            assert row[f"full_{name}"] == own[row["example_id"]][name]
    assert untimed({**reused.metrics, "baseline": 0}) == untimed({**paired.metrics, "baseline": 0})
    assert reused.metrics["speedup"] > 0


@pytest.mark.parametrize(
    "other", ["seed=1", "batch_size=2", "dtype=bfloat16", "temperature=1", "task.prompt=fewshot", "limit=3"]
)
def test_only_a_run_that_agrees_is_reused(bench, other):
    bench.run("runner.baseline=none", "max_new_tokens=4", other)
    why = "has 3 of the 4 examples" if other == "limit=3" else "found no finished run of the full model"
    with pytest.raises(RunError, match=why):
        bench.run(*RANDOM, "max_new_tokens=4", "runner.baseline=reuse")


def test_a_run_on_other_data_of_the_same_name_is_not_reused(bench, tmp_path):
    def write(name, answer):
        records = [{"id": f"{name}{n}", "question": f"{n}?", "answers": [answer]} for n in range(3)]
        (tmp_path / name).write_text("\n".join(map(json.dumps, records)))

    write("scored", "one")
    write("calibration", "two")
    settings = ["task.source=file", f"task.path={tmp_path / 'scored'}", "max_new_tokens=4"]
    settings += [f"task.calibration_path={tmp_path / 'calibration'}", "task.prompt=fewshot", "task.shots=1"]
    (tmp_path / "calibration").write_text('{"question": "x?", "answers": ["two"]}')
    bench.run(*settings, "runner.baseline=none")
    assert bench.rows(*settings, *RANDOM, "runner.baseline=reuse")[0]["full_output_ids"]
    write("scored", "other")
    with pytest.raises(RunError, match=r"the references of example .* have changed"):
        bench.run(*settings, *RANDOM, "runner.baseline=reuse")
    write("scored", "one")
    # The prompt shows a solved question that has changed.
    (tmp_path / "calibration").write_text('{"question": "x?", "answers": ["three"]}')
    with pytest.raises(RunError, match="has other prompts: that of example"):
        bench.run(*settings, *RANDOM, "runner.baseline=reuse")


def test_a_damaged_neighbour_is_passed_over(bench):
    full = bench.run("runner.baseline=none")
    damaged = RunFolder(bench.results, "a-damaged-run")
    damaged.start("{", {})
    damaged.write_text("DONE", "")
    with pytest.raises(RunError, match="is not YAML"):
        stored_config(damaged)
    # One that agrees in everything, and whose answers cannot be read.
    twin = RunFolder(bench.results, "a-broken-twin")
    shutil.copytree(full.folder, twin.path)
    twin.write_text("samples.parquet", "no parquet")
    with pytest.raises(RunError, match="cannot read"):
        twin.read_rows()
    reused = bench.rows(*RANDOM, "runner.baseline=reuse")
    assert [row["full_output_ids"] for row in reused] == [row["output_ids"] for row in rows_of(full)]


class TestHFGenerate:
    def test_same_tokens_as_our_full_model(self, bench):
        finished = bench.run("method=hf_generate", "limit=8")
        rows = rows_of(finished)
        for row in rows:
            assert row["output_ids"] == row["full_output_ids"]
            assert row["finish_reason"] == row["full_finish_reason"]
            # Its work is done outside our sub-layers, so nothing is known of it.
            assert row["ffn_run"] is None and row["method_bytes"] is None
            assert len(row["step_s"]) == row["output_tokens"] - 1
        assert {row["finish_reason"] for row in rows} == {"eos", "length"}
        assert finished.metrics["lossless"] and finished.metrics["speedup"] > 0
        assert finished.metrics["ideal_speedup"] is None and finished.metrics["speedup_vs_hf"] is None

    def test_the_ratio_to_it_is_taken_where_it_was_run(self, bench):
        assert bench.run(*RANDOM).metrics["speedup_vs_hf"] is None
        other = bench.rows("method=hf_generate", "limit=6")[:4]
        finished = bench.run(*RANDOM, "force=true")

        def tokens_per_s(rows):
            return sum(row["output_tokens"] - 1 for row in rows) / sum(row["decode_s"] for row in rows)

        expected = tokens_per_s(rows_of(finished)) / tokens_per_s(other)
        assert finished.metrics["speedup_vs_hf"] == pytest.approx(expected)
        assert finished.metrics["speedup_vs_hf_static"] is None
        # Other examples, other conditions: not comparable.
        assert bench.run(*RANDOM, "limit=7").metrics["speedup_vs_hf"] is None
        assert bench.run(*RANDOM, "seed=1").metrics["speedup_vs_hf"] is None

    def test_its_fast_way_is_a_ratio_of_its_own(self, bench):
        with torch.compiler.set_stance("force_eager"):
            other = bench.rows("method=hf_generate", "method.cache=static", "limit=4")
        finished = bench.run(*RANDOM, "force=true")
        assert {len(row["output_ids"]) > 0 for row in other} == {True}
        assert finished.metrics["speedup_vs_hf_static"] > 0 and finished.metrics["speedup_vs_hf"] is None

    @pytest.mark.parametrize("setting", ["runner.fixed_length=true", "task.prompt=fewshot", "batch_size=4"])
    def test_under_other_settings(self, bench, setting):
        for row in bench.rows("method=hf_generate", setting, "limit=6"):
            assert row["output_ids"] == row["full_output_ids"]
            assert row["output_text"] == row["full_output_text"]
