"""From Python too, a method that does not know what to leave out says so instead of leaving out nothing."""

import pytest
import torch

from methods.shared.errors import MethodError
from tiny import batch_of, method_of, prompts_of, tiny_stack

STACK = "llama"


@pytest.mark.parametrize(
    ("name", "params", "match"),
    [
        ("ffnskip", {"target_skip": 0.3}, "threshold is neither given nor solved for target_skip=0.3"),
        ("random_ffn", {}, "share is neither given nor solved"),
        ("early_exit", {}, "threshold is neither given nor solved"),
        ("shortgpt", {"layers": 1}, "ShortGPT is not calibrated; call calibrate"),
        ("static_ffn", {"count": 2}, "StaticFFN is not calibrated; call calibrate"),
    ],
)
def test_what_is_not_known_is_said(name, params, match):
    stack = tiny_stack(STACK)
    method = method_of(name, stack, **params)
    with pytest.raises(MethodError, match=match):
        method.begin(batch_of(stack))


@pytest.mark.parametrize("params", [{"threshold": 0.9}, {"threshold": None, "target_skip": None}])
def test_what_is_given_or_left_off_on_purpose_runs(params):
    stack = tiny_stack(STACK)
    method_of("ffnskip", stack, **params).begin(batch_of(stack))


def test_calibrated_it_runs():
    stack = tiny_stack(STACK)
    method = method_of("shortgpt", stack, layers=1)
    with torch.inference_mode():
        method.calibrate([batch_of(stack, prompts_of((9, 5)), new=4)])
    method.begin(batch_of(stack))
    assert len(method.dropped) == 1


@pytest.mark.parametrize("rows", [[0, 2], (0, 2), range(0, 3, 2), torch.tensor([True, False, True, False])])
def test_rows_as_lists_and_masks(rows):
    stack = tiny_stack(STACK)
    batch = batch_of(stack)
    with torch.inference_mode():
        stack.reserve(4, 32)
        hidden = torch.randn(4, 1, 32, generator=torch.Generator().manual_seed(0))
        layer = stack.layers[0]
        wanted = layer.ffn(hidden, hidden, torch.tensor([0, 2]))
        assert torch.equal(layer.ffn(hidden, hidden, rows), wanted)
        after, measured = layer.ffn_measured(hidden, hidden, lambda before, output, after: output, rows)
        assert torch.equal(after, wanted) and len(measured) == 2
    assert batch
