"""Damaged GGUF and safetensors files: a model, or one line."""

import json
import shutil
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import REPRODUCIBLE
from models.errors import ModelError
from models.loading import EngineConfig, ModelConfig, load_model
from tiny_files import save_model, save_tokenizer, write_gguf

JSON = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKIPBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def gguf_bytes(tmp_path_factory):
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(file)
    return file.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_model(folder)
    save_tokenizer(folder)
    return folder


def check(path):
    """Whether the model loads; if not, one line says so."""
    try:
        load_model(ModelConfig("tiny", str(path)), dtype="float32", device="cpu", engine=EngineConfig())
    except ModelError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return False
    return True


def damaged(content, at, new):
    return content[:at] + new + content[at + len(new) :]


@settings(REPRODUCIBLE, max_examples=25)
@given(at=st.integers(0, 1500), new=st.binary(min_size=1, max_size=9))
def test_damaged_gguf_headers(tmp_path, gguf_bytes, at, new):
    (tmp_path / "odd.gguf").write_bytes(damaged(gguf_bytes, at, new))
    check(tmp_path / "odd.gguf")


@settings(REPRODUCIBLE, max_examples=60)
@given(share=st.floats(0, 0.999))
def test_truncated_gguf(tmp_path, gguf_bytes, share):
    (tmp_path / "odd.gguf").write_bytes(gguf_bytes[: int(len(gguf_bytes) * share)])
    assert not check(tmp_path / "odd.gguf")


@settings(REPRODUCIBLE, max_examples=60)
@given(content=st.binary(max_size=300), version=st.integers(2, 3))
def test_random_gguf(tmp_path, content, version):
    (tmp_path / "odd.gguf").write_bytes(b"GGUF" + struct.pack("<I", version) + content)
    assert not check(tmp_path / "odd.gguf")


@settings(REPRODUCIBLE, max_examples=25)
@given(at=st.integers(0, 600), new=st.binary(min_size=1, max_size=9))
def test_damaged_safetensors(tmp_path, folder, at, new):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    content = (folder / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(damaged(content, at, new))
    check(copy)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"\0" * 100, b'{"model_type": 3}', b"[" * 100_000]
)
def test_damaged_json_beside_the_weights(tmp_path, folder, name, content):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / name).write_bytes(content)
    check(copy)


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "fp8"])
def test_quantised_weights_are_refused(tmp_path, folder, method):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, "bits": 4}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"quantised weights \\({method}\\) are not supported"):
        load_model(ModelConfig("tiny", str(copy)), dtype="float32", device="cpu", engine=EngineConfig())
