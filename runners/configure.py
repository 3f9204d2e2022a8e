"""From a composed configuration to a checked `Job`, with errors that say what would be right."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from methods.shared.registry import method_class
from models.loading import EngineConfig, ModelConfig
from models.places import last_part, same
from runners.errors import RunError
from runners.prepared_models import prepared_models
from runners.settings import Job, LoggerConfig, RunnerConfig, Settings
from tasks import registry as tasks
from tasks.judges.config import JudgeConfig

T = TypeVar("T")
# Names of environment variables that hold what nobody else may read.
_SECRET = re.compile(r"KEY$|TOKEN$|SECRET|PASSWORD", re.IGNORECASE)
GROUPS = ("method", "task", "model", "engine", "runner", "judge", "logger")


def composed(conf: Path, words: Sequence[str]) -> DictConfig:
    """The configuration of a command line, outside of Hydra's own command."""
    with initialize_config_dir(str(conf), version_base="1.3"):
        return compose("config", list(words))


def job_from(config: DictConfig) -> Job:
    """Check a composed configuration.

    Raises
    ------
    RunError, ModelError, MethodError, DataError
        In one line: an unknown key, a value of the wrong type or out of range.
    """
    values = composed_values(config)
    method_name = values["method"].pop("name", None)
    task_name = values["task"].get("name")
    if not isinstance(method_name, str) or not isinstance(task_name, str):
        raise RunError("method.name and task.name must be names; leave them to method=... and task=...")
    settings = {key: value for key, value in values.items() if key not in GROUPS}
    model = values["model"]
    if model.get("name") is None or _names_another(model["name"], model.get("path")):
        model["name"] = last_part(str(model.get("path")))
    return Job(
        method_name=method_name,
        method=build(method_class(method_name).Params, values["method"], "method."),
        task_name=task_name,
        task=tasks.create(task_name, values["task"]).config,
        model=build(ModelConfig, values["model"], "model."),
        engine=build(EngineConfig, values["engine"], "engine."),
        runner=build(RunnerConfig, values["runner"], "runner."),
        judge=build(JudgeConfig, values["judge"], "judge."),
        logger=build(LoggerConfig, values["logger"], "logger."),
        settings=build(Settings, settings, ""),
    )


def _names_another(name: Any, path: Any) -> bool:
    """Whether a name is that of a prepared model with another path: `model.path=` alone keeps the name of the
    model that it replaces."""
    paths = [one["path"] for one in prepared_models().values() if one["name"] == name]
    return bool(paths) and not any(same(one, path) for one in paths)


def composed_values(config: DictConfig) -> dict[str, Any]:
    """The plain values of a composed configuration, in which every group is one."""
    try:
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore
    except OmegaConfBaseException as error:
        raise RunError(
            f"{getattr(error, 'full_key', '')} is missing: {str(error).splitlines()[0]}"
        ) from error
    for group in GROUPS:
        if not isinstance(values.get(group), dict):
            raise RunError(f"{group}={values.get(group)} is not a configuration; choose one of conf/{group}/")
    _refuse_secrets(values, "", _secrets())
    return values


def refuse_secrets(arguments: Iterable[str]) -> None:
    """Refuse a command line that holds a secret of the environment: a study would store it with its jobs.

    Raises
    ------
    RunError
        It names the key, and repeats nothing of the value.
    """
    secrets = _secrets()
    for argument in arguments:
        key = argument.partition("=")[0]
        if _holds_any(argument, secrets):
            raise _misplaced("" if _holds_any(key, secrets) else key)


def _refuse_secrets(values: Mapping[str, Any], where: str, secrets: Sequence[str]) -> None:
    """Refuse a value that holds a secret of the environment: it would be stored with the results."""
    for key, value in values.items():
        if isinstance(value, dict):
            _refuse_secrets(value, f"{where}{key}.", secrets)
        elif _holds_any(str(value), secrets):
            raise _misplaced(f"{where}{key}")


def _secrets() -> list[str]:
    """Values of the environment that nobody else may read; shorter ones are found in any text."""
    return [value for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= 8]


def _holds_any(text: str, secrets: Sequence[str]) -> bool:
    return any(secret in text for secret in secrets)


def _misplaced(key: str) -> RunError:
    return RunError(
        f"{key or 'the command line'} holds a key or password of the environment, and results are no place "
        "for it; a judge's key is named by judge.key_env"
    )


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a dataclass from plain values, with types checked and converted by OmegaConf."""
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise RunError(unknown_key(f"{where}{key}", [f"{where}{name}" for name in known]))
    base = OmegaConf.structured(cls)
    OmegaConf.set_readonly(base, False)
    kinds = {field.name: field.type for field in fields(cls)}  # type: ignore[arg-type]
    for key, value in values.items():
        # OmegaConf would write a number down again: 2024_01 has become 202401 before it comes here.
        if kinds[key] in (str, str | None) and not isinstance(value, str | None):
            raise RunError(f"{where}{key}={value!r} is read as {_kind(value)}, not as a text; quote it")
        # OmegaConf takes any number for a truth value.
        if kinds[key] is bool and type(value) in (int, float):
            raise RunError(f"{where}{key}={value!r} has the wrong type: it must be true or false")
        try:
            base[key] = value
        # OverflowError: a whole number beyond every float.
        except (OmegaConfBaseException, OverflowError) as error:
            raise RunError(
                f"{where}{key}={value!r} has the wrong type: {str(error).splitlines()[0]}"
            ) from error
    plain: Any = OmegaConf.to_container(base)
    return cls(**{name: plain[name] for name in known})


def _kind(value: Any) -> str:
    kinds = {bool: "a truth value", int: "a number", float: "a number", list: "a list"}
    return kinds.get(type(value), "an object")


def unknown_key(key: str, known: Iterable[str], list_all: bool = True) -> str:
    """What to say of a key that does not exist."""
    known = sorted(known)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    there = f" (there are: {', '.join(known) or 'none'})" if list_all or not near else ""
    return f"unknown key {key}{hint}{there}"
