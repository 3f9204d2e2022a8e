"""The benchmark from Python: what a notebook needs, and nothing imported before it is called."""

import subprocess
import sys

import pytest
import torch
from transformers import GenerationConfig

import skipbench
from copied import ROOT
from methods.shared.errors import MethodError
from models.errors import ModelError
from runners.errors import RunError
from tiny import tiny_model
from tiny_files import save_model, save_tokenizer

IDS = [5, 81, 13, 40, 7]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return skipbench.load(folder, device="cpu")


def generated(hf_model, ids, new):
    config = GenerationConfig(max_new_tokens=new, do_sample=False, pad_token_id=0)
    return hf_model.generate(torch.tensor([ids]), generation_config=config)[0, len(ids) :].tolist()


def test_nothing_heavy_is_imported_before_a_call():
    code = "import sys, skipbench; print(*{'torch', 'transformers', 'hydra', 'omegaconf'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_token_ids_as_generate(model):
    answer = skipbench.generate(model, IDS, max_new_tokens=12, ignore_eos=True)
    assert answer.tokens == generated(tiny_model("llama"), IDS, 12)
    assert (answer.prompt_tokens, answer.finish, answer.realised_skip) == (5, "length", 0)
    assert answer.decode_s > 0 and answer.work["ffn_run"] == answer.work["ffn_total"] == 11 * 4


def test_what_a_method_leaves_out_is_counted(model):
    answer = skipbench.generate(
        model, IDS, method="plan", skip_layers="1-2", max_new_tokens=9, ignore_eos=True
    )
    assert answer.realised_skip == pytest.approx(0.5) and answer.work["attention_run"] == 8 * 2


def test_a_batch_is_its_prompts_alone(model):
    prompts = [IDS, "word9 word3 word70", [11, 12]]
    batch = skipbench.generate(model, prompts, max_new_tokens=10, seed=3, temperature=0.7)
    assert [one.prompt_tokens for one in batch] == [5, 3, 2]
    greedy = skipbench.generate(model, prompts, max_new_tokens=10)
    assert [one.tokens for one in greedy] == [
        skipbench.generate(model, one, max_new_tokens=10).tokens for one in prompts
    ]


def test_a_model_in_memory(folder):
    hf_model = tiny_model("llama")
    before = {name: weight.clone() for name, weight in hf_model.state_dict().items()}
    tokenizer = skipbench.load(folder).tokenizer
    opened = skipbench.load(hf_model, tokenizer)
    wanted = generated(hf_model, IDS, 8)
    assert skipbench.generate(opened, IDS, max_new_tokens=8, ignore_eos=True).tokens == wanted
    assert generated(hf_model, IDS, 8) == wanted, "it is still the caller's"
    assert all(torch.equal(weight, before[name]) for name, weight in hf_model.state_dict().items())
    with pytest.raises(ModelError, match="a model in memory has its device"):
        skipbench.load(hf_model, tokenizer, device="cpu")
    with pytest.raises(ModelError, match="a tokenizer goes with a model in memory"):
        skipbench.load(folder, tokenizer)


def test_pieces_as_they_arrive(model):
    heard = []
    answer = skipbench.generate(model, IDS, max_new_tokens=8, heard=lambda row, text: heard.append(text))
    assert "".join(heard) == answer.text and len(heard) > 2


def test_messages_want_a_template(model, folder, tmp_path):
    messages = [{"role": "user", "content": "word9 word3"}]
    with pytest.raises(ModelError, match="no chat template for messages"):
        skipbench.generate(model, messages)
    save_model(tmp_path)
    save_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }} word1{% endfor %}")
    framed = skipbench.load(tmp_path)
    assert skipbench.generate(framed, messages, max_new_tokens=2).prompt_tokens == 3
    assert skipbench.generate(framed, "word9 word3", max_new_tokens=2).prompt_tokens == 3


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"method": "ffnskp"}, MethodError, "did you mean ffnskip"),
        ({"method": "ffnskip"}, MethodError, "threshold is neither given nor solved"),
        ({"method": "ffnskip", "threshold": 3.0}, MethodError, "threshold=3.0 is out of range"),
        ({"method": "ffnskip", "treshold": 0.9}, ValueError, "unknown key treshold; did you mean threshold"),
        ({"method": "shortgpt", "layers": 1}, MethodError, "is not calibrated"),
        ({"temperature": -1.0}, ModelError, "temperature=-1.0 is out of range"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, ModelError, "has no effect"),
    ],
)
def test_errors_are_one_line(model, params, error, match):
    with pytest.raises(error, match=match) as raised:
        skipbench.generate(model, IDS, **params)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("prompt", [[], [5, 9999], ""])
def test_prompts_that_are_none(model, prompt):
    with pytest.raises(ModelError, match=r"a prompt is empty|tokens that the model has not"):
        skipbench.generate(model, prompt)


@pytest.mark.parametrize("prompt", [[7] * 250, " ".join(["word9"] * 250)])
def test_a_prompt_that_leaves_no_room(model, prompt):
    with pytest.raises(RunError, match="has 250 tokens, 246 fit; on_overflow=truncate cuts it"):
        skipbench.generate(model, prompt, max_new_tokens=10)
    answer = skipbench.generate(model, prompt, max_new_tokens=10, on_overflow="truncate")
    assert answer.prompt_tokens == 246


def test_a_run_is_a_record(folder, tmp_path):
    keys = {"model": str(folder), "limit": 3, "max_new_tokens": 6, "results_dir": str(tmp_path / "results")}
    record = skipbench.run("task.prompt=fewshot", "task.shots=1", method="plan", **keys)
    assert record["method"] == "plan" and record["examples"] == 3
    assert (tmp_path / "results" / record["run_id"] / "metrics.json").is_file()
    with pytest.raises(ValueError, match="unknown key limt"):
        skipbench.run(limt=3)
