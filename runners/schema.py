"""The result tables: one row per turn (`samples.parquet`), one record per run (`metrics.json`), and one row
per verdict of a judge (`judgements-<judge>.parquet`).

Every file is written with exactly these Arrow schemas. A column that is null throughout keeps its type, so
runs of all tasks and methods can be concatenated. What is unknown is null, never 0 and never NaN.
"""

import json
import math
import numbers
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TEXT, FLAG, INT, FLOAT = pa.string(), pa.bool_(), pa.int64(), pa.float64()
INTS, LONGS, FLOATS, TEXTS = pa.list_(pa.int32()), pa.list_(INT), pa.list_(FLOAT), pa.list_(TEXT)
SCORES = pa.map_(TEXT, FLOAT)


def _schema(*groups: tuple[pa.DataType, str]) -> pa.Schema:
    return pa.schema([(name, kind) for kind, names in groups for name in names.split()])


# full_*: the same quantity of the full model.
# prefill_s, decode_s: seconds; in a batch a row carries time / rows. search_s: the part of decode_s that went
# into a search. step_s, step_tokens: every decode call; the whole call also in a batch, since each row waits
# for all of it. order: the side that came first, "full" or "method".
# attention_total, ffn_total: decode steps x sub-layers of the kind. attention_run, ffn_run: token runs of
# final work in decode. draft_total: drafted positions x sub-layers of both kinds.
# verify_steps, paused_steps: passes of a drafting method, and those without a draft because drafting lost.
# thoughts: what a reasoning model writes before its answer, which `output_text` is; thought_tokens: of them.
# verified_tokens: tokens of each pass. draft_s: the part of decode_s that made drafts, without search.
# attention_weight, ffn_weight: parameters of one sub-layer.
# method_bytes, full_bytes, decision_bytes: the row's share of what the method reads, of what one full pass a
# step would read, and of what the method reads only in order to decide.
# replay_*: forced decoding of the full model's tokens: positions, those where the argmax agrees, the sum over
# them of KL(full || method) in nats, and the seconds of either side.
SAMPLES = _schema(
    (TEXT, "run_id model task method method_params example_id"),
    (INT, "turn"),
    (TEXT, "category source_sha256 prompt prompt_sha256"),
    (INT, "prompt_tokens"),
    (INTS, "output_ids"),
    (TEXT, "output_text"),
    (INT, "output_tokens"),
    (TEXT, "finish_reason"),
    (FLOAT, "prefill_s decode_s"),
    (INT, "batch"),
    (TEXT, "order"),
    (INT, "full_prompt_tokens"),
    (INTS, "full_output_ids"),
    (TEXT, "full_output_text"),
    (INT, "full_output_tokens"),
    (FLOAT, "full_prefill_s full_decode_s quality full_quality"),
    (FLAG, "hallucinated full_hallucinated collapsed full_collapsed"),
    (FLOAT, "full_logprob"),
    (INT, "attention_run attention_total ffn_run ffn_total"),
    (LONGS, "attention_run_by_layer ffn_run_by_layer"),
    (INTS, "exit_layers accepted_lengths"),
    (INT, "drafted accepted verify_steps"),
    (TEXTS, "reference"),
    (SCORES, "scores"),
    (TEXT, "question"),
    (TEXTS, "stop_strings"),
    (TEXT, "outcome full_outcome full_finish_reason"),
    (SCORES, "full_scores"),
    (FLOATS, "step_s full_step_s"),
    (INTS, "step_tokens"),
    (FLOAT, "method_bytes full_bytes decision_bytes attention_weight ffn_weight"),
    (INT, "draft_attention_run draft_ffn_run draft_total paused_steps"),
    (FLOAT, "search_s"),
    (FLAG, "truncated"),
    (INT, "skipped_steps"),
    (INT, "replay_tokens replay_agreed"),
    (FLOAT, "replay_kl_sum replay_s full_replay_s draft_s"),
    (INTS, "verified_tokens"),
    (TEXT, "thoughts full_thoughts"),
    (INT, "thought_tokens full_thought_tokens"),
)

