"""What a hostile file, model, server or argument must not be able to do."""

import ast
import contextlib
import json
import os
import re
import shutil

import pytest
from bench import ROOT
from hydra import compose, initialize_config_dir

from models.errors import ModelError
from runners.configure import job_from
from runners.errors import RunError
from runners.notices import printable
from runners.pair import Pair
from runners.storage import RunFolder
from runners.user_errors import USER_ERRORS, one_line
from tasks.errors import DataError
from tasks.judges.config import JudgeConfig

SECRET = "sk-planted-4711-secret"
ROOMS = ("models", "methods", "tasks", "runners", "analysis")
CALLS = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def test_no_source_evaluates_text_or_reads_pickles():
    rooms = (*ROOMS, "hydra_plugins", "scripts")
    files = [ROOT / "run.py", *(file for room in rooms for file in (ROOT / room).rglob("*.py"))]
    assert len(files) > 100
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            where = f"{file.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                attribute = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                assert name not in CALLS, where
                assert not (attribute == "load" and ast.unparse(node.func) in ("torch.load", "yaml.load")), (
                    where
                )
                assert attribute not in ("unsafe_load", "full_load", "instantiate"), where
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.partition(".")[0] for alias in node.names}
                assert not MODULES & (names | {str(getattr(node, "module", "")).partition(".")[0]}), where


def test_code_that_comes_with_a_model_does_not_run(bench, tmp_path):
    folder, mark = tmp_path / "remote", tmp_path / "ran"
    shutil.copytree(bench.model, folder)
    bench.model = folder
    # Loaded once as it is: what changes afterwards must not be answered by what is still in memory.
    bench.run("limit=1", "runner.baseline=none")
    config = json.loads((folder / "config.json").read_text())
    code = {"auto_map": {"AutoConfig": "odd.Odd", "AutoModelForCausalLM": "odd.Odd"}, "model_type": "odd"}
    (folder / "odd.py").write_text(f"open({str(mark)!r}, 'w')\n")
    (folder / "config.json").write_text(json.dumps({**config, **code}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        bench.run("limit=1", "runner.baseline=none")
    assert not mark.exists()


def test_code_that_comes_with_a_tokenizer_does_not_run(bench, tmp_path):
    folder, mark = tmp_path / "remote", tmp_path / "ran"
    shutil.copytree(bench.model, folder)
    bench.model = folder
    path = folder / "tokenizer_config.json"
    code = {"auto_map": {"AutoTokenizer": [None, "odd.Odd"]}, "tokenizer_class": "Odd"}
    path.write_text(json.dumps(json.loads(path.read_text()) | code))
    (folder / "odd.py").write_text(f"open({str(mark)!r}, 'w')\n")
    with contextlib.suppress(ModelError):
        bench.run("limit=1", "runner.baseline=none")
    assert not mark.exists()


@pytest.mark.parametrize(
    "override",
    [
        f"logger.project={SECRET}",
        f"logger.group=x-{SECRET}-y",
        "logger.group=${oc.env:PLANTED_API_KEY}",
        f"judge.key_env={SECRET}",
        f"judge.base_url=https://me:{SECRET}@host/v1",
        f"task.path=/data/{SECRET}/x.jsonl",
        f"results_dir=/tmp/{SECRET}",
    ],
)
def test_a_key_in_a_setting_is_refused_and_not_repeated(bench, monkeypatch, override):
    monkeypatch.setenv("PLANTED_API_KEY", SECRET)
    with pytest.raises(RunError, match="holds a key or password of the environment") as refusal:
        bench.run(override)
    assert SECRET not in one_line(refusal.value, ROOT / "conf")
    assert not bench.results.exists()


@pytest.mark.parametrize("name", ["HF_TOKEN", "CLIENT_SECRET_1", "db_password", "OPENAI_API_KEY"])
def test_the_environment_is_asked_for_every_kind_of_secret(bench, monkeypatch, name):
    monkeypatch.setenv(name, SECRET)
    with pytest.raises(RunError, match="holds a key or password of the environment"):
        bench.job(f"logger.group={SECRET}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", f"logger.project={SECRET},ok"],
        [
            *("-m", "hydra/sweeper=optuna", f"logger.group={SECRET}"),
            *("method=random_ffn", "method.share=interval(0,1)"),
        ],
        ["judge", "results/x", "judge=openai", "judge.model=x", f"judge.base_url=https://host/{SECRET}"],
        ["rescore", "results/x", f"task.nli={SECRET}"],
    ],
    ids=["sweep", "search", "judge", "rescore"],
)
def test_a_key_in_any_command_is_written_nowhere(bench, monkeypatch, command, arguments):
    monkeypatch.setenv("PLANTED_API_KEY", SECRET)
    place = [] if arguments[0] in ("judge", "rescore") else [f"hydra.sweep.dir={bench.results}/.sweep"]
    status, out, err = command(*arguments, *place)
    assert status == 2 and "a key or password of the environment" in err
    assert SECRET not in out + err and not bench.results.exists()


