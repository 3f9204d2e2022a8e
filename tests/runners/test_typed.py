"""A text on the command line is taken as it is typed, whatever else it could be read as."""

import pytest
from bench import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from runners.commands import rescore_command
from runners.configure import job_from
from runners.errors import RunError
from runners.study import Study
from runners.typed import as_typed, text_keys
from tasks.errors import DataError

LOOKS_LIKE_MORE = (
    *("2024_01", "12e4567", "1_000", "3.10", "1e3", "1e5", ".5", "5.", "007", "0x10", "+5", "-1", "0b1"),
    *("inf", "nan", "true", "False", "on", "2024-01-01", "12:30:00", "[a]", "{a: 1}", "v=2", "it's", "a (b)"),
    *("test[:10%]", "int(3)", "back\\slash", "a:b", "ünïcödé", "-", "1.0.0", "1_0.5e-3"),
)


def composed(*overrides):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", as_typed(["model=hub", "model.path=x", "logger=none", *overrides]))


@pytest.mark.parametrize("word", LOOKS_LIKE_MORE)
def test_a_word_is_taken_as_typed(word):
    keys = ("model.path", "model.name", "model.revision", "results_dir", "logger.group", "judge.model")
    job = job_from(composed(*(f"{key}={word}" for key in keys)))
    model = job.model
    assert [model.path, model.name, model.revision, job.settings.results_dir, job.logger.group] == [word] * 5
    assert job.judge.model == word
    task = ["task.source=hub", "task.dataset=d", f"task.split={word}", f"++task.dataset_config={word}"]
    found = job_from(composed(*task)).task
    assert (found.split, found.dataset_config) == (word, word)


def test_the_name_of_a_model_is_that_of_its_folder():
    assert job_from(composed("model.path=runs/2024_01")).model.name == "2024_01"
    assert job_from(composed("model.path=1_000")).model.name == "1_000"


def test_what_is_no_text_stays_what_it_is():
    job = job_from(composed("limit=1_0", "model.revision=null", "temperature=1e-3", "model.name='1_0'"))
    assert job.settings.limit == 10 and job.settings.temperature == 1e-3
    assert job.model.revision is None and job.model.name == "1_0"
    assert job_from(composed("results_dir=${model.path}")).settings.results_dir == "x"
    assert as_typed(["~model.revision", "limit", "method=full", "-m"]) == [
        "~model.revision",
        "limit",
        "method=full",
        "-m",
    ]


def test_a_key_that_also_holds_numbers_is_left_to_hydra():
    assert not text_keys() & {"method.warmup_tokens", "method.cold_start", "method.threshold", "limit"}
    assert {"model.path", "task.path", "method.preset", "hydra.launcher.account"} <= text_keys()


@pytest.fixture
def refused_lines(command, bench):
    def check(*arguments):
        status, _, err = command(arguments[0], *bench.overrides(*arguments[1:]))
        assert status == 2
        return err

    return check


def test_each_word_of_a_sweep(command, bench, monkeypatch):
    monkeypatch.setattr("runners.launchers.run_here", lambda *_: None)
    assert command("-m", *bench.overrides(), "model.name=1_0,2_0,x")[0] == 0
    (jobs,) = (bench.results / ".sweep").glob("*/jobs.txt")
    named = [word for job in Study(jobs.parent).jobs for word in job if word.startswith("model.name")]
    assert named == ["model.name='1_0'", "model.name='2_0'", "model.name=x"]


def test_what_a_sweep_reads_as_a_number_is_to_be_quoted(refused_lines):
    said = refused_lines("-m", "model.name=choice(1_0,2_0)")
    assert "error: model.name=10 is read as a number, not as a text; quote it" in said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("model: {revision: 12e4567}", "model.revision=inf is read as a number"),
        ("model: {name: 1_000}", "model.name=1000 is read as a number"),
        ("logger: {group: true}", "logger.group=True is read as a truth value"),
        ("results_dir: 2024_11", "results_dir=202411 is read as a number"),
        ("judge: {model: [a]}", r"judge.model=\['a'\] is read as a list"),
        ("method: {similarity: 0.5}", "method.similarity=0.5 is read as a number"),
        ("task: {dataset_config: 1e3}", r"task.dataset_config is 1000.0; it must be str or null; quote it"),
    ],
)
def test_a_number_of_a_file_is_no_text(written, said):
    # As Hydra reads the file of a study.
    with pytest.raises((RunError, DataError), match=said):
        job_from(OmegaConf.merge(composed(), OmegaConf.create(written)))


def test_the_options_of_rescore(bench, monkeypatch):
    seen = []
    monkeypatch.setattr("runners.commands.rescore", lambda folder, options: seen.append(options) or {})
    rescore_command(["results/x", "task.nli=2024_01", "task.names=null", "task.scoring=1e3"])
    assert seen == [{"nli": "2024_01", "names": None, "scoring": "1e3"}]
    with pytest.raises(RunError, match="cannot be read"):
        rescore_command(["results/x", "task.shots=[1"])


def test_a_model_by_its_id_or_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for word in ("Qwen/Qwen2.5-0.5B-Instruct", "./there", "mine", "x.gguf", "a/b,c/d"):
        assert as_typed([f"model={word}"]) == ["model=hub", f"model.path={word}"]
    # Prepared ones, what is no model, and what names its path itself.
    for word in ("smollm2-135m", "hub", "nothing", "a/b,smollm2-135m", ""):
        assert as_typed([f"model={word}"]) == [f"model={word}"]
    assert as_typed(["model=a/b", "model.path=c"]) == ["model=a/b", "model.path=c"]


def test_a_path_alone_does_not_keep_the_name_of_the_model_that_it_replaces(bench):
    def name(*overrides):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return job_from(compose("config", list(overrides))).model.name

    assert name() == "smollm2-135m"
    assert name(f"model.path={bench.model}") == bench.model.name
    assert name(f"model.path={bench.model}", "model.name=other") == "other"
