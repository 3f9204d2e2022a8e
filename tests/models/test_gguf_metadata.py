"""Every key of a GGUF is honoured or refused: logits, tokens and ends are those of the model it was written
from."""

import math

import gguf
import numpy as np
import pytest
import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from models import gguf_metadata
from models.errors import ModelError
from models.loading import EngineConfig, ModelConfig, load_model
from tiny import LAYERS, WINDOW, tiny_model
from tiny_ggufs import write_model

IDS = torch.arange(3, 191)[None]
CONTEXT, TRAINED, THETA = 256, 32, 5000.0


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKIPBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def opened(tmp_path):
    def open_model(model, *extras, **options):
        write_model(tmp_path / "tiny.gguf", model, *extras, **options)
        config = ModelConfig("tiny", str(tmp_path / "tiny.gguf"))
        return load_model(config, dtype="float32", device="cpu", engine=EngineConfig())

    return open_model


@pytest.fixture
def refused(opened):
    def refuse(extra, match, name="llama"):
        with pytest.raises(ModelError, match=match) as error:
            opened(tiny_model(name), extra)
        assert "\n" not in str(error.value) and len(str(error.value)) < 400

    return refuse


class _Forced:
    """A key with a value of any kind, also one that is left out otherwise."""

    def __init__(self, key, value):
        self.key, self.value = key, value

    def __call__(self, writer):
        kinds = {int: "INT32", float: "FLOAT32", str: "STRING", list: "ARRAY"}
        kind = gguf.GGUFValueType[kinds[type(self.value)]]
        gguf.GGUFWriter.add_key_value(writer, self.key, self.value, kind)


def logits(model):
    with torch.inference_mode():
        return model(IDS).logits


def same(opened_model, model):
    torch.testing.assert_close(logits(opened_model.stack.model), logits(model), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["llama", "llama_tied", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "gpt2"]
)
def test_every_architecture(opened, name):
    model = tiny_model(name)
    same(opened(model), model)


def _key(name, value):
    """A key of the architecture, of the type that its value has."""

    def add(writer):
        types = {bool: writer.add_bool, str: writer.add_string, int: writer.add_uint32}
        types.get(type(value), writer.add_float32)(f"{writer.arch}.{name}", value)

    return add


def _vector(name, values):
    return lambda writer: writer.add_tensor(name, np.array(values, dtype=np.float32))


def _scaling(**keys):
    return [_key(f"rope.scaling.{name}", value) for name, value in keys.items()]


SHORT, LONG = [1.0, 1.1, 1.3, 1.9], [1.2, 2.5, 4.0, 7.5]
YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": TRAINED}
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": SHORT,
    "long_factor": LONG,
    "original_max_position_embeddings": TRAINED,
    "factor": CONTEXT / TRAINED,
}
FACTORS = [_vector("rope_factors_short.weight", SHORT), _vector("rope_factors_long.weight", LONG)]
ROTARY = {
    "linear": ({"rope_type": "linear", "factor": 4.0}, _scaling(type="linear", factor=4.0)),
    "linear by default": ({"rope_type": "linear", "factor": 4.0}, _scaling(factor=4.0)),
    "linear, the old key": ({"rope_type": "linear", "factor": 4.0}, [_key("rope.scale_linear", 4.0)]),
    "none": ({"rope_type": "default"}, _scaling(type="none", factor=4.0)),
    "yarn": (YARN, _scaling(type="yarn", factor=8.0, original_context_length=TRAINED, finetuned=True)),
    "yarn, its own limits": (
        {**YARN, "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 0.5 * (1 + 0.1 * math.log(8))},
        _scaling(
            type="yarn",
            factor=8.0,
            original_context_length=TRAINED,
            attn_factor=0.5,
            yarn_beta_fast=16.0,
            yarn_beta_slow=2.0,
        ),
    ),
    "longrope": (
        LONGROPE,
        [
            *FACTORS,
            *_scaling(
                type="longrope",
                original_context_length=TRAINED,
                attn_factor=math.sqrt(1 + math.log(CONTEXT / TRAINED) / math.log(TRAINED)),
            ),
        ],
    ),
}


@pytest.mark.parametrize("kind", ROTARY)
def test_rotary_scaling(opened, kind):
    parameters, keys = ROTARY[kind]
    model = tiny_model("llama", rope_parameters={"rope_theta": THETA, **parameters})
    plain = tiny_model("llama", rope_parameters={"rope_theta": THETA, "rope_type": "default"})
    if kind != "none":
        assert not torch.allclose(logits(model), logits(plain), atol=1e-2), "the scaling changes something"
    same(opened(model, *keys), model)


def test_factors_by_frequency(opened):
    """Llama 3.1's way: the converter stores what its scaling makes of each frequency."""
    llama3 = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": TRAINED,
    }
    model = tiny_model("llama", rope_parameters={"rope_theta": THETA, **llama3})
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](model.config, "cpu")
    plain = THETA ** (-torch.arange(0, 8, 2) / 8)
    factors = (plain / scaled).tolist()
    assert max(factors) > 2
    same(opened(model, _vector("rope_freqs.weight", factors)), model)


