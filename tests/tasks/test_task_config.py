"""Options of tasks: checked in Python, equal in YAML, and found by name."""

import importlib
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tasks import registry
from tasks.errors import DataError
from tasks.factoidqa import FactoidQAConfig

ROOT = Path(__file__).parents[2]
YAMLS = sorted(path.stem for path in (ROOT / "conf" / "task").glob("*.yaml"))


def compose_task(name: str, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose(overrides=[f"+task={name}", *overrides])
    values = OmegaConf.to_container(config.task)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "web"}, r"task\.source is 'web'; it must be one of embedded, file, hub"),
        ({"prompt": "zero"}, r"task\.prompt is 'zero'; it must be one of chat, fewshot"),
        ({"format": "csv"}, r"task\.format is 'csv'; it must be one of auto, jsonl"),
        ({"shots": -1}, r"task\.shots is -1; it must be at least 0"),
        ({"shots": "five"}, r"task\.shots is 'five'; it must be int"),
        ({"shots": True}, r"task\.shots is True; it must be int"),
        ({"shots": 2.5}, r"task\.shots is 2\.5; it must be int"),
        ({"max_new_tokens": 0}, r"task\.max_new_tokens is 0; it must be at least 1"),
        ({"max_new_tokens": None}, r"task\.max_new_tokens is None; it must be int"),
        ({"path": 3}, r"task\.path is 3; it must be str or null"),
        ({"source": "file"}, r"task\.source=file needs task\.path"),
        ({"source": "hub"}, r"task\.source=hub needs task\.dataset"),
        ({"source": "hub", "dataset": "a/b"}, r"task\.split"),
        ({"path": "x.jsonl"}, r"task\.path is read only with task\.source=file"),
        ({"dataset": "a/b"}, r"task\.dataset needs task\.source=file or hub"),
        ({"calibration_path": "x.jsonl"}, r"task\.calibration_path needs task\.source=file or hub"),
        ({"shot": 3}, r"unknown option task\.shot: did you mean 'shots'\?"),
        ({"zzz": 3}, r"unknown option task\.zzz; options: name, source"),
        ({"name": "other"}, r"configuration of task 'other' was given to task 'factoidqa'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        registry.create("factoidqa", options)
    assert "\n" not in str(caught.value)


def test_an_unknown_task_suggests_the_nearest() -> None:
    with pytest.raises(
        DataError, match=r"unknown task 'factoidQA': did you mean 'factoidqa'\?; tasks: .*factoidqa"
    ):
        registry.create("factoidQA")
    with pytest.raises(DataError, match=r"unknown task 'zzz'; tasks: .*factoidqa"):
        registry.create("zzz")


def test_each_task_is_named_like_its_module() -> None:
    for name in registry.names():
        defaults = compose_task(name)
        task = registry.create(name, defaults)
        assert task.name == name == task.config.name
        assert type(task).__module__ == f"tasks.{name}"
        assert task.version >= 1
        assert importlib.import_module(f"tasks.{name}").__doc__


@pytest.mark.parametrize("name", registry.names())
def test_yaml_defaults_equal_the_dataclass(name: str) -> None:
    values = compose_task(name)
    assert values == asdict(registry.create(name).config)
    assert set(values) == set(asdict(registry.create(name, values).config))


@pytest.mark.parametrize("name", YAMLS)
def test_each_yaml_makes_a_task(name: str) -> None:
    values = compose_task(name)
    if values["source"] == "file" and values["path"] is None:
        with pytest.raises(DataError, match=r"needs task\.path"):
            registry.create(values["name"], values)
        values["path"] = "questions.json"
    assert registry.create(values["name"], values).source_label.startswith(values["source"])


@pytest.mark.parametrize("name", YAMLS)
def test_each_yaml_can_be_pointed_at_a_file(name: str) -> None:
    values = compose_task(name, "task.source=file", "task.path=mine.jsonl")
    assert registry.create(values["name"], values).source_label == "file:mine.jsonl"


def test_the_dataclass_is_a_structured_config() -> None:
    structured = OmegaConf.structured(FactoidQAConfig)
    assert OmegaConf.to_container(structured) == asdict(FactoidQAConfig())


def test_tasks_import_neither_other_rooms_nor_heavy_packages() -> None:
    code = (
        "import sys, pkgutil, importlib, tasks\n"
        "for found in pkgutil.walk_packages(tasks.__path__, 'tasks.'): importlib.import_module(found.name)\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "tasks" in loaded
    assert not loaded & {
        "models",
        "methods",
        "runners",
        "analysis",
        "torch",
        "transformers",
        "datasets",
        "hydra",
    }
