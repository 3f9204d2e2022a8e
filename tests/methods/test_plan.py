"""Layers written by hand."""

import dataclasses

import pytest

from methods.shared.errors import MethodError
from methods.shared.registry import method_class
from tiny import PROMPTS, decode, method_of, tiny_stack

Params = method_class("plan").Params


@pytest.mark.parametrize(
    "written", [[7, 8, 9], "7-9", ["7-9"], "7,8-9", [9, 7, 8, 7], (7, "8 - 9".replace(" ", ""))]
)
def test_one_set_is_one_run_however_it_is_written(written):
    assert dataclasses.asdict(Params(skip_ffn=written)) == {
        "skip_layers": [],
        "skip_attention": [],
        "skip_ffn": [7, 8, 9],
    }


def test_a_layer_that_the_model_has_not():
    with pytest.raises(MethodError, match=r"skip_layers names layer 6, and the model has 6 \(0 to 5\)"):
        method_of("plan", tiny_stack("llama", layers=6), skip_layers="4-6")


def test_what_is_left_out_is_what_is_written():
    stack = tiny_stack("llama", layers=6)
    method = method_of("plan", stack, skip_layers=[1], skip_attention="2-3", skip_ffn=[3, 5])
    decoded = decode(method, PROMPTS[:1])
    assert [layer for layer, runs in enumerate(decoded.attention_runs[0]) if not runs] == [1, 2, 3]
    assert [layer for layer, runs in enumerate(decoded.ffn_runs[0]) if not runs] == [1, 3, 5]
