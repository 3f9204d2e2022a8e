"""Every configuration composes into a job that is checked, and says the defaults that the code has."""

import itertools
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from methods.shared import registry as methods
from models.loading import EngineConfig, ModelConfig
from runners.configure import GROUPS, job_from
from runners.settings import LoggerConfig, RunnerConfig, Settings
from runners.slurm import SlurmConfig
from tasks import registry as tasks
from tasks.judges.config import JudgeConfig

CONF = Path(__file__).resolve().parents[1] / "conf"
# What a configuration leaves to the user.
NEEDS = {
    **{f"judge={name}": ["judge.model=x"] for name in ("openai", "hf")},
    "model=hub": ["model.path=some/model"],
    "task=freebaseqa": ["task.path=FreebaseQA-eval.json"],
}


def job(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return job_from(compose("config", list(overrides)))


def names(group):
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def choices():
    return [f"{group}={name}" for group in GROUPS for name in names(group)]


@pytest.mark.parametrize("choice", choices())
def test_every_choice_composes(choice):
    group, name = choice.split("=")
    composed = job(choice, *NEEDS.get(choice, []))
    if group == "method":
        assert composed.method_name == name
    elif choice != "model=hub" and group in ("model", "logger"):
        assert getattr(composed, group).name == name


@pytest.mark.parametrize("name", names("experiment") + [f"debug/{name}" for name in names("debug")])
def test_every_study_composes(name):
    group, _, debug = name.rpartition("/")
    text = (CONF / f"{group or 'experiment'}/{debug}.yaml").read_text()
    assert "python run.py" in text, "a study begins with its command"
    study = f"+{group or 'experiment'}={debug}"
    sweep = OmegaConf.select(
        OmegaConf.load(CONF / f"{group or 'experiment'}/{debug}.yaml"), "hydra.sweeper.params"
    )
    swept = [[f"{key}={value}" for value in str(values).split(",")] for key, values in (sweep or {}).items()]
    for overrides in itertools.product(*swept):
        job(study, *overrides)


def test_the_default_is_the_main_job():
    default = job()
    assert (default.method_name, default.task_name, default.model.name) == (
        "ffnskip",
        "factoidqa",
        "smollm2-135m",
    )
    assert (default.logger.name, default.logger.mode, default.runner.baseline) == (
        "wandb",
        "offline",
        "paired",
    )
    assert (default.settings.batch_size, default.settings.sampler.greedy) == (1, True)


def test_the_name_of_a_hub_model_is_the_last_part_of_its_path():
    assert job("model=hub", "model.path=some/model").model.name == "model"
    assert job("model=hub", "model.path=folder/model/").model.name == "model"
    assert job("model=hub", "model.path=some/model", "model.name=mine").model.name == "mine"


def defaults(cls):
    """The defaults of a dataclass, by name; without those fields that have none."""
    found = {}
    for field in fields(cls):
        if field.default is not MISSING:
            found[field.name] = field.default
        elif field.default_factory is not MISSING:
            found[field.name] = field.default_factory()
    return found


def said(path):
    """What a configuration file says, without what it is called and builds on."""
    return {
        key: value for key, value in OmegaConf.to_container(OmegaConf.load(path)).items() if key != "defaults"
    }


def assert_same(file, cls, apart=()):
    """The same keys and values; `1.0` and `1` differ, because the type of a share or a layer says which."""
    yaml = {key: value for key, value in said(file).items() if key not in apart}
    code = {key: value for key, value in defaults(cls).items() if key not in apart}
    assert yaml == code
    assert {key: type(value) for key, value in yaml.items()} == {
        key: type(value) for key, value in code.items()
    }


@pytest.mark.parametrize("name", names("method"))
def test_method_defaults(name):
    assert_same(CONF / "method" / f"{name}.yaml", methods.method_class(name).Params, apart=["name"])


def test_every_method_has_a_configuration():
    assert names("method") == methods.names()


@pytest.mark.parametrize("name", tasks.names())
def test_task_defaults(name):
    assert_same(CONF / "task" / f"{name}.yaml", type(tasks.create(name)).Config)


def test_every_configuration_of_a_task_names_one():
    for name in names("task"):
        assert job(f"task={name}", *NEEDS.get(f"task={name}", [])).task_name in tasks.names()


@pytest.mark.parametrize(
    ("file", "cls", "apart"),
    [
        ("engine/default", EngineConfig, []),
        ("runner/default", RunnerConfig, []),
        ("logger/wandb", LoggerConfig, []),
        ("judge/none", JudgeConfig, []),
        ("model/smollm2-135m", ModelConfig, ["name", "path"]),
        ("model/hub", ModelConfig, ["name", "path"]),
        ("config", Settings, ["hydra"]),
        ("hydra/launcher/slurm", SlurmConfig, ["_target_"]),
    ],
)
def test_other_defaults(file, cls, apart):
    assert_same(CONF / f"{file}.yaml", cls, apart)
