"""What a user can get wrong: one line, status 2, and the results folder stays as it was."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from bench import ROOT
from gguf import GGUFWriter
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tiny_model import save_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from runners.configure import GROUPS
from runners.errors import RunError
from runners.storage import RunFolder
from runners.user_errors import USER_ERRORS, one_line


@pytest.fixture
def refused(command, bench):
    """Return a function that gives `run.py` a command, wants it refused, and returns the line it prints."""

    def check(*arguments):
        before = bench.files()
        status, out, err = command(*arguments)
        assert (status, out) == (2, "")
        assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n")
        assert bench.files() == before
        assert before or not bench.results.exists()
        return err.removeprefix("error: ").rstrip("\n")

    return check


# (the part of the command line that is wrong, what the line has to say)
UNKNOWN = [
    ("method=ffnskp", "unknown method 'ffnskp'; did you mean ffnskip?"),
    ("task=factoidq", "unknown task 'factoidq'; did you mean factoidqa?"),
    ("model=smollm2-135", "unknown model 'smollm2-135'; did you mean smollm2-135m?"),
    ("logger=tensorboard", "unknown logger 'tensorboard' (there are: none, wandb)"),
    ("+experiment=pareto_smok", "unknown experiment 'pareto_smok'; did you mean pareto_smoke?"),
    ("+experiment/pareto=mtbnch", "unknown experiment/pareto 'mtbnch'; did you mean mtbench?"),
    ("limt=3", "unknown key limt; did you mean limit?"),
    ("runner.basline=none", "unknown key runner.basline; did you mean runner.baseline?"),
    ("task.shot=4", "unknown key task.shot; did you mean task.shots?"),
    ("method=ffnskip method.treshold=1", "unknown key method.treshold; did you mean method.threshold?"),
    ("+method.foo=1", "unknown key method.foo"),
    ("method=ffnskip +method.treshold=1", "unknown key method.treshold; did you mean method.threshold?"),
    ("+foo=1", "unknown key foo"),
    ("++limt=1", "unknown key limt; did you mean limit?"),
    ("+task.shot=4", "did you mean 'shots'?"),
    ("~limt", "unknown key limt; did you mean limit?"),
    ("method=full method.share=0.5", "the method chosen has no key method.share; it belongs to method="),
    ("method.name=foo", "unknown method 'foo'"),
    ("task.name=foo", "unknown task 'foo'"),
]

TYPES = [
    ("limit=many", "limit='many' has the wrong type"),
    ("limit=2.5", "limit=2.5 has the wrong type"),
    ("limit=true", "limit=True has the wrong type"),
    ("seed=0.5", "seed=0.5 has the wrong type"),
    ("force=maybe", "force='maybe' has the wrong type"),
    ("force=3", "force=3 has the wrong type"),
    ("temperature=warm", "temperature='warm' has the wrong type"),
    ("device=null", "device=None has the wrong type"),
    ("runner.fixed_length=2", "runner.fixed_length=2 has the wrong type"),
    ("task.shots=2.5", "task.shots is 2.5; it must be int"),
    ("task.max_new_tokens=long", "task.max_new_tokens is 'long'; it must be int"),
    ("method=ffnskip method.target_skip=much", "method.target_skip='much' has the wrong type"),
    ("method=ffnskip method.warmup_tokens=2.5", "method.warmup_tokens=2.5 has the wrong type"),
    ("method=ffnskip method.cold_start=early", "method.cold_start='early' has the wrong type"),
    ("method=static_ffn method.count=1.5", "method.count=1.5 has the wrong type"),
]

RANGES = [
    *((f"{key}=0", f"{key}=0 is out of range") for key in ("limit", "batch_size", "threads")),
    *((f"{key}=-1", f"{key}=-1 is out of range") for key in ("limit", "seed", "max_new_tokens")),
    ("max_prompt_tokens=0", "max_prompt_tokens=0 is out of range"),
    ("limit=99999999999999999999", "is out of range"),
    ("seed=99999999999999999999", "is out of range"),
    ("threads=1000000", "threads=1000000 is out of range"),
    ("max_new_tokens=1024", "max_new_tokens=1024 leaves no room for a prompt: the context is 1024"),
    ("temperature=-1", "temperature=-1.0 is out of range"),
    ("temperature=nan", "temperature=nan is out of range"),
    ("temperature=inf", "temperature=inf is out of range"),
    ("top_k=0", "top_k=0 is out of range"),
    ("top_p=0", "top_p=0.0 is out of range"),
    ("top_p=1.5", "top_p=1.5 is out of range"),
    ("results_dir=''", "results_dir is empty"),
    ("dtype=float8", "dtype=float8 is unknown; choose auto, float32"),
    ("device=tpu", "device=tpu is unknown; choose auto, cpu, cuda"),
    ("device=cuda:99", "device=cuda:99 is not there"),
    ("on_overflow=cut", "on_overflow=cut is unknown; choose error, truncate"),
    ("engine.layer=fast", "engine.layer=fast is unknown"),
    ("logger.mode=loud", "logger.mode=loud is unknown; choose offline"),
    ("runner.baseline=old", "runner.baseline=old is unknown; choose paired, reuse, none"),
    ("runner.first_token=late", "runner.first_token=late is unknown"),
    ("runner.calibration_prompts=0", "runner.calibration_prompts=0 is out of range"),
    ("task.max_new_tokens=0", "task.max_new_tokens is 0; it must be at least 1"),
    ("task.prompt=poem", "task.prompt is 'poem'; it must be one of chat, fewshot"),
    ("task.source=moon", "task.source is 'moon'; it must be one of embedded, file, hub"),
    ("task.path=x.jsonl", "task.path is read only with task.source=file"),
    ("method=ffnskip method.threshold=nan", "threshold=nan is out of range: it must lie in [-1, 1]"),
    ("method=ffnskip method.threshold=-3", "threshold=-3.0 is out of range: it must lie in [-1, 1]"),
    ("method=early_exit method.threshold=-1", "threshold=-1.0 is out of range: it must be 0 or more"),
    ("method=early_exit method.tau=inf", "tau=inf is out of range: it must be at most 2147483647"),
    ("method=swift method.max_draft=9999999", "max_draft=9999999 is out of range: it must be at most 1024"),
    ("method=swift method.widths=[0,1,1,1]", "widths=[0, 1, 1, 1] is out of range: each must lie in [1, 64]"),
    ("method=ffnskip method.warmup_tokens=true", "method.warmup_tokens=True has the wrong type"),
    ("method=ffnskip method.cold_start=true", "method.cold_start=True has the wrong type"),
    ("method=static_ffn method.count=true", "method.count=True has the wrong type"),
    ("task.max_new_tokens=99999999999", "task.max_new_tokens is 99999999999; it must be at most"),
    ("task.shots=-1", "task.shots is -1; it must be at least 0"),
    ("judge.retries=99999999", "judge.retries=99999999 is out of range: from 0 to 1000"),
    ("judge.timeout_s=inf", "judge.timeout_s=inf is out of range: above 0 and at most 86400"),
    ("judge.price_in=inf", "judge.price_in=inf is out of range: it must be 0 or more, and finite"),
    ("judge.temperature=nan", "judge.temperature=nan is out of range"),
    ("top_k=-5", "top_k=-5 is out of range"),
    ("top_p=nan", "top_p=nan is out of range"),
    ("runner.replay_examples=-1", "runner.replay_examples=-1 is out of range"),
    ("method=ffnskip method.skip_span=0", "skip_span=0 is out of range"),
    ("method=ffnskip method.similarity=l2", "similarity=l2 is unknown; choose residual, raw"),
    ("method=ffnskip method.target_skip=1", "target_skip=1.0 is out of range"),
    ("method=ffnskip method.target_unit=joule", "target_unit=joule is unknown; choose weighted"),
    ("method=ffnskip method.warmup_tokens=-1", "warmup_tokens=-1 is out of range"),
    ("method=ffnskip method.warmup_tokens=soon", "warmup_tokens=soon is out of range"),
    ("method=ffnskip method.cold_start=1.5", "cold_start=1.5 is out of range"),
    (
        "method=ffnskip method.cold_start=3",
        "in a model of 3 layers: 0 <= cold_start < cold_end <= 3 must hold",
    ),
    ("method=random_ffn method.share=2", "share=2.0 is out of range"),
    ("method=static_ffn method.count=4", "count=4 is out of range: 3 FFNs are eligible"),
]

CHOICES = [
    ("method=null", "method=null chooses no method; python run.py --list"),
    ("method=", "method= chooses no method"),
    ("~method", "~method chooses no method"),
    ("~task=factoidqa", "~task=factoidqa chooses no task"),
    ("model=none", "model=none chooses no model"),
    ("experiment=demo", "a study is added; write +experiment=demo"),
    ("+experiment=", "+experiment= chooses no study"),
    ("+experiment=null", "+experiment=null chooses no study"),
    ("+method=full", "would be a second method; write method=full"),
    ("method=[full,ffnskip]", "chooses several at once; to run each, write -m method=..."),
    ("method=full,ffnskip", "Ambiguous value for argument 'method=full,ffnskip'"),
    ("limit", "cannot read the argument 'limit'; write key=value"),
    ("limit=[1", "cannot read the argument 'limit=[1'"),
    ("limit=${nothing}", "limit is missing"),
    ("+limit=3", "An item is already at 'limit'"),
]

PATHS = [
    ("model.path=/nowhere", "model.path=/nowhere does not exist"),
    ("model.path=nowhere.gguf", "model.path=nowhere.gguf does not exist"),
    ("model.path=", "model.path is empty"),
    ("model.path=package://nowhere/model.gguf", "package 'nowhere' is not installed"),
    ("model.path=package://pytest/model.gguf", "has no file 'model.gguf'"),
    ("task.source=file", "task.source=file needs task.path"),
    ("task.source=file task.path=/nowhere.jsonl", "/nowhere.jsonl: there is no such file"),
]


@pytest.mark.parametrize(
    ("wrong", "said"), [*CHOICES, *(some[0] for some in (UNKNOWN, TYPES, RANGES, PATHS))]
)
def test_one_line_says_what_is_wrong(refused, bench, wrong, said):
    assert said in refused(*bench.overrides(*wrong.split(" ")))


# The same without Hydra's own entry point, which composes everything twice.
@pytest.mark.parametrize(("wrong", "said"), [*UNKNOWN, *TYPES, *RANGES, *PATHS])
def test_values_are_checked(bench, wrong, said):
    with pytest.raises(USER_ERRORS) as refusal:
        bench.run(*wrong.split(" "))
    line = one_line(refusal.value, ROOT / "conf")
    assert said in line and "\n" not in line
    assert not bench.results.exists()


@pytest.mark.parametrize(
    "arguments", [["--fast"], ["method=full", "-m", "task=factoidqa"], ["--cfg", "all!"]]
)
def test_options_of_the_command_line_are_checked(refused, arguments):
    assert "options such as -m come before the keys" in refused(*arguments)


def test_model_without_a_path(refused):
    assert "model.path is missing" in refused("model=hub", "logger=none")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"question": "a?", "answers": ["b"]}', '{"question": "c?", '], "line 2: not valid JSON"),
        (
            ['{"question": "a?", "answers": ["b"]}', '{"question": "c?"}'],
            "line 2: field 'answers' is missing",
        ),
        (['{"text": "a?"}'], "line 1: no known format has these fields: text"),
        ([""], "the file is empty"),
    ],
)
def test_broken_data_file(refused, bench, tmp_path, lines, said):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(lines))
    strict = "task.on_bad_record=error"
    assert said in refused(*bench.overrides("task.source=file", f"task.path={path}", strict))


def test_unsupported_family(refused, bench, tmp_path):
    folder = tmp_path / "gpt2"
    save_tokenizer(folder)
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=16)).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))
    line = refused(*bench.overrides(f"model.path={folder}"))
    assert "model family 'mamba' is not supported; known families: " in line and "llama" in line


def test_folder_without_weights(refused, bench, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(bench.model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    assert "cannot be loaded" in refused(*bench.overrides(f"model.path={folder}"))


def test_truncated_gguf(refused, bench, tmp_path):
    path = tmp_path / "half.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_tensor("output.weight", np.zeros((64, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.write_bytes(path.read_bytes()[:-1000])
    assert "is truncated" in refused(*bench.overrides(f"model.path={path}"))
    path.write_bytes(b"not a model")
    assert "is not a GGUF file" in refused(*bench.overrides(f"model.path={path}"))


def test_results_folder_that_cannot_be_written(refused, command, bench):
    # A file in its place, because permissions do not stop an administrator.
    bench.results.write_text("mine")
    status, out, err = command(*bench.overrides())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "is not a folder; choose another results_dir" in err
    assert bench.results.read_text() == "mine"
    inside = bench.results / "deeper"
    assert "is not a folder" in command(*bench.overrides(f"results_dir={inside}"))[2]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
def test_results_where_even_root_cannot_write(bench, monkeypatch):
    """Told before a model is loaded and a skip is solved."""
    monkeypatch.setattr("runners.execute.load_model", None)
    with pytest.raises(RunError, match=r"results_dir=/proc/x: /proc cannot be written \(.*\)"):
        bench.run("results_dir=/proc/x")


def test_prompt_longer_than_the_context(refused, bench, tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"id": "long", "question": "why " * 500 + "?", "answers": ["b"]}))
    other = tmp_path / "calibration.jsonl"
    other.write_text(json.dumps({"question": "why?", "answers": ["b"]}))
    where = ["task.source=file", f"task.path={path}", f"task.calibration_path={other}"]
    line = refused(*bench.overrides(*where))
    assert "the prompt of example long has 2" in line and "1000 fit; on_overflow=truncate" in line


def test_prompt_longer_than_the_limit_asked_for(refused, bench):
    assert "5 fit; on_overflow=truncate" in refused(*bench.overrides("max_prompt_tokens=5"))


def test_nothing_to_reuse(refused, bench):
    bench.run("limit=2", "runner.baseline=none", "seed=1")
    line = refused(*bench.overrides("limit=2", "runner.baseline=reuse"))
    assert "found no finished run of the full model" in line
    assert "method=full runner.baseline=none" in line


def test_target_out_of_reach(refused, bench):
    line = refused(*bench.overrides("method=random_ffn", "method.target_skip=0.9"))
    assert "target_skip=0.9 is out of reach: share reaches a realised skip (weighted) of 0.00 to 0." in line


def test_no_more_calibration_prompts_are_asked_for_than_there_are(bench, tmp_path):
    for name in ("scored", "calibration"):
        rows = [{"question": f"What is {name} {n}?", "answers": ["x"]} for n in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    where = ("task.source=file", f"task.path={tmp_path}/scored.jsonl")
    other = (f"task.calibration_path={tmp_path}/calibration.jsonl", "runner.calibration_prompts=3")
    assert bench.run("method=random_ffn", "method.target_skip=0.1", *where, *other).fresh


def test_a_target_beside_what_it_solves(refused, bench):
    line = refused(*bench.overrides("method=ffnskip", "method.threshold=0.9", "method.target_skip=0.1"))
    assert "threshold=0.9 and target_skip=0.1 exclude each other" in line


class TestRescore:
    def test_nothing_given(self, refused):
        assert "rescore needs the folder of a finished run" in refused("rescore")

    def test_no_such_folder(self, refused, bench):
        assert "is not a folder" in refused("rescore", str(bench.results / "nothing"))

    def test_unfinished_run(self, refused, bench):
        run = RunFolder(bench.results, "half")
        run.start("method: {}", {})
        run.append({"rows": []})
        assert "is not a finished run (it has no DONE)" in refused("rescore", str(run.path))

    def test_damaged_configuration(self, refused, bench):
        folder = bench.run("limit=1", "runner.baseline=none").folder
        for damage in ("{", "- a", "method: 3"):
            (folder / "config.yaml").write_text(damage)
            assert "config.yaml is not" in refused("rescore", str(folder))
        (folder / "config.yaml").unlink()
        assert "cannot read" in refused("rescore", str(folder))


def test_names_are_listed_with_a_line_each(command):
    status, out, err = command("--list")
    assert (status, err) == (0, "")
    listed = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    expected = [
        file.stem
        for group in ("method", "task", "model", "experiment")
        for file in sorted((ROOT / "conf" / group).glob("*.yaml"))
    ]
    assert [name for name, _ in listed] == expected and all(len(said) > 15 for _, said in listed)
    said = "FFN-SkipLLM: skip the FFNs after the one that no longer turns the residual stream."
    assert ["ffnskip", said] in listed


@pytest.mark.parametrize("method", sorted(file.stem for file in (ROOT / "conf" / "method").glob("*.yaml")))
def test_help_has_a_line_for_every_key(command, method):
    status, out, err = command(f"method={method}", "task=xsum", "--help")
    assert (status, err) == (0, "")
    known = {line.split("=")[0].strip() for line in out.splitlines() if line.startswith("  ")}
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", [f"method={method}", "task=xsum"]))
    keys = {f"{group}.{key}" for group in GROUPS for key in config[group] if key != "name"}
    assert keys | {key for key in config if key not in GROUPS} == known
    if method == "ffnskip":
        assert "limit=null" in out and "examples to run; null: all" in out and "task.max_new_tokens=48" in out


def test_help_and_list_import_nothing_of_the_engine():
    code = (
        "import sys, run; sys.argv[1:] = [{!r}]; run.main(); "
        "print(*{{'torch', 'hydra', 'omegaconf', 'numpy'}} & set(sys.modules))"
    )
    for word in ("--help", "--list"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(word)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == ""
