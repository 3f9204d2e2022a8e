"""Choosing tokens: transformers' distributions, and random numbers that belong to a turn of an example."""

import pytest
import torch
from scipy.stats import chisquare
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from models.errors import ModelError
from models.sampling import Sampler, generator

LOGITS = torch.randn(5, 300, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("top_k", [None, 1, 7, 300, 1000])
@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.5, 0.01])
def test_distribution_equals_transformers(temperature, top_k, top_p):
    wanted = TemperatureLogitsWarper(temperature)(None, LOGITS)
    if top_k is not None:
        wanted = TopKLogitsWarper(top_k)(None, wanted)
    if top_p < 1:
        wanted = TopPLogitsWarper(top_p)(None, wanted)
    got = Sampler(temperature, top_k, top_p).distribution(LOGITS)
    torch.testing.assert_close(got, wanted.softmax(-1), atol=1e-6, rtol=0)
    assert torch.equal(got > 0, wanted > -torch.inf)


def test_top_p_keeps_no_token_once_it_is_reached():
    even = torch.zeros(1, 4)
    assert (Sampler(1.0, None, 0.5).distribution(even) > 0).sum() == 2
    assert (TopPLogitsWarper(0.5)(None, even) > -torch.inf).sum() == 2


def test_greedy_is_one_hot_and_draws_nothing():
    drawn = generator(0, "a", 0)
    before = drawn.get_state()
    assert Sampler().sample(LOGITS, [drawn] * 5) == LOGITS.argmax(-1).tolist()
    assert torch.equal(drawn.get_state(), before)
    hot = Sampler().distribution(LOGITS)
    assert torch.equal(hot.argmax(-1), LOGITS.argmax(-1)) and (hot.sum(-1) == 1).all()


@pytest.mark.parametrize("sampler", [Sampler(1.0), Sampler(0.7, 12), Sampler(1.3, None, 0.8)], ids=str)
def test_samples_follow_the_distribution(sampler):
    draws, logits = 20_000, LOGITS[:1, :40]
    wanted = sampler.distribution(logits)[0].double()
    drawn = sampler.sample(logits.expand(draws, -1), [generator(1, "chi", 0)] * draws)
    counts = torch.bincount(torch.tensor(drawn), minlength=40).double()
    assert counts[wanted == 0].sum() == 0
    # Rare tokens together, so that every cell expects enough for the test to hold.
    rare = wanted * draws < 8
    cells = [torch.cat([part[~rare], part[rare].sum()[None]]) for part in (counts, wanted * draws)]
    cells = [part[cells[1] > 0] for part in cells]
    cells[1] *= draws / cells[1].sum()
    assert chisquare(*(part.numpy() for part in cells)).pvalue > 1e-3


def test_low_precision_logits_are_judged_in_float32():
    got = Sampler(1.0).distribution(LOGITS.bfloat16())
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.sum(-1), torch.ones(5), atol=1e-6, rtol=0)


def test_random_numbers_belong_to_seed_example_turn_and_purpose():
    keys = [
        (0, "a", 0),
        (1, "a", 0),
        (0, "b", 0),
        (0, "a", 1),
        (0, "a", 0, "method"),
        (0, "a1", 0),
        (0, "a", 10),
    ]
    first, again = ([torch.rand(4, generator=generator(*key)).tolist() for key in keys] for _ in range(2))
    assert first == again
    assert len(set(map(tuple, first))) == len(keys)


def test_a_row_draws_the_same_whatever_stands_beside_it():
    sampler = Sampler(1.0)
    together = [generator(0, str(row), 0) for row in range(5)]
    alone = generator(0, "3", 0)
    for _ in range(20):
        assert sampler.sample(LOGITS, together)[3] == sampler.sample(LOGITS[3:4], [alone])[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", 1e-45),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.1),
    ],
)
def test_a_value_out_of_range(name, value):
    with pytest.raises(ModelError, match=name) as error:
        Sampler(**{name: value})
    assert "\n" not in str(error.value)
