"""Model folders whose descriptions hold random fields: each is run, or refused in one line."""

import json
import shutil

import pytest
from bench import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import REPRODUCIBLE, often
from models.errors import ModelError
from runners.errors import RunError
from runners.user_errors import USER_ERRORS, one_line

# By file: what a run reads of it, or a library does.
FIELDS = {
    "config.json": """architectures attention_bias attention_dropout attn_implementation auto_map bos_token_id
    dtype eos_token_id head_dim hidden_act hidden_size id2label initializer_range intermediate_size
    is_encoder_decoder layer_types max_position_embeddings mlp_bias model_type num_attention_heads
    num_hidden_layers num_key_value_heads num_labels num_local_experts pad_token_id partial_rotary_factor
    pretraining_tp quantization_config rms_norm_eps rope_parameters rope_scaling sliding_window text_config
    tie_word_embeddings torch_dtype use_cache vocab_size""".split(),
    "tokenizer_config.json": """added_tokens_decoder auto_map backend bos_token chat_template
    clean_up_tokenization_spaces eos_token extra_special_tokens model_max_length pad_token padding_side
    tokenizer_class unk_token""".split(),
    "generation_config.json": """bos_token_id cache_implementation do_sample eos_token_id max_length num_beams
    stop_strings suppress_tokens temperature use_cache""".split(),
}
VALUES = st.sampled_from(
    [
        *(None, True, False, -1, 0, 1, 2, 3, 7, 64, 10**6, 2**31, 2**40, 10**30, -(2**31)),
        *(0.5, 1e308, float("nan"), float("inf")),
        *("", "x", "float16", "llama", "gelu", "../x", "\ud800", "a\x1b[2J", "{{ x.y.z }}", "{% for %}"),
        *([], [1], ["x"], {}, {"a": 1}, {"rope_type": "linear"}, {"rope_type": "yarn", "factor": 0}),
    ]
)
changes = st.sampled_from([(file, field) for file, fields in FIELDS.items() for field in fields]).flatmap(
    lambda place: st.tuples(st.just(place[0]), st.dictionaries(st.just(place[1]), VALUES, min_size=1))
)
METHODS = ("full", "ffnskip method.threshold=0.5", "hf_generate")
RUN = ("limit=1", "max_new_tokens=3", "force=true", "runner.baseline=none")


@pytest.fixture
def changed(bench, tmp_path):
    """The tiny model with other fields in one of its files."""
    original, copy = bench.model, tmp_path / "changed"

    def change(file, fields):
        shutil.copytree(original, copy, dirs_exist_ok=True)
        (copy / file).write_text(json.dumps(json.loads((copy / file).read_text()) | fields))
        if "chat_template" in fields:
            # It would be read instead.
            (copy / "chat_template.jinja").unlink(missing_ok=True)
        bench.model = copy
        return bench

    return change


def check(changed, change, method):
    """Whether the model ran."""
    try:
        assert len(changed(*change).rows(*RUN, *f"method={method}".split())) == 1
    except USER_ERRORS as error:
        line = one_line(error, ROOT / "conf")
        assert line.isprintable() and len(line) < 1000
        return False
    return True


@pytest.mark.parametrize("method", METHODS)
def test_what_changes_nothing_runs(changed, method):
    assert check(changed, ("config.json", {"num_labels": 2}), method)


@often(25)
@given(changes, st.sampled_from(METHODS))
def test_random_fields(changed, change, method):
    check(changed, change, method)


@pytest.mark.slow
@settings(REPRODUCIBLE, max_examples=1000)
@given(changes, st.sampled_from(METHODS))
def test_a_thousand_random_fields(changed, change, method):
    check(changed, change, method)


@pytest.mark.parametrize(
    ("file", "fields", "said"),
    [
        ("config.json", {"num_hidden_layers": 10**6}, "num_hidden_layers=1000000 is more than any model has"),
        ("config.json", {"num_labels": 2**40}, "num_labels=.* is more than any model has"),
        ("config.json", {"text_config": "llama"}, "its text_config describes no model"),
        ("config.json", {"pad_token_id": 10**6}, "cannot be loaded"),
        ("config.json", {"sliding_window": "float16"}, "sliding_window='float16' is no number of tokens"),
        ("config.json", {"is_encoder_decoder": True}, "encoder-decoder models are not supported"),
        ("generation_config.json", {"eos_token_id": {"a": 1}}, "must be the number of a token"),
        (
            "tokenizer_config.json",
            {"unk_token": "<new>", "chat_template": "<new>"},
            "does not belong to the model",
        ),
        ("tokenizer_config.json", {"model_max_length": "x"}, "the model's tokenizer fails"),
        ("tokenizer_config.json", {"chat_template": "{% for %}"}, "the model's chat template fails"),
        (
            "tokenizer_config.json",
            {"chat_template": "{{ raise_exception('no\nsystem') }}"},
            "the model's chat template fails: no$",
        ),
    ],
    ids=str,
)
def test_what_the_fuzzing_found(changed, file, fields, said):
    bench = changed(file, fields)
    with pytest.raises((ModelError, RunError), match=said) as refusal:
        bench.run("limit=1", "runner.baseline=none")
    assert "\n" not in str(refusal.value)
