"""GGUF files are converted once, whole or not at all; what cannot be read is said in one line."""

import os
import shutil
import struct
import threading

import pytest
from gguf import GGUFWriter
from transformers import AutoTokenizer

from exactness import assert_rounded
from models import gguf
from models.cache_folder import cache_root
from models.errors import ModelError
from models.gguf import converted
from models.loading import EngineConfig, ModelConfig, load_model, model_revision
from tiny_files import logits_of, write_gguf


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKIPBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory):
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return file, logits_of(write_gguf(file))


@pytest.fixture
def conversions(monkeypatch):
    """Every conversion as it happens; writes one file instead of a model."""
    seen = []

    def convert(file, folder):
        seen.append(file)
        folder.mkdir()
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(gguf, "_convert", convert)
    return seen


def load(path):
    return load_model(ModelConfig("tiny", str(path)), dtype="float32", device="cpu", engine=EngineConfig())


def refused(path, match):
    with pytest.raises(ModelError, match=match) as error:
        load(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_the_copy_is_the_model(tiny_gguf):
    file, wanted = tiny_gguf
    loaded = load(file)
    assert_rounded(logits_of(loaded.stack.model), wanted)
    assert loaded.eos == {2} and loaded.tokenizer("abc")["input_ids"][0] == 3
    assert loaded.revision == model_revision(ModelConfig("tiny", str(file)))
    folder = converted(file)
    assert folder.parent == cache_root() / "models" and (folder / "model.safetensors").is_file()
    left = {path.name for path in folder.parent.iterdir()} - {folder.name, f"{folder.name}.lock"}
    assert not left, f"nothing but the copy is left behind: {left}"


def test_the_special_tokens_are_those_that_the_file_names(tiny_gguf, monkeypatch):
    """Also where transformers reads others: 5.17 ends answers with the token that begins them."""
    file, _ = tiny_gguf
    read = AutoTokenizer.from_pretrained

    def misled(*given, **options):
        tokenizer = read(*given, **options)
        if "gguf_file" in options:
            tokenizer.eos_token = tokenizer.bos_token
        return tokenizer

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", misled)
    tokenizer = load(file).tokenizer
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)


def test_what_lies_beside_a_file_is_not_part_of_it(tmp_path):
    write_gguf(tmp_path / "tiny.gguf")
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 7}')
    assert load(tmp_path / "tiny.gguf").eos == {2}


def test_a_million_layers(tmp_path, monkeypatch):
    add = GGUFWriter.add_block_count
    monkeypatch.setattr(GGUFWriter, "add_block_count", lambda writer, _: add(writer, 10**6))
    write_gguf(tmp_path / "deep.gguf")
    refused(tmp_path / "deep.gguf", "num_hidden_layers=1000000 is more than any model has")


def test_an_end_token_that_is_a_word(tmp_path, monkeypatch):
    key = "tokenizer.ggml.eos_token_id"
    monkeypatch.setattr(GGUFWriter, "add_eos_token_id", lambda writer, _: writer.add_string(key, "end"))
    write_gguf(tmp_path / "odd.gguf")
    refused(tmp_path / "odd.gguf", "eos_token_id=end is not supported")


def test_converted_once_by_content(tiny_gguf, tmp_path, conversions):
    file, _ = tiny_gguf
    first = converted(file)
    os.utime(file)
    assert converted(file) == first and len(conversions) == 1

    other = tmp_path / "tiny.gguf"
    shutil.copy(file, other)
    assert converted(other) == first, "the same content elsewhere is the same model"
    with other.open("ab") as opened:
        opened.write(b"x")
    assert converted(other) != first and len(conversions) == 2


def test_two_at_once_convert_once(tiny_gguf, monkeypatch, conversions):
    file, _ = tiny_gguf
    convert, entered = gguf._convert, threading.Barrier(2, timeout=0.3)

    def slow(source, folder):
        with pytest.raises(threading.BrokenBarrierError):
            entered.wait()
        convert(source, folder)

    monkeypatch.setattr(gguf, "_convert", slow)
    found = []
    workers = [threading.Thread(target=lambda: found.append(converted(file))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(conversions) == 1 and found[0] == found[1]


def test_a_conversion_that_fails_leaves_nothing_and_what_was_killed_is_removed(tiny_gguf, monkeypatch):
    from transformers import LlamaForCausalLM

    file, _ = tiny_gguf
    with monkeypatch.context() as patch:
        patch.setattr(gguf, "_convert", lambda file, folder: None)
        folder = converted(file)
    stale = folder.parent / f".{folder.name}-killed"
    stale.mkdir()
    (stale / "model.safetensors").write_bytes(b"half a model")

    def fails(model, target, **_):
        target.mkdir()
        (target / "model.safetensors").write_bytes(b"half a model")
        raise OSError(28, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(LlamaForCausalLM, "save_pretrained", fails)
        with pytest.raises(ModelError, match="No space left on device"):
            converted(file)
    assert [path.name for path in folder.parent.iterdir()] == [f"{folder.name}.lock"]
    assert (converted(file) / "model.safetensors").stat().st_size > 1000


def test_a_truncated_file_is_refused_wherever_it_ends(tiny_gguf, tmp_path):
    file, _ = tiny_gguf
    whole, part = file.read_bytes(), tmp_path / "part.gguf"
    cuts = [0, 3, 4, 7, 8, 20, 24, 60, 200, 1000, 4000, 8000, len(whole) // 2, len(whole) - 1]
    for cut in cuts:
        part.write_bytes(whole[:cut])
        refused(part, "truncated|not a GGUF file")
    assert not list((cache_root() / "models").glob("part*[!k]")), "nothing was converted"


def test_a_damaged_header_is_refused(tiny_gguf, tmp_path):
    file, _ = tiny_gguf
    whole, part = file.read_bytes(), tmp_path / "part.gguf"
    for count in (2**16, 2**40, 2**63):
        part.write_bytes(whole[:8] + struct.pack("<Q", count) + whole[16:])
        refused(part, "truncated or damaged")
        part.write_bytes(whole[:16] + struct.pack("<Q", count) + whole[24:])
        refused(part, "truncated or damaged")


@pytest.mark.parametrize("start", [b"GGML", b"PK\x03\x04", b"GGUF\x01\x00\x00\x00", b"GGUF\x04\x00\x00\x00"])
def test_another_format_or_version_is_refused(tmp_path, start):
    file = tmp_path / "model.gguf"
    file.write_bytes(start + bytes(5000))
    refused(file, "not a GGUF file")


@pytest.mark.parametrize("architecture", ["mamba", "unheard-of"])
def test_an_unsupported_architecture_is_refused(tmp_path, architecture):
    file = tmp_path / "model.gguf"
    write_gguf(file, architecture)
    refused(file, architecture)


def test_a_cache_that_cannot_be_written(tiny_gguf, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SKIPBENCH_CACHE", str(tmp_path / "file"))
    refused(tiny_gguf[0], "cannot convert")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("SKIPBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "skipbench"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "skipbench"
