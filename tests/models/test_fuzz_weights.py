"""Damaged GGUF and safetensors files: a model, or one line."""

import json
import os
import shutil
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import often
from models.errors import ModelError
from models.gguf_header import check_header
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


@often(25)
@given(at=st.integers(0, 1500), new=st.binary(min_size=1, max_size=9))
def test_damaged_gguf_headers(tmp_path, gguf_bytes, at, new):
    (tmp_path / "odd.gguf").write_bytes(damaged(gguf_bytes, at, new))
    check(tmp_path / "odd.gguf")


@often(60)
@given(share=st.floats(0, 0.999))
def test_truncated_gguf(tmp_path, gguf_bytes, share):
    (tmp_path / "odd.gguf").write_bytes(gguf_bytes[: int(len(gguf_bytes) * share)])
    assert not check(tmp_path / "odd.gguf")


@often(60)
@given(content=st.binary(max_size=300), version=st.integers(2, 3))
def test_random_gguf(tmp_path, content, version):
    (tmp_path / "odd.gguf").write_bytes(b"GGUF" + struct.pack("<I", version) + content)
    assert not check(tmp_path / "odd.gguf")


def header(*entries):
    """A GGUF header of these keys and values, and no tensors."""
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entries)


def entry(kind, value, key=b"general.architecture"):
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


ARRAY, TEXT, ENDLESS = 9, 8, 2**40


@pytest.mark.parametrize(
    "content",
    [
        header(entry(ARRAY, struct.pack("<IQ", 0, ENDLESS))),
        header(entry(ARRAY, struct.pack("<IQ", TEXT, ENDLESS))),
        header(entry(ARRAY, struct.pack("<IQ", ARRAY, 1) * 1000 + struct.pack("<IQ", 0, 0))),
        header(entry(TEXT, struct.pack("<Q", ENDLESS))),
        header(entry(77, b"\0" * 64)),
        b"GGUF" + struct.pack("<IQQ", 3, ENDLESS, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, ENDLESS),
    ],
    ids=["bytes", "texts", "nested", "text", "no type", "tensors", "entries"],
)
def test_a_header_that_announces_more_than_there_is(tmp_path, content):
    """Without the look ahead the first two keep a reader busy until memory ends."""
    (tmp_path / "odd.gguf").write_bytes(content)
    with pytest.raises(ModelError, match="truncated or damaged"):
        check_header(tmp_path / "odd.gguf")
    assert not check(tmp_path / "odd.gguf")


def test_an_architecture_that_is_a_number(tmp_path):
    (tmp_path / "odd.gguf").write_bytes(header(entry(4, struct.pack("<I", 7))) + b"\0" * 64)
    assert not check(tmp_path / "odd.gguf")


def test_a_whole_header_is_walked_to_its_end(tmp_path, gguf_bytes):
    (tmp_path / "whole.gguf").write_bytes(gguf_bytes)
    check_header(tmp_path / "whole.gguf")


@pytest.mark.parametrize(
    "change",
    [
        {"num_attention_heads": 0},
        {"hidden_size": "x"},
        {"hidden_size": -8},
        {"num_hidden_layers": None},
        {"vocab_size": 2**40},
        {"rope_scaling": []},
        {"eos_token_id": "x"},
    ],
    ids=str,
)
def test_fields_of_the_config_that_make_no_model(tmp_path, folder, change):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text()) | change
    (copy / "config.json").write_text(json.dumps(config))
    check(copy)


@pytest.mark.parametrize("content", [b"[]", b'{"weight_map": 3}', b"{"])
def test_a_damaged_index_of_weights(tmp_path, folder, content):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors.index.json").write_bytes(content)
    assert not check(copy)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_files_that_may_not_be_read(tmp_path, folder, gguf_bytes):
    (tmp_path / "odd.gguf").write_bytes(gguf_bytes)
    (tmp_path / "odd.gguf").chmod(0)
    assert not check(tmp_path / "odd.gguf")


@often(25)
@given(at=st.integers(0, 600), new=st.binary(min_size=1, max_size=9))
def test_damaged_safetensors(tmp_path, folder, at, new):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    content = (folder / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(damaged(content, at, new))
    check(copy)


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"\0" * 100, b'{"model_type": 3}', b"[" * 100_000]
)
def test_damaged_json_beside_the_weights(tmp_path, folder, name, content):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / name).write_bytes(content)
    loaded = check(copy)
    # transformers takes some of these for a description that says nothing.
    assert not loaded or content.startswith(b"{")


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("content", [b"null", b"[]", b"3"])
def test_json_that_is_no_object_is_named(tmp_path, folder, name, content):
    """Told by its name, where a library would say what it could not do with it, or nothing."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} holds no JSON object; fetch it again"):
        load_model(ModelConfig("tiny", str(copy)), dtype="float32", device="cpu", engine=EngineConfig())


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "fp8"])
def test_quantised_weights_are_refused(tmp_path, folder, method):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, "bits": 4}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"quantised weights \\({method}\\) are not supported"):
        load_model(ModelConfig("tiny", str(copy)), dtype="float32", device="cpu", engine=EngineConfig())
