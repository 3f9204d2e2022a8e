"""Finished runs that agree with this one in everything but the method."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from runners.errors import RunError
from runners.files import explained
from runners.method_code import method_code
from runners.notices import say
from runners.storage import RunFolder, find_runs

Key = tuple[str, int]
# Characters before and after the first that differs.
_BEFORE, _AFTER = 20, 30


class Asked(NamedTuple):
    """What an example is, and what its first turn shows the model."""

    source_sha256: str
    prompt_sha256: str
    prompt: str


@dataclass(frozen=True)
class Covering:
    """The rows of a run that answers what is asked, or why there are none.

    Attributes
    ----------
    rows : dict or None
        By (example_id, turn), of the examples asked alone.
    obstacle : str or None
        Why the nearest run does not do, in one line; None: no run is near.
    """

    rows: dict[Key, dict[str, Any]] | None = None
    obstacle: str | None = None


# The full model's columns in its own run, and their names beside a method.
_COLUMNS = {
    "prompt_tokens": "full_prompt_tokens",
    "output_ids": "full_output_ids",
    "output_text": "full_output_text",
    "output_tokens": "full_output_tokens",
    "prefill_s": "full_prefill_s",
    "decode_s": "full_decode_s",
    "step_s": "full_step_s",
    "finish_reason": "full_finish_reason",
    "thoughts": "full_thoughts",
    "thought_tokens": "full_thought_tokens",
    "quality": "full_quality",
    "outcome": "full_outcome",
    "hallucinated": "full_hallucinated",
    "collapsed": "full_collapsed",
    "scores": "full_scores",
}


def comparable_runs(root: Path, conditions_id: str, method: str, **params: str) -> list[RunFolder]:
    """Finished runs of a method with these parameters under the same conditions, in order of their names."""
    found = []
    for run in find_runs(root):
        # A folder that somebody else damaged is no reason to stop this run.
        with contextlib.suppress(RunError):
            config = stored_config(run)
            wanted = {"name": method, **params}
            if config.get("conditions_id") == conditions_id and wanted.items() <= config["method"].items():
                found.append(run)
    return found


def stored_config(run: RunFolder) -> dict[str, Any]:
    """What is in the `config.yaml` of a run.

    Raises
    ------
    RunError
        It cannot be read.
    """
    path = run.path / "config.yaml"
    with explained("read", path):
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise RunError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    groups = config if isinstance(config, dict) else {}
    parts = [groups.get(group) for group in ("method", "task")]
    if not all(isinstance(part, dict) and isinstance(part.get("name"), str) for part in parts):
        raise RunError(f"{path} is not the configuration of a run: it has no method or no task")
    return groups


def covering_rows(
    root: Path, conditions_id: str, method: str, asked: Mapping[str, Asked], **params: str
) -> Covering:
    """The rows of a finished run of a method that answered the same examples under the same conditions.

    Parameters
    ----------
    asked : mapping of example_id to Asked
    **params
        What some of the method's parameters have to be.
    """
    obstacle = None
    for run in comparable_runs(root, conditions_id, method, **params):
        try:
            rows = {(row["example_id"], row["turn"]): row for row in run.read_rows()}
        except RunError:
            # Damaged, or begun anew this moment: it covers nothing.
            continue
        first = [row for (_, turn), row in rows.items() if not turn]
        there = {row["example_id"] for row in first}
        if missing := [name for name in asked if name not in there]:
            why = f"{run.run_id} has {len(asked) - len(missing)} of the {len(asked)} examples"
        elif (difference := changed_prompt(first, asked)) is not None:
            why = f"{run.run_id} has other prompts: {difference}"
        else:
            if changed_code(run):
                say(f"The code of method={method} has changed since {run.run_id}, which is still reused")
            return Covering({key: row for key, row in rows.items() if key[0] in asked})
        obstacle = obstacle or why
    return Covering(obstacle=obstacle)


def changed_code(run: RunFolder) -> bool:
    """Whether the method of a run, or what it imports from `methods/`, has changed since; a run that does not
    say what its code was has not."""
    config = stored_config(run)
    name, code = config["method"]["name"], config.get("method_code")
    return code is not None and code != method_code(name)


def changed_prompt(rows: Iterable[Mapping[str, Any]], asked: Mapping[str, Asked]) -> str | None:
    """How the first prompt that has changed differs, in words; None: none has.

    Parameters
    ----------
    rows
        Of first turns; those of examples that are not asked are passed over.
    asked : mapping of example_id to Asked
    """
    for row in rows:
        now = asked.get(row["example_id"])
        if now is None or (row["source_sha256"], row["prompt_sha256"]) == now[:2]:
            continue
        if row["prompt_sha256"] == now.prompt_sha256:
            return f"the references of example {row['example_id']} have changed"
        before, after = _excerpts(row["prompt"] or "", now.prompt)
        return f"that of example {row['example_id']} was {before!r} and is {after!r}"
    return None


def _excerpts(one: str, other: str) -> tuple[str, str]:
    """Two texts around the first character in which they differ."""
    length = min(len(one), len(other))
    place = next((index for index in range(length) if one[index] != other[index]), length)
    part = slice(max(0, place - _BEFORE), place + _AFTER)
    return one[part], other[part]


def full_columns(root: Path, conditions_id: str, asked: Mapping[str, Asked]) -> dict[Key, dict[str, Any]]:
    """The `full_*` columns of every example, from a finished run of the full model.

    Raises
    ------
    RunError
        There is none that agrees and covers the examples.
    """
    found = covering_rows(root, conditions_id, "full", asked)
    if found.rows is None and found.obstacle is not None:
        raise RunError(
            f"runner.baseline=reuse: {found.obstacle}; first run the same command with method=full "
            "runner.baseline=none"
        )
    if found.rows is None:
        raise RunError(
            f"runner.baseline=reuse found no finished run of the full model under {root} with the same "
            "model, task, sampling, dtype, batch, threads and engine that covers these examples; first run "
            "method=full runner.baseline=none with them (without method.*, runner.replay and judge)"
        )
    return {key: {name: row[own] for own, name in _COLUMNS.items()} for key, row in found.rows.items()}
