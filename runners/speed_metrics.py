"""What a method does to the speed, and how much work it really left out."""

from typing import Any

import numpy as np

from runners.columns import Row, Rows, column, known, mean, quotient, rows_with, total
from runners.statistics import speedup_interval

FEW_STEPS = 0.2
BY_PARAMETERS = (
    ("attention_run", "attention_total", "attention_weight"),
    ("ffn_run", "ffn_total", "ffn_weight"),
)


def decode_tokens(row: Row, side: str = "") -> int:
    """Return the tokens that decode calls gave: all but the first, unless prefill was kept from yielding
    it."""
    if not side and known(row, "step_tokens"):
        return sum(row["step_tokens"])
    if side and known(row, f"{side}step_s"):
        return len(row[f"{side}step_s"])  # the full model gives one token a call
    return max(0, row[f"{side}output_tokens"] - 1) if known(row, f"{side}output_tokens") else 0


def speed(rows: Rows, batch_size: int | None = None, drift: float | None = None) -> dict[str, Any]:
    """Return throughput, latency, speedups and their ceiling.

    Decode speed comes from the rows in which both sides decoded at least one token, so that `speedup` is
    `tokens_per_s` ÷ `full_tokens_per_s`; without such a pair each side's own rows give its throughput.
    Speedup is a ratio of sums, with an interval over examples, or over batches where rows of a batch share
    its time. Beside it: the ratio of mean throughputs, and the geometric mean of each pair's ratio.

    Parameters
    ----------
    drift
        What the full model's times are multiplied by, where they come from an earlier run: `baseline_drift`.
    """
    if drift is not None:
        rows = [_at_present(row, drift) for row in rows]
    own = [row for row in rows if _timed(row, "")]
    full = [row for row in rows if _timed(row, "full_")]
    pairs = [row for row in own if _timed(row, "full_")]
    own, full = pairs or own, pairs or full
    clusters = [row.get("batch" if (batch_size or 1) > 1 else "example_id") for row in pairs]
    # Their ratio is 1 by now; the limits include how uncertain it is.
    timed = [(row["full_replay_s"], row["full_decode_s"]) if _replayed(row) else (0, 0) for row in pairs]
    ratio = speedup_interval(
        [decode_tokens(row) for row in pairs],
        column(pairs, "decode_s"),
        [decode_tokens(row, "full_") for row in pairs],
        column(pairs, "full_decode_s"),
        clusters,
        again=None if drift is None else np.reshape(timed, (-1, 2)),
    )
    rates, full_rates = _row_rates(own, ""), _row_rates(full, "full_")
    counted = rows_with(own, "method_bytes", "full_bytes")
    ideal = quotient(total(counted, "full_bytes"), total(counted, "method_bytes"))
    decided = rows_with(own, "method_bytes", "decision_bytes")
    waits = column(rows_with(rows, "prefill_s"), "prefill_s")
    return {
        "tokens_per_s": _throughput(own, ""),
        "full_tokens_per_s": _throughput(full, "full_"),
        "speedup": ratio.estimate,
        "speedup_lo": ratio.lo,
        "speedup_hi": ratio.hi,
        "speedup_ratio_of_means": quotient(mean(rates), mean(full_rates)),
        "speedup_geomean": float(np.exp(np.mean(np.log(np.divide(rates, full_rates))))) if pairs else None,
        "speedup_end_to_end": _end_to_end(rows),
        "ideal_speedup": ideal,
        "efficiency": quotient(ratio.estimate, ideal),
        "decision_bytes_share": quotient(total(decided, "decision_bytes"), total(decided, "method_bytes")),
        **_bandwidth(own, full),
        **_latency(rows),
        "ttft_s": float(np.median(waits)) if len(waits) else None,
        "search_s": total(rows, "search_s"),
    }


def replay(rows: Rows, batch_size: int | None = None) -> dict[str, float | None]:
    """Return what forced decoding of the full model's tokens says: agreement, KL a token in nats, speedup,
    and, where answers were alone in their batch as a replayed one is, the full model's time beside the one in
    which it answered."""
    done = [row for row in rows if _replayed(row)]
    tokens = total(done, "replay_tokens")
    twice = rows_with(done, "full_decode_s") if (batch_size or 1) == 1 else []
    return {
        "replay_agreement": quotient(total(done, "replay_agreed"), tokens),
        "replay_kl": quotient(total(done, "replay_kl_sum"), tokens),
        "replay_speedup": quotient(total(done, "full_replay_s"), total(done, "replay_s")),
        "baseline_drift": quotient(total(twice, "full_replay_s"), total(twice, "full_decode_s")),
    }


def _replayed(row: Row) -> bool:
    return known(row, "replay_tokens", "replay_s", "full_replay_s") and row["replay_tokens"] > 0


def _at_present(row: Row, drift: float) -> Row:
    """A row with the full model's times as they would be now."""
    times = {name: row[name] * drift for name in ("full_prefill_s", "full_decode_s") if known(row, name)}
    if known(row, "full_step_s"):
        times["full_step_s"] = [seconds * drift for seconds in row["full_step_s"]]
    return {**row, **times}