def test_phi3_with_long_factors_and_a_part_of_each_head(opened):
    parameters = {**LONGROPE, "short_factor": SHORT[:3], "long_factor": LONG[:3]}
    parameters |= {"rope_theta": THETA, "partial_rotary_factor": 0.75}
    model = tiny_model("phi3", rope_parameters=parameters, original_max_position_embeddings=TRAINED)
    attention = math.sqrt(1 + math.log(CONTEXT / TRAINED) / math.log(TRAINED))
    keys = _scaling(type="longrope", original_context_length=TRAINED, attn_factor=attention)
    vectors = [
        _vector("rope_factors_short.weight", SHORT[:3]),
        _vector("rope_factors_long.weight", LONG[:3]),
    ]
    same(opened(model, *keys, *vectors, _key("rope.dimension_count", 6)), model)


def test_gemma3_scales_the_layers_that_see_everything(opened):
    full = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
    local = {"rope_type": "default", "rope_theta": 10_000.0}
    model = tiny_model("gemma3", rope_parameters={"full_attention": full, "sliding_attention": local})
    same(opened(model, *_scaling(type="linear", factor=8.0)), model)
    local["rope_theta"] = 700.0
    model = tiny_model("gemma3", rope_parameters={"full_attention": full, "sliding_attention": local})
    same(opened(model, *_scaling(type="linear", factor=8.0), _key("rope.freq_base_swa", 700.0)), model)


def test_biases_that_only_their_tensors_show(opened):
    model = tiny_model("llama", attention_bias=True, mlp_bias=True)
    same(opened(model), model)


def test_gemma_without_caps(opened):
    model = tiny_model("gemma3", final_logit_softcapping=2.0)
    same(opened(model, _key("final_logit_softcapping", 2.0)), model)


@pytest.mark.parametrize("name", ["gemma2", "gemma3"])
def test_the_largest_gemmas_scale_by_another_width(opened, name, monkeypatch):
    assert gguf_metadata._UNUSUAL_SCALE == {"gemma2": 46, "gemma3": 62}
    monkeypatch.setitem(gguf_metadata._UNUSUAL_SCALE, name, LAYERS)
    model = tiny_model(name, query_pre_attn_scalar=8)
    same(opened(model), model)


REFUSED = {
    "rope.scaling.type": "su",
    "rope.scaling.alpha": 1000.0,
    "rope.scaling.attn_factor": 1.2,
    "rope.scaling.yarn_log_multiplier": 0.1,
    "rope.dimension_count": 4,
    "rope.dimension_sections": 3,
    "rope.freq_base_swa": 77.0,
    "expert_count": 8,
    "logit_scale": 0.25,
    "attention.sliding_window": WINDOW,
    "attention.clamp_kqv": 8.0,
    "attention.scale": 0.5,
    "attention.causal": False,
    "attention.value_length": 4,
    "final_logit_softcapping": 30.0,
    "something.new": 1,
}


