"""Finds tasks by name: every module of this package that defines a `Task` is one."""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

import tasks
from tasks.base import Task
from tasks.config import TaskConfig, build_config, suggestion
from tasks.errors import DataError


def names() -> list[str]:
    """Return the names of all tasks, sorted."""
    return sorted(_classes())


def create(name: str, config: TaskConfig | Mapping[str, Any] | None = None) -> Task:
    """Make the task called `name`.

    Parameters
    ----------
    name
        One of `names()`.
    config
        The task's configuration, plain values for it, or None for its defaults.

    Raises
    ------
    DataError
        If there is no such task, or its configuration is refused.
    """
    classes = _classes()
    if name not in classes:
        raise DataError(
            f"unknown task {name!r}{suggestion(name, classes)}; tasks: {', '.join(sorted(classes))}"
        )
    task = classes[name]
    if not isinstance(config, TaskConfig):
        config = build_config(task.Config, config or {})
    if not isinstance(config, task.Config) or config.name != name:
        raise DataError(f"a configuration of task {config.name!r} was given to task {name!r}")
    return task(config)


@cache
def _classes() -> dict[str, type[Task]]:
    found: dict[str, type[Task]] = {}
    for info in pkgutil.iter_modules(tasks.__path__):
        if info.ispkg:
            continue
        module = importlib.import_module(f"tasks.{info.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, Task) and member.__module__ == module.__name__ and member is not Task:
                found[info.name] = member
    return found
