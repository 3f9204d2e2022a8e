"""Finished runs that agree with this one in everything but the method."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from runners.errors import RunError
from runners.files import explained
from runners.storage import RunFolder, find_runs

Key = tuple[str, int]
Asked = tuple[str, str]

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
    root: Path, conditions_id: str, method: str, prompts: Mapping[str, Asked], **params: str
) -> dict[Key, dict[str, Any]] | None:
    """The rows of a finished run of a method that answered the same examples under the same conditions.

    Parameters
    ----------
    prompts : mapping of example_id to (source_sha256, prompt_sha256)
        The examples, and what the first turn of each shows the model.
    **params
        What some of the method's parameters have to be.

    Returns
    -------
    dict or None
        By (example_id, turn), of these examples alone; None if no run has them all.
    """
    for run in comparable_runs(root, conditions_id, method, **params):
        try:
            rows = {(row["example_id"], row["turn"]): row for row in run.read_rows()}
        except RunError:
            # Damaged, or begun anew this moment: it covers nothing.
            continue
        first = {
            name: (row["source_sha256"], row["prompt_sha256"])
            for (name, turn), row in rows.items()
            if not turn
        }
        if all(first.get(name) == asked for name, asked in prompts.items()):
            return {key: row for key, row in rows.items() if key[0] in prompts}
    return None


def full_columns(root: Path, conditions_id: str, prompts: Mapping[str, Asked]) -> dict[Key, dict[str, Any]]:
    """The `full_*` columns of every example, from a finished run of the full model.

    Raises
    ------
    RunError
        There is none that agrees and covers the examples.
    """
    rows = covering_rows(root, conditions_id, "full", prompts)
    if rows is None:
        raise RunError(
            f"runner.baseline=reuse found no finished run of the full model under {root} with the same "
            "model, task, sampling, dtype, batch, threads and engine that covers these examples; first run "
            "method=full runner.baseline=none with them (without method.*, runner.replay and judge)"
        )
    return {key: {name: row[own] for own, name in _COLUMNS.items()} for key, row in rows.items()}