METRICS = _schema(
    (TEXT, "run_id model model_revision task task_version source prompt_style method method_params"),
    (FLAG, "lossless untrained_ablation"),
    (TEXT, "kv_policy batch_policy"),
    (FLAG, "skip_in_prefill"),
    (TEXT, "dtype device"),
    (INT, "threads batch_size max_new_tokens"),
    (FLOAT, "temperature"),
    (INT, "seed limit"),
    (TEXT, "engine_layer baseline code_revision"),
    (INT, "examples"),
    (TEXT, "quality_metric"),
    (FLOAT, "quality quality_lo quality_hi full_quality quality_delta quality_delta_lo quality_delta_hi"),
    (FLOAT, "quality_p quality_mde hallucination_rate full_hallucination_rate new_hallucination_rate"),
    (FLOAT, "repaired_rate hallucination_delta_lo hallucination_delta_hi collapse_rate full_collapse_rate"),
    (FLOAT, "length_stop_rate output_tokens_mean full_output_tokens_mean speedup speedup_lo speedup_hi"),
    (FLOAT, "speedup_end_to_end speedup_ratio_of_means speedup_vs_hf ideal_speedup efficiency"),
    (
        FLOAT,
        "decision_bytes_share tokens_per_s full_tokens_per_s token_ms_p50 token_ms_p90 token_ms_p99 ttft_s",
    ),
    (FLOAT, "nominal_skip realised_skip_attention realised_skip_ffn realised_skip_weighted draft_skip"),
    (FLOAT, "acceptance mean_accepted search_s replay_agreement replay_kl replay_speedup"),
    (INT, "peak_memory_bytes"),
    (FLOAT, "energy_j setup_s wall_s"),
    (INT, "quality_n"),
    (FLOAT, "speedup_geomean skip_step_share target_skip paused_share"),
    (TEXT, "target_unit solved_parameter"),
    (FLOAT, "solved_value calibration_skip"),
    (TEXT, "speed_note"),
    (FLOAT, "hallucination_delta gb_per_s full_gb_per_s"),
    (TEXT, "peak_memory_kind"),
    (INT, "full_peak_memory_bytes"),
    (TEXT, "energy_kind hallucination_metric judge"),
    (FLOAT, "judge_score full_judge_score judge_delta judge_delta_lo judge_delta_hi judge_win_rate"),
    (FLOAT, "judge_tie_rate judge_loss_rate judge_cost"),
    (INT, "judge_calls judge_unparsed judge_failed"),
    (FLOAT, "draft_time_share search_time_share speedup_vs_hf_static"),
    # Seconds of the full model in the replay ÷ those in which it answered, on the same tokens: with
    # `baseline=reuse` how much slower the machine has become.
    (FLOAT, "baseline_drift"),
    # Batches that did not fit into memory and were answered in two halves.
    (INT, "halved_batches"),
    # Jobs of a study that shared the processor.
    (INT, "jobs_at_once"),
    # Stands for what else changes tokens or times: prompts, sampling, the first token, fixed lengths.
    (TEXT, "conditions"),
    # How weights meet one vector: kernel, linear (torch's library), both, or transposed.
    (TEXT, "engine_product"),
    # Of the tokens of all answers, those before an answer; answers that the length limit left without one.
    (FLOAT, "thought_share full_thought_share cut_off_rate full_cut_off_rate"),
    # Records of the source that could not be read and were left out; `config.yaml` names them.
    (INT, "skipped_records"),
    # The method's colour and marker in figures.
    (TEXT, "drawn"),
    # Means of the scores that the task declares, with limits as <name>_lo and <name>_hi; the full model's;
    # and those of which less is better.
    (SCORES, "score_means full_score_means"),
    (TEXTS, "lower_is_better"),
)

# A judge's verdicts, in `judgements-<judge>.parquet`.
# side: own or full, whose answer is graded; own_first or full_first, who stands first in a comparison.
# reply: the judge's words. winner: own, full or tie. parsed: null where no answer came.
JUDGEMENTS = _schema(
    (TEXT, "run_id judge example_id"),
    (INT, "turn"),
    (TEXT, "category side prompt_name question_sha256 reply"),
    (FLOATS, "ratings"),
    (FLOAT, "rating"),
    (TEXT, "winner"),
    (FLAG, "parsed"),
    (INT, "prompt_tokens completion_tokens"),
)

# Outcomes of an answer that is right, and of one that is not; abstained, collapsed and cut off are none.
RIGHT, WRONG = ("correct", "supported"), ("wrong", "unsupported")

# Grades of a judge go from 1 to 10.
GRADE_SPAN = 9.0

# A machine's times differ by less from minute to minute.
_DRIFTED = 0.05

# What two runs must share to stand in one table.
SETTING = (
    "model",
    "model_revision",
    "task",
    "task_version",
    "source",
    "prompt_style",
    "dtype",
    "device",
    "threads",
    "batch_size",
    "max_new_tokens",
    "temperature",
    "engine_layer",
    "engine_product",
    "conditions",
)


def drifted(record: Mapping[str, Any]) -> float | None:
    """Return the drift of a reused baseline, where it is more than a machine's times differ anyway."""
    drift = record.get("baseline_drift")
    if record.get("baseline") != "reuse" or drift is None or abs(drift - 1) < _DRIFTED:
        return None
    return float(drift)


def method_parameters(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the method's parameters of a metrics record; a record without any that can be read has none."""
    return dict(_parsed(record.get("method_params") or "{}"))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}