@pytest.mark.parametrize("key", REFUSED)
def test_refused_by_name(refused, key):
    refused(_key(key, REFUSED[key]), f"llama.{key}={str(REFUSED[key])[:4]}.* is not supported")


@pytest.mark.parametrize("name", ["block_count", "embedding_length", "context_length", "head_count"])
def test_sizes_without_which_there_is_no_model(opened, name):
    with pytest.raises(ModelError, match=rf"{name}=None is not supported .*holds no model"):
        opened(tiny_model("gemma3"), without=(name,))


ABSURD = {
    **dict.fromkeys(("rope.freq_base", "rope.scaling.attn_factor"), (0.0, -1.0, math.nan, math.inf, "x")),
    **dict.fromkeys(("attention.head_count", "context_length"), (0, -4, [4, 4, 4, 4], "x")),
    "attention.layer_norm_rms_epsilon": (math.nan, math.inf),
    "attention.scale": (math.nan,),
    "attention.head_count_kv": (0,),
    "attention.sliding_window": ([8, 0, 8, 0], "x"),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in ABSURD for value in ABSURD[name]])
def test_values_that_are_none(opened, name, value):
    extra = _Forced(f"llama.{name}", value)
    with pytest.raises(ModelError, match=rf"llama.{name}=.* is not supported") as error:
        opened(tiny_model("llama"), extra, without=(name,))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("architecture", "name", "value"),
    [
        ("gemma2", "attention.sliding_window", 0),
        ("gemma3", "attention.sliding_window", 0),
        ("gemma3", "attention.sliding_window", None),
        ("gemma3", "attention.sliding_window_pattern", 0),
        ("gemma3", "attention.sliding_window_pattern", "x"),
    ],
)
def test_windows_that_hide_everything(opened, architecture, name, value):
    extras = [] if value is None else [_Forced(f"{architecture}.{name}", value)]
    with pytest.raises(ModelError, match=rf"{architecture}.{name}={value} is not supported"):
        opened(tiny_model(architecture), *extras, without=(name,))


def test_sizes_that_are_not_those_of_the_tensors(opened):
    with pytest.raises(ModelError, match="weights of other sizes than its config says"):
        opened(tiny_model("llama"), _Forced("llama.vocab_size", 500), without=("vocab_size",))


def test_as_many_keys_as_queries_where_a_file_does_not_say(opened):
    model = tiny_model("qwen2", num_key_value_heads=4)
    same(opened(model, without=("head_count_kv",)), model)


def test_special_tokens_where_a_file_does_not_say(opened):
    """llama.cpp's own, for a tokenizer with scores."""
    absent = ("bos_token_id", "eos_token_id", "unknown_token_id")
    loaded = opened(tiny_model("gemma2"), without=absent)
    assert loaded.eos == {2} and loaded.tokenizer("ab")["input_ids"][0] == 1


NEUTRAL = {
    "expert_count": 0,
    "logit_scale": 1.0,
    "attention.sliding_window": CONTEXT,
    "attention.clamp_kqv": 0.0,
    "attention.scale": 8**-0.5,
    "attention.causal": True,
    "attention.key_length": 8,
    "rope.dimension_count": 8,
    "tensor_data_layout": "Meta AI original pth",
}


@pytest.mark.parametrize("key", NEUTRAL)
def test_accepted_where_nothing_changes(opened, key):
    model = tiny_model("llama")
    same(opened(model, _key(key, NEUTRAL[key])), model)


def test_every_key_of_the_library_has_an_answer(opened):
    """What llama.cpp's library names is known here, or the file is refused: nothing is dropped in silence."""
    model = tiny_model("llama")
    groups = (gguf.Keys.LLM, gguf.Keys.Attention, gguf.Keys.Rope, gguf.Keys.SSM, gguf.Keys.WKV)
    names = {value for group in groups for name, value in vars(group).items() if name.isupper()}
    known = {f"{{arch}}.{name}" for name in (*NEUTRAL, *REFUSED)}
    written = {
        f"{{arch}}.{name}"
        for name in (
            *("vocab_size", "context_length", "embedding_length", "block_count", "feed_forward_length"),
            *("attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon"),
            *("rope.freq_base", "attention.layer_norm_epsilon"),
        )
    }
    honoured = {name for name in names if name.startswith("{arch}.rope.scaling.")}
    for name in sorted(names - known - written - honoured):
        if "{dense}" in name or "{id}" in name:
            continue
        with pytest.raises(ModelError, match="is not supported"):
            opened(model, _key(name.removeprefix("{arch}."), 3))


