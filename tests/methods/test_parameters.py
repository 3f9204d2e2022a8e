"""Parameters are checked at construction; names of files, classes and configurations agree."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from methods.shared.errors import MethodError
from methods.shared.registry import method_class, names
from tiny import method_of, tiny_stack

ROOT = Path(__file__).resolve().parents[2]
NAN = float("nan")
SKIPPING = ("ffnskip", "random_ffn", "static_ffn")
SHARED = [
    ("target_skip", -0.1),
    ("target_skip", 1.0),
    ("target_skip", NAN),
    ("target_unit", "layers"),
    ("warmup_tokens", -1),
    ("warmup_tokens", "some"),
    ("warmup_tokens", NAN),
    ("cold_start", -1),
    ("cold_start", -0.1),
    ("cold_start", 1.5),
    ("cold_start", NAN),
    ("cold_end", -2),
    ("cold_end", 1.01),
    ("cold_end", NAN),
]
OWN = [
    ("ffnskip", "threshold", NAN),
    ("ffnskip", "skip_span", 0),
    ("ffnskip", "skip_span", -3),
    ("ffnskip", "similarity", "cosine"),
    ("ffnskip", "batch_policy", "any"),
    ("random_ffn", "share", -0.01),
    ("random_ffn", "share", 1.01),
    ("random_ffn", "share", NAN),
    ("static_ffn", "count", -1),
    ("swift", "search", "maybe"),
    ("swift", "skip_ratio", 1.5),
    ("swift", "skip_ratio", NAN),
    ("swift", "context_window", 0),
    ("swift", "max_draft", 0),
    ("swift", "bayes_interval", -1),
    ("swift", "widths", [3, 5]),
    ("swift", "widths", [3, 5, 8, 0]),
    ("prompt_lookup", "max_ngram", 0),
    ("prompt_lookup", "max_draft", 0),
]


def one_line(error):
    return "\n" not in str(error.value) and len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("name", "key", "value"), [(name, *case) for name in SKIPPING for case in SHARED] + OWN
)
def test_a_value_out_of_range_is_one_line_that_names_it(name, key, value):
    with pytest.raises(MethodError, match=key) as error:
        method_class(name).Params(**{key: value})
    assert one_line(error) and str(value) in str(error.value)


@pytest.mark.parametrize(
    "cold", [(3, 3), (3, 2), (0, 5), (0.5, 0.5), (4, 1.0), (0.9, 0.2)], ids=lambda cold: f"{cold}"
)
@pytest.mark.parametrize("name", SKIPPING)
def test_cold_regions_that_leave_no_layer_are_refused_for_the_model(name, cold):
    with pytest.raises(MethodError, match=r"cold_start=.* and cold_end=.* 4 layers") as error:
        method_of(name, tiny_stack("llama"), cold_start=cold[0], cold_end=cold[1])
    assert one_line(error)


@pytest.mark.parametrize(
    ("depth", "cold", "layers"),
    [
        (30, (0.15, 0.9), range(4, 27)),
        (32, (0.15, 0.9), range(5, 29)),
        (4, (1, 3), range(1, 3)),
        (4, (0, 1.0), range(4)),
        (4, (0, 1), range(1)),
    ],
)
def test_an_int_is_a_layer_and_a_float_a_share(depth, cold, layers):
    params = method_class("ffnskip").Params(cold_start=cold[0], cold_end=cold[1])
    assert params.layers(depth) == layers


def test_automatic_warm_up():
    params = method_class("ffnskip").Params()
    assert [params.warmup(length) for length in (1, 12, 13, 100, 312, 1000)] == [1, 1, 2, 8, 25, 25]


def test_more_ffns_than_are_eligible():
    with pytest.raises(MethodError, match=r"count=4 .* 3 FFNs") as error:
        method_of("static_ffn", tiny_stack("llama"), count=4, cold_start=1, cold_end=4)
    assert one_line(error)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("ffn_skip", "did you mean ffnskip?"),
        ("full_", "did you mean full?"),
        ("zzz", "'zzz'. Known methods: "),
    ],
)
def test_an_unknown_name(wrong, said):
    with pytest.raises(MethodError, match="unknown method") as error:
        method_class(wrong)
    assert said in str(error.value) and one_line(error)


def test_every_file_is_one_method_with_a_configuration():
    files = {file.stem for file in (ROOT / "methods").glob("*.py")} - {"__init__"}
    assert set(names()) == files == {file.stem for file in (ROOT / "conf/method").glob("*.yaml")}
    for name in names():
        cls = method_class(name)
        written = yaml.safe_load((ROOT / f"conf/method/{name}.yaml").read_text(encoding="utf-8"))
        assert written.pop("name") == name
        defaults = dataclasses.asdict(cls.Params())
        assert written == defaults and list(map(type, written.values())) == [
            type(defaults[key]) for key in written
        ]
        assert cls.__doc__ and cls.Params.__dataclass_params__.frozen