def work(rows: Rows, lossless: bool) -> dict[str, Any]:
    """Return the realised skip of a lossy method, the draft skip of a lossless one, and what drafts achieved.

    Realised skip is 1 − token runs ÷ (decode steps × sub-layers), final work only; weighted by parameters,
    and for each kind of sub-layer. Draft skip is the same share, weighted, of the drafted work: `draft_total`
    counts drafted positions × sub-layers, which are as many of attention as of FFN.
    """
    drafted = rows_with(rows, "drafted", "accepted")
    lengths = [length for row in rows_with(rows, "accepted_lengths") for length in row["accepted_lengths"]]
    stepped = [] if lossless else rows_with(rows, "skipped_steps", "output_tokens")
    final = [] if lossless else rows
    drafts = [_draft_work(row) for row in rows_with(rows, "draft_total")] if lossless else []
    return {
        "realised_skip_attention": left_out(final, ("attention_run", "attention_total", None)),
        "realised_skip_ffn": left_out(final, ("ffn_run", "ffn_total", None)),
        "realised_skip_weighted": left_out(final, *BY_PARAMETERS),
        "draft_skip": left_out(drafts, *BY_PARAMETERS),
        "skip_step_share": quotient(total(stepped, "skipped_steps"), sum(map(_decode_steps, stepped))),
        "acceptance": quotient(total(drafted, "accepted"), total(drafted, "drafted")),
        "mean_accepted": mean(lengths),
        "draft_time_share": quotient(total(drafted, "draft_s"), total(drafted, "decode_s")),
        "search_time_share": quotient(total(drafted, "search_s"), total(drafted, "decode_s")),
        "paused_share": quotient(total(drafted, "paused_steps"), total(drafted, "verify_steps")),
    }


def speed_note(method: str | None, lossless: bool, skip_step_share: float | None) -> str | None:
    """Return a sentence if the method skipped in so few decode steps that its results say little about it."""
    if lossless or method == "full" or skip_step_share is None or skip_step_share >= FEW_STEPS:
        return None
    return (
        f"only {skip_step_share:.0%} of decode steps skipped anything: this run says little about the method"
    )


def _timed(row: Row, side: str) -> bool:
    return decode_tokens(row, side) > 0 and known(row, f"{side}decode_s") and row[f"{side}decode_s"] > 0


def _throughput(rows: Rows, side: str) -> float | None:
    return quotient(sum(decode_tokens(row, side) for row in rows), total(rows, f"{side}decode_s"))


def _row_rates(rows: Rows, side: str) -> list[float]:
    return [decode_tokens(row, side) / row[f"{side}decode_s"] for row in rows]


def _end_to_end(rows: Rows) -> float | None:
    """Ratio of all tokens ÷ (prefill + decode seconds); users also wait for answers that end in prefill."""
    rates = []
    pairs = [
        row for row in rows if _whole_time(row, "") is not None and _whole_time(row, "full_") is not None
    ]
    for side in ("", "full_"):
        seconds = sum(_whole_time(row, side) or 0.0 for row in pairs)
        rates.append(quotient(total(pairs, f"{side}output_tokens"), seconds))
    return quotient(*rates)


def _whole_time(row: Row, side: str) -> float | None:
    if not known(row, f"{side}output_tokens", f"{side}prefill_s"):
        return None
    if known(row, f"{side}decode_s"):
        return row[f"{side}prefill_s"] + row[f"{side}decode_s"]
    return row[f"{side}prefill_s"] if decode_tokens(row, side) == 0 else None


def _bandwidth(own: Rows, full: Rows) -> dict[str, float | None]:
    """Bytes read a second, by which a baseline is judged; the full model's: one full pass for each token."""
    read, passes = rows_with(own, "method_bytes"), rows_with(full, "full_bytes")
    a_token = quotient(total(passes, "full_bytes"), sum(map(decode_tokens, passes)))
    speeds = {
        "gb_per_s": quotient(total(read, "method_bytes"), total(read, "decode_s")),
        "full_gb_per_s": None if a_token is None else a_token * (_throughput(passes, "full_") or 0),
    }
    return {name: speed / 1e9 if speed else None for name, speed in speeds.items()}


def _latency(rows: Rows) -> dict[str, float | None]:
    """Percentiles over decoded tokens; the tokens of one call share its time evenly."""
    seconds: list[float] = []
    for row in rows_with(rows, "step_s", "step_tokens"):
        for step, tokens in zip(row["step_s"], row["step_tokens"], strict=True):
            seconds.extend([step / tokens] * tokens if tokens else ())
    points = (50, 90, 99)
    values = np.percentile(seconds, points) * 1000 if seconds else [None] * len(points)
    return {
        f"token_ms_p{p}": None if value is None else float(value)
        for p, value in zip(points, values, strict=True)
    }


def left_out(rows: Rows, *kinds: tuple[str, str, str | None]) -> float | None:
    """1 − Σ run ÷ Σ total over (run, total, weight) columns, for the rows that have all of them."""
    usable = rows_with(rows, *(name for kind in kinds for name in kind if name))
    run = whole = 0.0
    for row in usable:
        for run_name, total_name, weight_name in kinds:
            weight = row[weight_name] if weight_name else 1
            run += weight * row[run_name]
            whole += weight * row[total_name]
    share = quotient(run, whole)
    return None if share is None else 1 - share


def _draft_work(row: Row) -> Row:
    """The drafted work under the names of the final work; half of all sub-layers are attention."""
    half = row["draft_total"] / 2
    return {
        "attention_run": row.get("draft_attention_run"),
        "attention_total": half,
        "attention_weight": row.get("attention_weight"),
        "ffn_run": row.get("draft_ffn_run"),
        "ffn_total": half,
        "ffn_weight": row.get("ffn_weight"),
    }


def _decode_steps(row: Row) -> int:
    return len(row["step_tokens"]) if known(row, "step_tokens") else decode_tokens(row)
