"""Parameters that fit no model, or another one; names that are none."""

import pytest

from methods.shared.errors import MethodError
from methods.shared.registry import method_class
from tiny import method_of, tiny_stack

SKIPPING = ("ffnskip", "random_ffn", "static_ffn")


def one_line(error):
    return "\n" not in str(error.value) and len(str(error.value)) < 250


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