@pytest.mark.parametrize(
    "config",
    [
        {"key_env": "hf_abcdefghijklmnop"},
        {"key_env": "gsk_abcdef012345"},
        {"base_url": "me:sk-abcdefgh@host/v1"},
        {"base_url": "https://host/v1?key=sk-abcdefgh"},
        {"base_url": "https://host/v1#sk-abcdefgh"},
    ],
)
def test_what_may_be_a_key_is_not_repeated(config):
    with pytest.raises(DataError) as refusal:
        JudgeConfig("openai", "x", **config)
    (value,) = config.values()
    assert value not in str(refusal.value) and "sk-" not in str(refusal.value)


def test_a_key_that_the_environment_lacks_is_refused_where_a_name_belongs():
    for config in ({"key_env": SECRET}, {"base_url": f"https://user:{SECRET}@host/v1"}):
        with pytest.raises(DataError) as refusal:
            JudgeConfig("openai", "x", **config)
        assert SECRET not in str(refusal.value)


def test_the_environments_keys_are_in_no_file_and_no_line(bench, monkeypatch, capfd):
    for name in ("OPENAI_API_KEY", "HF_TOKEN", "DB_PASSWORD"):
        monkeypatch.setenv(name, SECRET)
    # W&B refuses one of another form.
    wandb_key = "4711abcd" * 5
    monkeypatch.setenv("WANDB_API_KEY", wandb_key)
    monkeypatch.setenv("WANDB_MODE", "offline")
    finished = bench.run("limit=2", "logger=wandb", "max_new_tokens=4")
    files = [path for path in finished.folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    said = capfd.readouterr()
    for secret in (SECRET, wandb_key):
        assert [path for path in files if secret.encode() in path.read_bytes()] == []
        assert secret not in said.out + said.err


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc", "..", ".", "", "a\0b", "a\nb", "-x", "x" * 300])
def test_run_ids_stay_in_the_results_folder(tmp_path, name):
    with pytest.raises(RunError, match="cannot name a folder"):
        RunFolder(tmp_path, name)


@pytest.mark.parametrize("name", ["../../outside", "/etc/x", "a/../..", "..", "a\x1b[2Jb", "x" * 500])
def test_a_models_name_cannot_lead_out_of_the_results_folder(bench, name):
    try:
        folder = bench.run("limit=1", "runner.baseline=none", f"model.name='{name}'").folder
    except USER_ERRORS:
        return
    assert folder.resolve().parent == bench.results.resolve()
    assert folder.name.isprintable() and not (bench.folder / "outside").exists()


def test_a_key_goes_to_no_other_machine_in_the_clear():
    with pytest.raises(DataError, match="plain HTTP"):
        JudgeConfig("openai", "x", base_url="http://judge.example/v1")
    for tricky in ("http://localhost.evil.example/v1", "http://127.0.0.1.evil.example/", "http://0x7f.1/v1"):
        with pytest.raises(DataError, match="plain HTTP"):
            JudgeConfig("openai", "x", base_url=tricky)
    assert JudgeConfig("openai", "x", base_url="http://judge.example/v1", insecure=True).insecure


def test_control_characters_of_an_answer_stay_off_the_screen(bench, monkeypatch, capfd, command):
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil"
    ask = Pair.rows

    def speaks(pair, examples, number):
        return [row | {"output_text": hostile} for row in ask(pair, examples, number)]

    monkeypatch.setattr(Pair, "rows", speaks)
    status, out, err = command(
        *bench.overrides("limit=2", "max_new_tokens=4", f"model.name='{hostile[-6:]}'")
    )
    assert status == 0 and not set(out + err) & set("\x1b\x07\x9b\u202e")
    assert printable(hostile).isprintable()


def test_control_characters_in_data_stay_out_of_errors(bench, command, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"question": "a\\u001b[2J", "answers": ["b"], "id": "q\\u001b[31m\\u202e"}\n' * 2)
    strict = "task.on_bad_record=error"
    status, _, err = command(*bench.overrides("task.source=file", f"task.path={path}", strict))
    assert status == 2 and err[:-1].isprintable()


def test_no_configuration_of_ours_names_code_to_run():
    files = list((ROOT / "conf").rglob("*.yaml"))
    named = {re.search(r"^_target_: ([\w.]+)", file.read_text(), re.MULTILINE) for file in files}
    found = {match[1] for match in named if match}
    # Launchers and sweepers are Hydra's to make; these only keep what they are told.
    plugins = "hydra_plugins.skipbench_"
    assert found == {f"{plugins}launchers.LaterLauncher", f"{plugins}search.LaterSweeper"} and len(files) > 20


def test_values_that_look_like_code_stay_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", ["model=hub", 'model.path=\'__import__("os").mkdir("x")\'', "logger=none"])
    assert job_from(config).model.path.startswith("__import__")
    assert os.listdir(tmp_path) == []
