"""Random command lines and configurations: each is a checked job, or one line and status 2."""

import re
from functools import cache

import pytest
from bench import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fuzzing import REPRODUCIBLE, often
from runners import launch
from runners.configure import GROUPS, job_from
from runners.errors import RunError
from runners.settings import Job
from runners.user_errors import USER_ERRORS, one_line

CONF = ROOT / "conf"
MODEL = ("model=hub", "model.path=x", "logger=none")
TASKS = ("factoidqa", "mtbench", "summarization")
METHODS = sorted(file.stem for file in (CONF / "method").glob("*.yaml"))
ODD = """null ??? -1 0 1 2.5 nan -inf 1e999 1e-320 true maybe '' ' ' [] {} [1,[2]] {a:{b:1}} [ { ' $ ${
${limit} ${nothing} ${oc.env:HOME} ${oc.env:NOTHING} ${oc.decode:'['} ${hydra:job.name} 99999999999999999999
0x10 1_000
../../x /dev/null ~nobody/x '\x1b[31m' '\u202e' '\ud800' '\u2028' a=b full,ffnskip range(1,1) glob(*) int(x)
choice(1) extend_list(1) _target_ os.system""".split()
values = st.one_of(
    st.sampled_from(ODD),
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from("9x[{a:").flatmap(lambda sign: st.integers(50, 5000).map(lambda times: sign * times)),
)


@cache
def keys():
    """Every key of every configuration."""
    found = {str(key) for key in OmegaConf.load(CONF / "config.yaml")} - {"defaults", "hydra"}
    for group in GROUPS:
        for file in (CONF / group).glob("*.yaml"):
            found |= {f"{group}.{key}" for key in OmegaConf.load(file) if key != "defaults"}
    return sorted(found)


@cache
def composed(method):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", [f"method={method}", *MODEL])


def checked(make):
    """What `make` returns is a job, or what it raises one readable line."""
    try:
        assert isinstance(make(), Job)
    except USER_ERRORS as error:
        line = one_line(error, CONF)
        assert line and line.isprintable() and len(line) < 1000


@often(500)
@given(st.sampled_from(METHODS), st.data(), values)
def test_random_values_of_real_keys(method, data, value):
    config = composed(method).copy()
    OmegaConf.set_struct(config, False)
    key = data.draw(st.sampled_from(keys()))

    def make():
        try:
            value_given = OverridesParser.create().parse_override(f"{key}={value}").value()
        except ValueError:
            value_given = value
        OmegaConf.update(config, key, value_given)
        return job_from(config)

    checked(make)


@pytest.fixture
def told(command, monkeypatch, tmp_path):
    """`run.py` up to the checked job, in a folder of its own: (status, stderr, jobs)."""
    jobs = []

    def stop(job):
        jobs.append(job)
        raise RunError("checked")

    def stop_each(composed, *_):
        for one in composed:
            stop(job_from(one.config.copy()))

    monkeypatch.setattr(launch, "execute", stop)
    monkeypatch.setattr(launch, "_study", stop_each)
    monkeypatch.chdir(tmp_path)

    def tell(*arguments):
        GlobalHydra.instance().clear()
        jobs.clear()
        status, _, err = command(*arguments)
        return status, err, list(jobs)

    return tell


def check_told(told, arguments):
    status, err, jobs = told(*arguments)
    assert status == 2
    assert err.startswith("error: ") and err.endswith("\n") and len(err) < 1000
    assert err[:-1].isprintable()
    assert jobs or err != "error: checked\n"


overrides = st.tuples(
    st.sampled_from(["", "", "", "", "+", "++", "~"]),
    st.one_of(
        st.sampled_from(keys()),
        st.sampled_from(
            [*GROUPS, "+experiment", "hydra", "hydra.run.dir", "hydra/launcher", "task@x", "a" * 300]
        ),
        st.text(max_size=10).filter(lambda text: not text.startswith("-")),
    ),
    values,
).map(lambda parts: f"{parts[0]}{parts[1]}={parts[2]}".replace("\0", ""))


@often(40)
@given(overrides)
def test_random_command_lines(told, override):
    check_told(told, [*MODEL, override])


@pytest.mark.slow
@settings(REPRODUCIBLE, max_examples=1000)
@given(st.lists(overrides, min_size=1, max_size=3), st.booleans())
def test_a_thousand_random_command_lines(told, some, sweep):
    check_told(told, [*(["-m"] if sweep else []), *MODEL, *some])


# What would ask a network, take long, or write elsewhere.
ELSEWHERE = re.compile(
    r"model\.|logger\.|judge\.|results_dir|limit|max_new_tokens|threads|batch_size|device|dtype|engine\.|"
    r"task\.(source|dataset|path|nli|name|calibration)|runner\.(baseline|calibration_prompts)|method\.cache"
)