def test_tensors_that_nobody_would_read(refused):
    refused(_vector("blk.0.attn_sinks.weight", [1.0] * 4), "1 tensors that a llama model has not.*attn_sinks")


@pytest.mark.parametrize(
    ("add", "match"),
    [
        (lambda w: w.add_string("adapter.type", "lora"), "adapter.type=lora .*LoRA adapter"),
        (lambda w: w.add_uint16("split.count", 2), "part 1 of 2 of a split GGUF.*llama-gguf-split --merge"),
        (lambda w: w.add_uint32("clip.vision.image_size", 2), "projector of images"),
        (lambda w: w.add_string("tokenizer.ggml.pre", "newest"), "tokenizer.ggml.pre=newest"),
        (lambda w: w.add_bool("tokenizer.ggml.add_sep_token", True), "add_sep_token=True"),
        (lambda w: w.add_bool("tokenizer.ggml.normalizer.lowercase", True), "normalizer.lowercase=True"),
        (lambda w: w.add_eot_token_id(5000), "eot_token_id=5000 .*no token's number"),
    ],
)
def test_files_that_are_something_else(refused, add, match):
    refused(add, match)


def test_the_end_of_a_turn_and_of_a_message_end_an_answer(opened):
    model = tiny_model("llama")
    assert opened(model).eos == {2}
    loaded = opened(model, lambda w: w.add_eot_token_id(7), lambda w: w.add_eom_token_id(9))
    assert loaded.eos == {2, 7, 9}


def test_a_number_that_means_none(opened):
    assert opened(tiny_model("llama"), lambda w: w.add_eot_token_id(2**32 - 1)).eos == {2}


def test_the_end_of_a_turn_known_by_its_text(opened, monkeypatch):
    from tiny_ggufs import PAIRS

    tokens = ["<|im_end|>" if number == 1 else token for number, token in enumerate(PAIRS)]
    monkeypatch.setattr("tiny_ggufs.PAIRS", tokens)
    model = tiny_model("llama")
    assert opened(model).eos == {1, 2}
    assert opened(model, lambda w: w.add_eot_token_id(7)).eos == {2, 7}, "where the file names one, that one"


@pytest.mark.parametrize(("add", "begins"), [(True, True), (False, False), (None, False)])
def test_the_beginning_of_a_text(opened, add, begins):
    keys = [] if add is None else [lambda w: w.add_bool("tokenizer.ggml.add_bos_token", add)]
    loaded = opened(tiny_model("llama"), *keys, lambda w: w.add_bool("tokenizer.ggml.add_eos_token", True))
    ids = loaded.tokenizer("ab")["input_ids"]
    assert ids == ([1, 3] if begins else [3]), "an end token would end the prompt"


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("smollm", ["It", "Ġis", "Ġ", "1", "9", "4", "5", "."]),
        ("gpt-2", ["It", "Ġis", "Ġ1945", "."]),
        ("llama-bpe", ["It", "Ġis", "Ġ", "194", "5", "."]),
        ("qwen2", ["It", "Ġis", "Ġ", "1", "9", "4", "5", "."]),
        ("tekken", ["It", "Ġis", "Ġ", "1", "9", "4", "5", "."]),
        ("gpt-4o", ["It", "Ġis", "Ġ", "194", "5", "."]),
        ("default", ["It", "Ġis", "Ġ", "194", "5", "."]),
    ],
)
def test_words_are_split_as_the_file_says(opened, pre, pieces):
    loaded = opened(tiny_model("llama"), lambda w: w.add_string("tokenizer.ggml.pre", pre))
    split = loaded.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("It is 1945.")
    assert [piece for piece, _ in split] == pieces
