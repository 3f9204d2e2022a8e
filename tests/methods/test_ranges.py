"""Every number that a method takes has an end; a new method inherits this test."""

import dataclasses
import math
import types
import typing

import pytest

from methods.shared import registry
from methods.shared.errors import MethodError

# Values that no number of any method may have, and words of none of its choices.
ABSURD = {
    int: (-(10**12), -1, 10**12),
    float: (math.nan, math.inf, -math.inf, -1e30, -1.0000001, 1e30),
    str: ("", "no such choice", "NONE"),
    list[int]: ([-1] * 4, [10**12] * 4),
    typing.Any: (-1, 10**12, math.nan, "no such choice", [-1], [10**12], f"0-{10**9}"),
}
# Ends of ranges, which stay allowed.
ENDS = {
    "ffnskip": {"threshold": (-1.0, 1.0), "skip_span": (1,), "warmup_tokens": (0, "auto")},
    "early_exit": {"threshold": (0.0, 1.0, 1.5), "tau": (0.0,), "min_exit_layer": (0,), "check_every": (1,)},
    "random_ffn": {"share": (0.0, 1.0), "cold_start": (0, 0.0), "cold_end": (1, 1.0)},
    "random_layer": {"share": (0.0, 1.0), "target_skip": (0.0, 0.999)},
    "static_ffn": {"count": (0,)},
    "drop_last": {"layers": (0,)},
    "shortgpt": {"layers": (0,)},
    "skipdecode": {"max_layers": (1,), "horizon": (1,), "warmup_layers": (1,)},
    "unified": {"target_speedup": (1.0,)},
    "prompt_lookup": {"max_ngram": (1,), "max_draft": (1, 1024)},
    "swift": {"skip_ratio": (0.0, 1.0), "bayes_interval": (0,), "widths": ([1, 1, 1, 1],)},
}


def kinds_of(params, field):
    """The kinds of value that a parameter takes."""
    hint = typing.get_type_hints(params)[field.name]
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return [kind for kind in kinds if kind not in (type(None), bool)]


CASES = [
    (name, field.name, value)
    for name in registry.names()
    for field in dataclasses.fields(registry.method_class(name).Params)
    for kind in kinds_of(registry.method_class(name).Params, field)
    for value in ABSURD[kind]
]


@pytest.mark.parametrize(("name", "parameter", "value"), CASES)
def test_the_absurd_is_refused(name, parameter, value):
    more = {"search": "frozen"} if parameter == "skipped" else {}
    with pytest.raises(MethodError) as error:
        registry.method_class(name).Params(**{parameter: value, **more})
    assert parameter in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [(name, one, value) for name, ends in ENDS.items() for one, values in ends.items() for value in values],
)
def test_an_end_is_allowed(name, parameter, value):
    params = registry.method_class(name).Params(**{parameter: value})
    assert getattr(params, parameter) == value


@pytest.mark.parametrize("name", registry.names())
def test_defaults_are_allowed(name):
    params = registry.method_class(name).Params
    given = dataclasses.asdict(params())
    assert dataclasses.asdict(params(**given)) == given


def test_a_cosine_goes_below_0_and_a_difference_of_probabilities_does_not():
    params = registry.method_class("early_exit").Params
    assert params(confidence="saturation", threshold=-1.0).threshold == -1
    with pytest.raises(MethodError, match="threshold"):
        params(confidence="softmax", threshold=-0.1)
