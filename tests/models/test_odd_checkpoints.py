"""Folders that are not quite a model folder: text models within larger ones, files that an editor saved,
adapters, end tokens that are none."""

import json
import warnings

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
)

from models.errors import ModelError
from models.loading import EngineConfig, ModelConfig, load_model
from models.notices import ModelNotice
from tiny import tiny_model
from tiny_files import save_model, save_tokenizer

IDS = torch.arange(3, 40)[None]
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}


def load(folder):
    return load_model(ModelConfig("tiny", str(folder)), dtype="float32", device="cpu", engine=EngineConfig())


def refused(folder, match):
    with pytest.raises(ModelError, match=match) as error:
        load(folder)
    assert "\n" not in str(error.value)


def logits(model):
    with torch.inference_mode():
        return model(IDS).logits


NESTED = {
    "gemma3": (
        Gemma3ForConditionalGeneration,
        lambda text: Gemma3Config(text_config=text, vision_config=SiglipVisionConfig(**VISION)),
    ),
    "llama": (
        LlavaForConditionalGeneration,
        lambda text: LlavaConfig(
            text_config=text, vision_config=CLIPVisionConfig(**VISION), image_token_index=5
        ),
    ),
}


@pytest.mark.parametrize("name", NESTED)
def test_the_text_model_of_a_model_of_images_and_text(tmp_path, name):
    whole, config = NESTED[name]
    model = whole(config(tiny_model(name).config.to_dict())).eval()
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    loaded = load(tmp_path)
    torch.testing.assert_close(logits(loaded.stack.model), logits(model))
    assert not any("vision" in path for path, _ in loaded.stack.model.named_parameters())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
)
def test_json_in_another_encoding(tmp_path, name, encoding):
    save_model(tmp_path)
    content = json.loads((tmp_path / name).read_text())
    text = json.dumps({**content, "note": "é"}, ensure_ascii=False)
    (tmp_path / name).write_bytes(text.encode(encoding))
    refused(tmp_path, f"{name} is not plain UTF-8|{name} cannot be read as JSON")


def test_a_template_with_a_mark(tmp_path):
    save_model(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes("{{ messages }}".encode("utf-8-sig"))
    refused(tmp_path, "chat_template.jinja is not plain UTF-8")


def test_an_adapter_alone_and_beside_a_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    refused(tmp_path, "holds an adapter .* and no model; merge it")
    save_model(tmp_path)
    refused(tmp_path, r"holds an adapter \(adapter_model.safetensors\) beside a model")
    (tmp_path / "adapter_model.safetensors").unlink()
    load(tmp_path)


@pytest.mark.parametrize(("ends", "kept"), [([-1], set()), ([2, 100_000], {2}), ([7, -1, 2], {2, 7})])
def test_end_tokens_that_no_answer_can_hold(tmp_path, ends, kept):
    save_model(tmp_path)
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": ends}))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert load(tmp_path).eos == kept | {2}
    said = [str(one.message) for one in seen if issubclass(one.category, ModelNotice)]
    assert said == (
        ["the end token 100000 is not in the model's vocabulary, so no answer ends with it"]
        * (100_000 in ends)
    )


def test_a_tokenizer_that_ends_every_text(tmp_path):
    save_model(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert loaded.tokenizer("word1")["input_ids"] == [1, 4, 2]
    with pytest.warns(ModelNotice, match="ends every text with an end token"):
        assert loaded.ids_of("word1", special=True) == [1, 4]
    assert loaded.ids_of("word1", special=False) == [4]


def test_a_revision_of_what_is_here(tmp_path):
    save_model(tmp_path)
    config = ModelConfig("tiny", str(tmp_path), revision="12e4567")
    with pytest.warns(ModelNotice, match="model.revision=12e4567 is of the hub, .* it changes nothing"):
        load_model(config, dtype="float32", device="cpu", engine=EngineConfig())
