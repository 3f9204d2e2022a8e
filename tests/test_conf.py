"""Every configuration composes into a job that is checked, and says the defaults that the code has."""

import re
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from methods.shared import registry as methods
from models.loading import EngineConfig, ModelConfig
from runners.configure import GROUPS, job_from
from runners.launchers import Joblib, Slurm
from runners.search import SearchConfig
from runners.settings import LoggerConfig, RunnerConfig, Settings
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


STUDIES = sorted(file for group in ("experiment", "debug") for file in (CONF / group).rglob("*.yaml"))


def chosen(study):
    """What chooses a study on the command line: +experiment=demo."""
    return f"+{study.parent.relative_to(CONF)}={study.stem}"


def overrides_of(study):
    """The command line of every job that a study becomes, by Hydra's own sweeper."""
    sweep = OmegaConf.select(OmegaConf.load(study), "hydra.sweeper.params") or {}
    arguments = [chosen(study), *(f"{key}={value}" for key, value in sweep.items())]
    overrides = OverridesParser.create().parse_overrides(arguments)
    (batch,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return batch


@cache
def jobs(study):
    """Every job that a study becomes."""
    return [job(*arguments) for arguments in overrides_of(study)]


@pytest.mark.parametrize("study", STUDIES, ids=chosen)
def test_every_study_composes(study):
    command = study.read_text().splitlines()[1]
    assert command.startswith("# python run.py ") and chosen(study) in command.split(), (
        "a study begins with its command"
    )
    first, *rest = overrides_of(study)
    # All of them in the slow tests.
    assert all(job(*arguments) for arguments in [first, *rest[-1:]])


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES, ids=chosen)
def test_every_job_of_a_study_composes(study):
    assert jobs(study)


def experiment(name):
    return jobs(CONF / f"experiment/{name}.yaml")


def asked(jobs):
    return sorted((one.task_name, one.method_name, one.method.target_skip) for one in jobs)


@pytest.mark.slow
def test_the_pareto_study():
    skips = (0.1, 0.2, 0.3, 0.4)
    lossy = {name for name in methods.names() if not methods.method_class(name).lossless}
    published = {"early_exit", "ffnskip", "shortgpt", "skipdecode", "unified"}
    controls = {"random_ffn", "static_ffn", "random_layer", "drop_last"}
    parts = ("pareto_cpu", "pareto_cpu_shortgpt", "pareto_cpu_early_exit")
    on_questions = [one for part in parts for one in experiment(part)]
    # A new method need not be in it, which would change what was published.
    studied = {one.method_name for one in on_questions}
    assert published | controls <= studied <= lossy
    assert asked(on_questions) == sorted(("factoidqa", name, skip) for name in studied for skip in skips)
    elsewhere = [*experiment("pareto_cpu_tasks"), *experiment("pareto_cpu_tasks_early_exit")]
    assert asked(elsewhere) == sorted(
        (task, name, 0.25) for task in ("mtbench", "summarization") for name in published
    )
    lossless = experiment("pareto_cpu_lossless")
    assert {one.method_name for one in lossless} == {"prompt_lookup", "swift"} and len(lossless) == 6
    full = {one.task_name: one for one in experiment("pareto_cpu_full")}
    assert {(one.method_name, one.runner.baseline) for one in full.values()} == {("full", "none")}
    for one in [*on_questions, *elsewhere, *lossless]:
        baseline = full[one.task_name]
        # A reused baseline wants a replay, which tells how far the machine has drifted since.
        drafting = one.method_name in ("prompt_lookup", "swift")
        expected = ("paired", False) if drafting else ("reuse", True)
        assert (one.runner.baseline, one.runner.replay) == expected
        assert (one.task, one.model, one.engine, one.settings) == (
            baseline.task,
            baseline.model,
            baseline.engine,
            baseline.settings,
        )
    assert full["factoidqa"].settings.limit == 100
    assert full["mtbench"].settings.limit is None and full["summarization"].settings.limit is None


def test_make_runs_every_part_of_the_pareto_study():
    said = (CONF.parent / "Makefile").read_text()
    for name in names("experiment"):
        if name.startswith("pareto_"):
            assert re.search(rf"[= ]{name}[ ;]", said), f"make pareto leaves out {name}"


def test_the_smoke_study_is_small():
    found = experiment("pareto_smoke")
    assert len(found) == 8 and {one.settings.limit for one in found} == {12}


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
        ("hydra/launcher/joblib", Joblib, ["_target_"]),
        ("hydra/launcher/slurm", Slurm, ["_target_"]),
        ("hydra/sweeper/optuna", SearchConfig, ["_target_", "params"]),
    ],
)
def test_other_defaults(file, cls, apart):
    assert_same(CONF / f"{file}.yaml", cls, apart)