@pytest.mark.slow
@settings(REPRODUCIBLE, max_examples=500)
@given(st.sampled_from(METHODS), st.sampled_from(TASKS), st.data(), values)
def test_five_hundred_random_runs(bench, command, method, task, data, value):
    """Really run, each on one example: finished, or one line and status 2."""
    GlobalHydra.instance().clear()
    key = data.draw(st.sampled_from([key for key in keys() if not ELSEWHERE.match(key)]))
    usual = bench.overrides("limit=1", "max_new_tokens=3", f"method={method}", f"task={task}")
    status, out, err = command(*usual, f"{key}={value}".replace("\0", ""))
    if status == 2:
        assert err.startswith("error: ") and err.count("\n") == 1 and err[:-1].isprintable()
    else:
        assert status == 0 and "Results (samples.parquet" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", *MODEL, "hydra.launcher._target_=os.system"], "names code to run"),
        (
            [*MODEL, "+hydra.callbacks.a._target_=os.mkdir"],
            "names code to run",
        ),
        ([*MODEL, "+task={_target_:os.getcwd}"], "names code to run"),
        ([*MODEL, "task={'_target_' : os.getcwd}"], "names code to run"),
        (["--config-dir", "conf", *MODEL, "+mine=1"], "configurations are read from conf/ alone"),
        ([*MODEL, "hydra.searchpath=[file:///tmp]"], "configurations are read from conf/ alone"),
        (["--experimental-rerun", "config.pickle"], "reads a pickle"),
        (["--resolve", *MODEL], "--resolve goes with --cfg job"),
        ([*MODEL, "=1"], "cannot read the argument '=1'"),
        (["-m", *MODEL, "a" * 300 + "=1,2"], "cannot read the argument"),
        ([*MODEL, "hydra.run.dir=/proc/nothing"], "the command line cannot be composed"),
        ([*MODEL, "seed=" + "9" * 5000], "the command line cannot be composed"),
        ([*MODEL, "hydra=null"], "of Hydra's own keys only"),
        (
            [*MODEL, "++hydra.job_logging.handlers={x:{class:logging.FileHandler,filename:x,mode:w}}"],
            "of Hydra's own keys only",
        ),
        (["-m", *MODEL, "+c=_target_", "hydra.launcher.n_jobs=${c}"], "is a plain value"),
        (["-m", *MODEL, "hydra.sweeper.params={++hydra.callbacks.a:1}"], "of Hydra's own keys only"),
        (["-m", *MODEL, "+hydra.sweeper.params.++hydra.callbacks.a=1"], "of Hydra's own keys only"),
        (["-m", *MODEL, "hydra.launcher={n_jobs:2}"], "of Hydra's own keys only"),
        ([*MODEL, "hydra.output_subdir=.h"], "of Hydra's own keys only"),
        ([*MODEL, "device='\x1b[2J'", "limit='\x1b[31m'"], "\\x1b[31m"),
    ],
)
def test_what_the_attacks_found(told, tmp_path, arguments, said):
    before = list(tmp_path.iterdir())
    status, err, jobs = told(*arguments)
    assert (status, err.count("\n"), jobs) == (2, 1, [])
    assert said in err and err[:-1].isprintable() and len(err) < 1000
    assert list(tmp_path.iterdir()) == before


def test_the_word_target_in_a_path_is_no_code(told):
    assert told(*MODEL, "results_dir=/data/for_target_out/x")[1] == "error: checked\n"


def test_a_sweep_of_nothing(told):
    assert told("-m", *MODEL, "seed=range(1,1)")[:2] == (
        2,
        "error: nothing to run: a range or a glob of the command line holds no value\n",
    )


def test_what_hydra_only_shows_is_no_error(told):
    assert told("--cfg", "job", *MODEL)[:2] == (0, "")


def test_a_bug_while_a_run_goes_on_keeps_its_traceback(told, monkeypatch):
    def broken(job):
        raise ValueError("a bug")

    monkeypatch.setattr(launch, "execute", broken)
    with pytest.raises(ValueError, match="a bug"):
        told(*MODEL)


@pytest.mark.parametrize("name", ["results_dir", "model.path", "task.path", "judge.prompts"])
@pytest.mark.parametrize("path", ["d" * 5000, "d/" * 3000, "~nobody/x"])
def test_paths_that_no_file_system_has(refused_path, name, path):
    line = refused_path(name, path)
    assert "\n" not in line and len(line) < 1000


@pytest.fixture
def refused_path(bench, monkeypatch):
    """The line that a run with an impossible path ends in; every path is looked at, so it runs for real."""
    monkeypatch.chdir(bench.folder)
    extra = {
        "task.path": ["task.source=file"],
        "judge.prompts": ["judge=openai", "judge.model=x", "judge.base_url=http://localhost:1/v1"],
    }

    def refuse(name, path):
        try:
            bench.run(*extra.get(name, []), f"{name}={path}", "limit=1", "runner.baseline=none")
        except USER_ERRORS as error:
            return one_line(error, CONF)
        assert name == "results_dir" and path.startswith("~"), "only a folder of this odd name can be made"
        return "made"

    return refuse
