"""What the command line does with finished runs: score them again, put them before a judge."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from models.places import expanded
from runners.configure import build, composed, composed_values
from runners.errors import RunError
from runners.judging import judge_run
from runners.rescore import rescore
from runners.reuse import stored_config
from runners.settings import LoggerConfig
from runners.storage import finished_run
from runners.typed import as_typed
from runners.user_errors import not_composed
from runners.wandb_logger import Destination
from tasks.judges.config import JudgeConfig


def rescore_command(arguments: Sequence[str]) -> tuple[list[dict[str, Any]], list[Path]]:
    """`run.py rescore <folder> [...] [task.<option>=<value> ...]`: metrics and folders."""
    folders, rest = _divided(arguments, "rescore")
    options = _options_of(rest)
    return [rescore(folder, options) for folder in folders], folders


def judge_command(arguments: Sequence[str], conf: Path) -> tuple[list[dict[str, Any]], list[Path]]:
    """`run.py judge <folder> [...] judge=... [judge.<option>=<value> ...] [logger=...]`: metrics and folders.

    Without `logger` each run's own is told.
    """
    folders, rest = _divided(arguments, "judge")
    logged = [argument for argument in rest if argument.startswith(("logger=", "logger."))]
    judged = [argument for argument in rest if argument.startswith(("judge=", "judge."))]
    if wrong := [argument for argument in rest if argument not in logged + judged]:
        raise RunError(
            f"judge takes folders, judge=..., judge.<option>=<value> and logger=..., not {wrong[0]}"
        )
    try:
        values = composed_values(composed(conf, as_typed(rest)))
    except (OSError, ValueError, RuntimeError) as error:
        raise not_composed(error) from error
    config = build(JudgeConfig, values["judge"], "judge.")
    if config.name == "none":
        raise RunError("no judge is named; choose judge=openai or judge=hf, with judge.model")
    given = build(LoggerConfig, values["logger"], "logger.") if logged else None
    metrics = [judge_run(folder, config, to=Destination.of(given or _logger(folder))) for folder in folders]
    return metrics, folders


def _options_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Options of the task from a command line's `task.<option>=<value>`."""
    options = {}
    for argument in arguments:
        key = argument.partition("=")[0]
        if not key.startswith("task."):
            raise RunError(f"rescore takes folders and task.<option>=<value>, not {argument}")
        try:
            (typed,) = as_typed([argument])
            options[key.removeprefix("task.")] = OverridesParser.create().parse_override(typed).value()
        # ValueError: a number of thousands of digits.
        except (HydraException, ValueError, RecursionError) as error:
            raise RunError(f"{argument} cannot be read: {str(error).splitlines()[0]}") from error
    return options


def _logger(folder: Path) -> LoggerConfig:
    """Where a finished run was logged."""
    return build(
        LoggerConfig, stored_config(finished_run(folder)).get("logger") or {"name": "none"}, "logger."
    )


def _divided(arguments: Sequence[str], command: str) -> tuple[list[Path], list[str]]:
    named = [argument for argument in arguments if "=" not in argument or os.path.isdir(argument)]
    folders = [expanded(argument) for argument in named]
    if not folders:
        raise RunError(
            f"{command} needs the folder of a finished run: python run.py {command} results/<run_id>"
        )
    return folders, [argument for argument in arguments if argument not in named]
