"""The result tables: exact columns, types that survive nulls, strictness, and files that read together."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runners.schema import (
    METRICS,
    SAMPLES,
    metrics_json,
    metrics_record,
    read_samples,
    sample_rows,
    samples_table,
)

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_NAMES = [
    "run_id",
    "model",
    "task",
    "method",
    "method_params",
    "example_id",
    "turn",
    "category",
    "source_sha256",
    "prompt",
    "prompt_sha256",
    "prompt_tokens",
    "output_ids",
    "output_text",
    "output_tokens",
    "finish_reason",
    "prefill_s",
    "decode_s",
    "batch",
    "order",
    "full_prompt_tokens",
    "full_output_ids",
    "full_output_text",
    "full_output_tokens",
    "full_prefill_s",
    "full_decode_s",
    "quality",
    "full_quality",
    "hallucinated",
    "full_hallucinated",
    "collapsed",
    "full_collapsed",
    "full_logprob",
    "attention_run",
    "attention_total",
    "ffn_run",
    "ffn_total",
    "attention_run_by_layer",
    "ffn_run_by_layer",
    "exit_layers",
    "accepted_lengths",
    "drafted",
    "accepted",
    "verify_steps",
    "reference",
    "scores",
]
METRIC_NAMES = [
    "run_id",
    "model",
    "model_revision",
    "task",
    "task_version",
    "source",
    "prompt_style",
    "method",
    "method_params",
    "lossless",
    "untrained_ablation",
    "kv_policy",
    "batch_policy",
    "skip_in_prefill",
    "dtype",
    "device",
    "threads",
    "batch_size",
    "max_new_tokens",
    "temperature",
    "seed",
    "limit",
    "engine_layer",
    "baseline",
    "code_revision",
    "examples",
    "quality_metric",
    "quality",
    "quality_lo",
    "quality_hi",
    "full_quality",
    "quality_delta",
    "quality_delta_lo",
    "quality_delta_hi",
    "quality_p",
    "quality_mde",
    "hallucination_rate",
    "full_hallucination_rate",
    "new_hallucination_rate",
    "repaired_rate",
    "hallucination_delta_lo",
    "hallucination_delta_hi",
    "collapse_rate",
    "full_collapse_rate",
    "length_stop_rate",
    "output_tokens_mean",
    "full_output_tokens_mean",
    "speedup",
    "speedup_lo",
    "speedup_hi",
    "speedup_end_to_end",
    "speedup_ratio_of_means",
    "speedup_vs_hf",
    "ideal_speedup",
    "efficiency",
    "decision_bytes_share",
    "tokens_per_s",
    "full_tokens_per_s",
    "token_ms_p50",
    "token_ms_p90",
    "token_ms_p99",
    "ttft_s",
    "nominal_skip",
    "realised_skip_attention",
    "realised_skip_ffn",
    "realised_skip_weighted",
    "draft_skip",
    "acceptance",
    "mean_accepted",
    "search_s",
    "replay_agreement",
    "replay_kl",
    "replay_speedup",
    "peak_memory_bytes",
    "energy_j",
    "setup_s",
    "wall_s",
]


def test_published_columns_come_first_and_in_order():
    assert SAMPLES.names[: len(SAMPLE_NAMES)] == SAMPLE_NAMES
    assert METRICS.names[: len(METRIC_NAMES)] == METRIC_NAMES
    assert len(set(SAMPLES.names)) == len(SAMPLES.names)
    assert len(set(METRICS.names)) == len(METRICS.names)


def test_rows_survive_a_round_trip_through_parquet(tmp_path):
    row = {
        "example_id": "q-1",
        "turn": 0,
        "output_ids": [1, 2**31 - 1],
        "output_text": "é \u4e2d \U0001f600 \x00 end",
        "decode_s": 0.1 + 0.2,
        "collapsed": False,
        "attention_run_by_layer": [2**40, 0],
        "reference": ["a", "b"],
        "scores": {"f1": 1 / 3, "em": None},
        "step_s": [],
    }
    pq.write_table(samples_table([row, {}]), tmp_path / "samples.parquet")
    first, second = sample_rows(read_samples(tmp_path / "samples.parquet"))
    assert {name: first[name] for name in row} == row
    assert all(first[name] is None for name in SAMPLES.names if name not in row)
    assert all(value is None for value in second.values())


def test_all_null_columns_keep_their_type_and_tasks_concatenate(tmp_path):
    pq.write_table(samples_table([{"task": "a", "scores": {"em": 1.0}}]), tmp_path / "a.parquet")
    pq.write_table(samples_table([{"task": "b", "exit_layers": [3]}]), tmp_path / "b.parquet")
    pq.write_table(samples_table([]), tmp_path / "c.parquet")
    tables = [pq.read_table(tmp_path / f"{name}.parquet") for name in "abc"]
    assert all(table.schema.equals(SAMPLES) for table in tables)
    assert pa.concat_tables(tables).column("task").to_pylist() == ["a", "b"]
    assert pq.read_table(tmp_path, schema=SAMPLES).num_rows == 2


@pytest.mark.parametrize(
    "row", [{"quailty": 1.0}, {"turn": "one"}, {"output_ids": [1.5]}, {"quality": "high"}]
)
def test_a_wrong_key_or_type_is_named(row):
    with pytest.raises(ValueError, match=repr(next(iter(row)))):
        samples_table([{}, row])


def test_numbers_that_are_not_finite_become_null():
    row = {
        "quality": math.nan,
        "full_logprob": -math.inf,
        "step_s": [1.0, np.float32("nan")],
        "scores": {"a": math.inf},
    }
    [read] = sample_rows(samples_table([row]))
    assert read["quality"] is None and read["full_logprob"] is None
    assert read["step_s"] == [1.0, None] and read["scores"] == {"a": None}


def test_half_a_surrogate_pair_becomes_a_replacement_character():
    [read] = sample_rows(
        samples_table([{"output_text": "a\ud83d", "reference": ["\udc00b"], "scores": {"\ud800": 1}}])
    )
    assert (read["output_text"], read["reference"], read["scores"]) == (
        "a\ufffd",
        ["\ufffdb"],
        {"\ufffd": 1.0},
    )


def test_files_of_an_earlier_version_gain_null_columns_and_foreign_ones_are_refused(tmp_path):
    old = samples_table([{"run_id": "r", "quality": 1.0}]).select(["quality", "run_id"])
    pq.write_table(old, tmp_path / "old.parquet")
    table = read_samples(tmp_path / "old.parquet")
    assert table.schema.equals(SAMPLES) and table["quality"].to_pylist() == [1.0]
    assert table["full_scores"].null_count == 1
    pq.write_table(pa.table({"other": [1]}), tmp_path / "foreign.parquet")
    with pytest.raises(ValueError, match=r"foreign.parquet: unknown column 'other'"):
        read_samples(tmp_path / "foreign.parquet")


def test_a_metrics_record_is_complete_plain_and_finite():
    record = metrics_record(
        {"speedup": np.float64("nan"), "quality": np.float32(0.5), "examples": np.int64(3)}
    )
    assert list(record) == METRICS.names
    assert record["speedup"] is None and record["run_id"] is None
    assert (record["quality"], record["examples"]) == (0.5, 3)
    assert {type(value) for value in record.values()} == {type(None), float, int}
    assert json.loads(metrics_json(record), parse_constant=pytest.fail) == record


@pytest.mark.parametrize("values", [{"speed_up": 1.0}, {"examples": 1.5}, {"lossless": 1}, {"model": 3}])
def test_a_wrong_metric_is_named(values):
    with pytest.raises(ValueError, match=repr(next(iter(values)))):
        metrics_record(values)


def test_metrics_records_fit_the_schema_together():
    records = [
        metrics_record({"run_id": "a", "speedup": 1}),
        metrics_record({"run_id": "b", "speed_note": "x"}),
    ]
    table = pa.Table.from_pylist([json.loads(metrics_json(record)) for record in records], schema=METRICS)
    assert table["speedup"].to_pylist() == [1.0, None]


def test_the_schema_imports_no_other_room_and_nothing_here_imports_torch():
    modules = [
        "schema",
        "storage",
        "journal",
        "statistics",
        "metrics",
        "table",
        "wandb_logger",
        "environment",
        "errors",
    ]
    code = (
        "import sys, runners.schema;"
        "rooms = ('models', 'methods', 'tasks', 'runners', 'analysis');"
        "own = {name for name in sys.modules if name.split('.')[0] in rooms};"
        "assert own == {'runners', 'runners.schema'}, own;"
        f"import {', '.join(f'runners.{name}' for name in modules)};"
        "assert not {'torch', 'transformers', 'wandb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
