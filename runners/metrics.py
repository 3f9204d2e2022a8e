"""All metrics of one run from its rows: the one place where rows become a `METRICS` record."""

from collections.abc import Mapping
from typing import Any

from runners.columns import Rows
from runners.own_metrics import names_of, own_metrics
from runners.quality_metrics import hallucination, lengths, quality
from runners.schema import metrics_record
from runners.speed_metrics import replay, speed, speed_note, work


def summarise(rows: Rows, facts: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """Return the full metrics record of a run.

    Parameters
    ----------
    rows
        The run's rows with `SAMPLES` columns, in any order; columns may be missing or null.
    facts
        What the rows do not say: names, settings, memory, energy, set-up and wall time, replay results. An
        earlier record of the same run will do (rescoring): whatever the rows do say is computed anew.
    seed
        Of the bootstrap of scores.

    Returns
    -------
    dict
        Every `METRICS` field, None where unknown: without a baseline every comparison, without a decoded
        token every speed, with fewer than two conversations every interval.

    Raises
    ------
    ValueError
        A fact is not a metric or does not fit its field.
    """
    # The bootstrap draws by position, and a resumed run may hold its rows in another order.
    rows = sorted(rows, key=lambda row: (str(row.get("example_id")), row.get("turn") or 0))
    lossless, batch_size = bool(facts.get("lossless")), facts.get("batch_size")
    replayed = replay(rows, batch_size)
    drift = replayed["baseline_drift"] if facts.get("baseline") == "reuse" else None
    left_out = work(rows, lossless)
    derived = {
        "examples": len({row.get("example_id") for row in rows}),
        **quality(rows, seed),
        **hallucination(rows),
        **lengths(rows, facts.get("max_new_tokens")),
        **speed(rows, batch_size, drift),
        **left_out,
        **replayed,
        **own_metrics(rows, names_of(facts)),
        "speed_note": speed_note(facts.get("method"), lossless, left_out["skip_step_share"]),
    }
    return metrics_record({**facts, **derived})
