"""Arithmetic that decides is float32."""

import pytest
import torch

from models.numerics import cosine


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_cosine_is_float32_whatever_comes_in(dtype):
    a, b = torch.randn(2, 6, 50, generator=torch.Generator().manual_seed(3)).to(dtype)
    got, wide = cosine(a, b), (a.double(), b.double())
    wanted = (wide[0] * wide[1]).sum(-1) / (wide[0].norm(dim=-1) * wide[1].norm(dim=-1))
    assert got.dtype == torch.float32 and got.shape == (6,)
    torch.testing.assert_close(got.double(), wanted, atol=1e-6, rtol=0)


def test_cosine_tells_apart_what_bfloat16_cannot():
    """bfloat16 has three values between .98 and .99."""
    a = torch.tensor([1.0, 0.0])
    b = torch.tensor([[1.0, x] for x in torch.linspace(0.145, 0.2, 12)]).bfloat16()
    values = cosine(a.expand(12, 2).bfloat16(), b)
    assert len(values.unique()) == 12 and len(values.bfloat16().unique()) < 6


def test_cosine_is_clipped():
    a = torch.rand(2000, 33, generator=torch.Generator().manual_seed(0))
    for factor in (3.7, -0.2):
        values = cosine(a, a * factor)
        assert values.abs().max() <= 1
        torch.testing.assert_close(values, torch.full((2000,), factor / abs(factor)))


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_cosine_does_not_depend_on_length(scale):
    a, b = torch.randn(2, 50, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(cosine(a * scale, b * scale), cosine(a, b))


def test_a_state_of_zeros_has_no_direction():
    assert cosine(torch.zeros(4), torch.ones(4)) == 0
    assert cosine(torch.zeros(4), torch.zeros(4)) == 0
