"""What a reader must know before believing a table: what is missing, mixed, or alone."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from analysis.tables import Record, Setting
from runners.schema import drifted

_NEEDED = {
    "quality": "quality",
    "speedup": "decode speedup",
    "new_hallucination_rate": "rate of new hallucinations",
}


def notes(
    settings: Sequence[Setting], unfinished: Sequence[Path], half_rescored: Sequence[Path] = ()
) -> list[str]:
    """Sentences about runs that are not finished, settings with one method, and what is unknown.

    Parameters
    ----------
    settings
        From `tables.settings`.
    unfinished
        From `frames.unfinished_runs`.
    half_rescored
        From `frames.half_rescored_runs`.
    """
    found = [*_left_out(unfinished), *_of_two_scorings(half_rescored)]
    for title, runs in settings:
        said = [*_revisions(runs), *_disturbed(runs), *_alone(runs), *_unknown(runs)]
        found += [f"{title}: {sentence}" for sentence in said]
    return found


def _left_out(unfinished: Sequence[Path]) -> Iterable[str]:
    if unfinished:
        names = ", ".join(run.name for run in unfinished)
        yield (
            f"{_runs(len(unfinished))} not finished and left out: {names}. "
            "The same command goes on where it was."
        )


def _of_two_scorings(half_rescored: Sequence[Path]) -> Iterable[str]:
    if half_rescored:
        names = ", ".join(run.name for run in half_rescored)
        yield f"{_runs(len(half_rescored))} only half rescored: {names}. Rescore again."


def _revisions(runs: Sequence[Record]) -> Iterable[str]:
    revisions = sorted({str(run.get("code_revision") or "unknown") for run in runs})
    if len(revisions) > 1:
        yield (
            f"the runs come from {len(revisions)} revisions of the code ({', '.join(revisions)}); "
            "differences between them may be the code's. force=true runs one again."
        )


def _disturbed(runs: Sequence[Record]) -> Iterable[str]:
    beside = sum((run.get("jobs_at_once") or 1) > 1 for run in runs)
    if beside:
        yield f"{_runs(beside)} not alone on the processor: no speed of theirs is to be quoted."
    drifts = [drift for run in runs if (drift := drifted(run)) is not None]
    if drifts:
        yield (
            f"{_runs(len(drifts))} timed while the full model would have taken {min(drifts):.2f} to "
            f"{max(drifts):.2f} of the time of its own run; its times are corrected for that."
        )


def _alone(runs: Sequence[Record]) -> Iterable[str]:
    methods = {run["method"] for run in runs} - {"full"}
    if not methods:
        yield "only the full model has run; there is nothing to compare it with."
    elif len(methods) == 1:
        yield f"only one method, {methods.pop()}: a front shows how far it gets, not how it compares."


def _unknown(runs: Sequence[Record]) -> Iterable[str]:
    methods = [run for run in runs if run["method"] != "full"]
    for field, missing in _NEEDED.items():
        lacking = [run for run in methods if run.get(field) is None]
        if lacking and len(lacking) == len(methods):
            yield f"no run has a {missing}{_reason(field, lacking)}; there is no figure of it."
        elif lacking:
            some = f"{len(lacking)} of {len(methods)} runs have no {missing}{_reason(field, lacking)}"
            yield f"{some}, and are not in its figures."


def _reason(field: str, runs: Sequence[Record]) -> str:
    if any(run.get("baseline") == "none" for run in runs) and field != "quality":
        return " (runner.baseline=none compares with nothing)"
    return ""


def _runs(count: int) -> str:
    return "1 run is" if count == 1 else f"{count} runs are"