def setting(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a run shares with those that may stand in its table."""
    return tuple(str(record.get(name)) for name in SETTING)


def settings_apart(records: Iterable[Mapping[str, Any]], said: Iterable[str]) -> list[str]:
    """Return the parts of the setting in which runs differ, without those that a title says anyway."""
    values = set(map(setting, records))
    parts = zip(SETTING, zip(*values, strict=True), strict=True)
    apart = {name for name, part in parts if len(set(part)) > 1}
    # A hash says little: only where nothing else tells two settings apart. It comes last.
    if len({one[:-1] for one in values}) == len(values):
        apart.discard("conditions")
    return [name for name in SETTING if name in apart - set(said)]


# UTF-8, and so Arrow, cannot hold half of a surrogate pair; a byte-level vocabulary can produce one.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def samples_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return the rows as an Arrow table with exactly the `SAMPLES` columns.

    A missing key and a number that is not finite become null, half of a surrogate pair becomes U+FFFD.

    Raises
    ------
    ValueError
        A row has a key that is no column, or a value that does not fit its column.
    """
    return _table(rows, SAMPLES, "samples")


def judgements_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return verdicts as an Arrow table with exactly the `JUDGEMENTS` columns; as `samples_table`."""
    return _table(rows, JUDGEMENTS, "judgements")


def read_samples(path: Path | str) -> pa.Table:
    """Return a `samples.parquet` with exactly the `SAMPLES` columns; those that the file lacks are null.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no Parquet file, or has a column that is not known or does not fit.
    """
    table = pq.read_table(path, partitioning=None)
    if unknown := [name for name in table.column_names if name not in SAMPLES.names]:
        raise ValueError(f"{path}: unknown column {unknown[0]!r}")
    return completed(table, SAMPLES)


def completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with exactly the columns of a schema; those that it lacks are null.

    A run of an earlier version lacks some.

    Raises
    ------
    ArrowException
        A column does not fit.
    """
    if table.schema == schema:
        return table
    there = set(table.column_names)
    columns = [
        table[field.name].cast(field.type) if field.name in there else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def sample_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return a samples table as plain dictionaries; maps become dictionaries."""
    maps = _maps(SAMPLES)
    rows: list[dict[str, Any]] = table.to_pylist()
    return [row | {name: dict(row[name]) for name in maps if row[name] is not None} for row in rows]


def _maps(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if field.type == SCORES]


def metrics_record(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with every `METRICS` field in order; missing fields and non-finite numbers are null.

    Raises
    ------
    ValueError
        A key is no metric, or a value does not fit its field.
    """
    record: dict[str, Any] = metrics_table([values]).to_pylist()[0]
    return record | {name: dict(record[name]) for name in _maps(METRICS) if record[name] is not None}


def metrics_table(records: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return records as an Arrow table with exactly the `METRICS` columns; as in `metrics_record`."""
    return _table(records, METRICS, "metrics")


def metrics_json(record: Mapping[str, Any]) -> str:
    """Return a metrics record as strict JSON (no NaN), one field a line."""
    return json.dumps(metrics_record(record), indent=2, allow_nan=False) + "\n"


def _table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, table: str) -> pa.Table:
    rows = list(rows)
    for row in rows:
        _refuse_unknown(row, schema, table)
    return pa.Table.from_arrays(
        [_column([row.get(field.name) for row in rows], field) for field in schema], schema=schema
    )


@cache
def _names(schema: pa.Schema) -> frozenset[str]:
    """The columns of a schema, which makes a new list at every look."""
    return frozenset(schema.names)


def _refuse_unknown(values: Mapping[str, Any], schema: pa.Schema, table: str) -> None:
    known = _names(schema)
    for name in values:
        if name not in known:
            raise ValueError(f"unknown column {name!r} in {table}; the columns are in runners/schema.py")


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    try:
        if field.type in (INT, INTS, LONGS):
            values = [_whole(value) for value in values]
        elif field.type != FLAG:
            values = [_clean(value) for value in values]
        return pa.array(values, type=field.type)
    except (pa.ArrowException, OverflowError, _NotWholeError) as error:
        raise ValueError(f"column {field.name!r} wants {field.type}: {str(error).splitlines()[0]}") from error


class _NotWholeError(Exception):
    """A fraction where an integer belongs."""


def _whole(value: Any) -> Any:
    """Refuse fractions, which Arrow would cut off without a word."""
    if value is None or type(value) is int:
        return value
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        number = float(value)
        if not math.isfinite(number):
            return None
        if not number.is_integer():
            raise _NotWholeError(f"{number} is no whole number")
        return int(number)
    return value


def _clean(value: Any) -> Any:
    """Replace what a column must not or cannot hold: numbers that are not finite, lone surrogates."""
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, numbers.Real):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return [(_clean(key), _clean(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value
