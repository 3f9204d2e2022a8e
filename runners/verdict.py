"""What a run's numbers say, in plain sentences: larger than the noise or not, faster or slower."""

from collections.abc import Mapping
from typing import Any

from runners.schema import drifted

Record = Mapping[str, Any]


def sentences(record: Record) -> list[str]:
    """Return what a metrics record says about quality and speed against the full model, one sentence each."""
    disturbed = [
        *_halved(record.get("halved_batches")),
        *_beside(record.get("jobs_at_once")),
        *_skipped(record.get("skipped_records")),
    ]
    if record.get("baseline") == "none":
        return [
            "There is no full model to compare with (runner.baseline=none).",
            *disturbed,
            *_cut_off(record),
        ]
    found = [_quality(record), _speed(record), *_drift(record), *disturbed, *_cut_off(record)]
    if note := record.get("speed_note"):
        found.append(f"Note: {note}.")
    if record.get("untrained_ablation"):
        found.append("Its paper trains the model for it; this one was not (untrained ablation).")
    return found


def _drift(record: Record) -> list[str]:
    drift = drifted(record)
    if drift is None:
        return []
    changed = f"{abs(drift - 1):.0%} {'slower' if drift > 1 else 'faster'}"
    return [f"The machine was {changed} than when the full model answered, whose times are corrected for it."]


def _halved(batches: int | None) -> list[str]:
    if not batches:
        return []
    counted = f"{batches} batches" if batches > 1 else "1 batch"
    return [f"{counted} did not fit into memory: answered in halves, at the speed of smaller batches."]


def _beside(jobs: int | None) -> list[str]:
    if jobs is None or jobs < 2:
        return []
    return [f"{jobs} jobs shared the processor: quote no speed of it."]


def _cut_off(record: Record) -> list[str]:
    share = max(record.get("cut_off_rate") or 0, record.get("full_cut_off_rate") or 0)
    if not share:
        return []
    return [
        f"Up to {share:.0%} of the answers were cut off within their thoughts, before they began: raise "
        "max_new_tokens, or let the model think less (model.chat_template_kwargs)."
    ]


def _skipped(records: int | None) -> list[str]:
    if not records:
        return []
    counted = f"{records} records" if records > 1 else "1 record"
    return [f"{counted} of the data could not be read and {'were' if records > 1 else 'was'} left out."]


def _quality(record: Record) -> str:
    delta, lo, hi = (record.get(f"quality_delta{end}") for end in ("", "_lo", "_hi"))
    detectable = record.get("quality_mde")
    if delta is None:
        return "Its quality cannot be compared: no answer has a score on both sides."
    if lo is None or hi is None:
        return "Its quality cannot be compared: these are too few examples."
    if lo <= 0 <= hi:
        unseen = (
            "" if detectable is None else f"; one below {detectable:.3f} could go unseen with these examples"
        )
        return f"No measurable difference in quality{unseen}."
    direction = "higher" if delta > 0 else "lower"
    doubt = ""
    if detectable is not None and abs(delta) < detectable:
        doubt = f", but smaller than the {detectable:.3f} that these examples show reliably"
    return f"Its quality is {direction} by {abs(delta):.3f}, which is more than the noise{doubt}."


def _speed(record: Record) -> str:
    speedup, lo, hi = (record.get(f"speedup{end}") for end in ("", "_lo", "_hi"))
    if speedup is None:
        return "Its decode speed cannot be compared: no answer was timed on both sides."
    if lo is None or hi is None:
        return "Its decode speed cannot be compared: these are too few examples."
    if lo <= 1 <= hi:
        return "No measurable difference in decode speed."
    direction = "faster" if speedup > 1 else "slower"
    return f"Decoding is {direction}: {speedup:.2f} times the full model's tokens per second."
