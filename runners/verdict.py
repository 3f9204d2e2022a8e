"""What a run's numbers say, in plain sentences: larger than the noise or not, faster or slower."""

from collections.abc import Mapping
from typing import Any

from runners.schema import drifted
from runners.significance import corrected_p_values, quality_verdict, said_p
from tasks.scoring.collapse import MIN_TOKENS

Record = Mapping[str, Any]
# Upper ÷ lower limit of a speedup from which on its interval is called wide.
_WIDE = 1.5


def sentences(record: Record, corrected: float | None = None) -> list[str]:
    """Return what a metrics record says about quality and speed against the full model, one sentence each.

    Parameters
    ----------
    record
    corrected
        Its p-value in its table, of `significance.corrected_p_values`, where others stand beside it: what it
        says is said, whatever the limits are.
    """
    if corrected is None:
        corrected = corrected_p_values([record])[0]
    disturbed = [
        *_halved(record.get("halved_batches")),
        *_beside(record.get("jobs_at_once")),
        *_skipped(record.get("skipped_records")),
        *_short(record),
        *_cut_off(record),
    ]
    if record.get("baseline") == "none":
        return ["There is no full model to compare with (runner.baseline=none).", *disturbed]
    found = [_quality(record, corrected), _speed(record), *_drift(record), *disturbed]
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


def _short(record: Record) -> list[str]:
    limit = record.get("max_new_tokens")
    if limit is None or limit >= MIN_TOKENS or record.get("new_hallucination_rate") is None:
        return []
    return [f"Answers of at most {limit} tokens are too short to tell a loop: loops count as hallucinations."]


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


def _quality(record: Record, corrected: float | None) -> str:
    delta, lo, hi = (record.get(f"quality_delta{end}") for end in ("", "_lo", "_hi"))
    detectable = record.get("quality_mde")
    if delta is None:
        return "Its quality cannot be compared: no answer has a score on both sides."
    if lo is None or hi is None:
        return "Its quality cannot be compared: these are too few examples."
    tested = "" if corrected is None else f" (p {said_p(corrected)})"
    verdict = quality_verdict(record, corrected)
    if verdict is None:
        unseen = "any could go unseen with these examples"
        if detectable is not None:
            unseen = f"one below {detectable:.3f} could go unseen with these examples"
        return f"No measurable difference in quality{tested}; {unseen}."
    doubt = ""
    if detectable is not None and abs(delta) < detectable:
        doubt = f", but smaller than the {detectable:.3f} that these examples show reliably"
    direction = verdict.removeprefix("perhaps ")
    if corrected is None:
        return f"Its quality is {direction} by {abs(delta):.3f}, and the limits exclude 0; no test{doubt}."
    return f"Its quality is {direction} by {abs(delta):.3f}, which is more than the noise{tested}{doubt}."


def _speed(record: Record) -> str:
    speedup, lo, hi = (record.get(f"speedup{end}") for end in ("", "_lo", "_hi"))
    if speedup is None:
        return "Its decode speed cannot be compared: no answer was timed on both sides."
    if lo is None or hi is None:
        return "Its decode speed cannot be compared: these are too few examples."
    limits = f"limits {lo:.2f} to {hi:.2f}"
    wide = ": wide, by few examples or a disturbed machine" if hi > _WIDE * lo else ""
    if lo <= 1 <= hi:
        return f"No measurable difference in decode speed ({limits}{wide})."
    direction = "faster" if lo > 1 else "slower"
    return (
        f"Decoding is {direction}: {speedup:.2f} times the full model's tokens per second ({limits}{wide})."
    )
