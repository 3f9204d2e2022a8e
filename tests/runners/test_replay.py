"""Forced decoding against the same thing done slowly, and against a fake clock."""

import itertools

import pytest
import torch
from scipy.special import log_softmax, rel_entr

from exactness import assert_rounded
from models.loading import LoadedModel
from models.sampling import Sampler
from runners.decoding import Decoding
from runners.replay import forced, replayed, spread
from slow_sequence import slow_sequence
from tiny import PROMPTS, method_of, prompts_of, tiny_stack

DEPTH = 6
GIVEN = prompts_of((7, 1, 5, 3), seed=5)
KEYS = [(str(row), 0) for row in range(4)]


def decoding_on(stack, hold_back=False):
    # Token 0 ends an answer, and replay must not care.
    model = LoadedModel(stack, tokenizer=None, eos=frozenset({0}), revision=None)
    return Decoding(model, Sampler(), seed=0, max_new_tokens=9, hold_back=hold_back)


@pytest.fixture(scope="module")
def stack():
    return tiny_stack("qwen2_window", layers=DEPTH)


def slow_logits(stack, prompt, given, layers):
    """Float64 logits [steps, vocabulary] after each given token but the last, decoded by some layers."""
    sequence, logits = slow_sequence(stack.model), []
    with torch.inference_mode():
        sequence.read(prompt)
        for place, token in enumerate(given[:-1]):
            at = [len(prompt) + place]
            state = sequence.embed([token], at)
            for layer in layers:
                state = sequence.layer(layer, state, at)
            logits.append(sequence.logits(state).double().numpy())
    return logits


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [0], [1]])
@pytest.mark.parametrize("full_first", [True, False])
def test_agreement_and_divergence_by_definition(stack, rows, full_first):
    method, full = method_of("drop_last", stack, layers=2), method_of("full", stack)
    given, prompts = [GIVEN[row] for row in rows], [PROMPTS[row] for row in rows]
    keys = [KEYS[row] for row in rows]
    columns = replayed(decoding_on(stack), method, full, prompts, keys, given, full_first)
    for row, got in zip(rows, columns, strict=True):
        whole = slow_logits(stack, PROMPTS[row], GIVEN[row], range(DEPTH))
        part = slow_logits(stack, PROMPTS[row], GIVEN[row], range(DEPTH - 2))
        assert got["replay_tokens"] == len(whole) == len(GIVEN[row]) - 1
        assert got["replay_agreed"] == sum(a.argmax() == b.argmax() for a, b in zip(whole, part, strict=True))
        kl = sum(
            rel_entr(*(torch.exp(torch.tensor(log_softmax(one))).numpy() for one in pair)).sum()
            for pair in zip(whole, part, strict=True)
        )
        assert got["replay_kl_sum"] == pytest.approx(kl, rel=1e-4, abs=1e-6)
    tokens = sum(len(one) - 1 for one in given)
    agreed = sum(one["replay_agreed"] for one in columns)
    assert tokens == 0 or agreed < tokens, "a method that drops a third of the layers differs somewhere"


def test_tokens_are_given_not_chosen(stack):
    """Even an EOS in their midst ends nothing."""
    given = [[5, 0, 0, *range(10, 16)]]
    result = forced(decoding_on(stack), method_of("full", stack), PROMPTS[:1], KEYS[:1], given)
    assert len(result.logits[0]) == len(given[0]) - 1
    for got, wanted in zip(
        result.logits[0], slow_logits(stack, PROMPTS[0], given[0], range(DEPTH)), strict=True
    ):
        assert_rounded(got, torch.tensor(wanted, dtype=got.dtype))


def test_a_held_back_prompt_gives_one_position_more(stack):
    """Step 0 then feeds the prompt's last token, so that token 0 is compared too."""
    plain, held = (
        forced(decoding_on(stack, hold), method_of("full", stack), PROMPTS, KEYS, GIVEN)
        for hold in (False, True)
    )
    for row, given in enumerate(GIVEN):
        assert (len(plain.logits[row]), len(held.logits[row])) == (len(given) - 1, len(given))
        for one, other in zip(plain.logits[row], held.logits[row][1:], strict=True):
            assert_rounded(one, other)


def test_only_decode_steps_are_timed(stack):
    """A clock that advances a second a look: a step takes one, prefill nothing."""
    clock = itertools.count().__next__
    result = forced(decoding_on(stack), method_of("full", stack), PROMPTS, KEYS, GIVEN, clock=clock)
    assert result.seconds == max(len(given) for given in GIVEN) - 1


def test_random_draws_are_those_of_the_row(stack):
    """The same row draws the same sets again, whatever runs beside it."""
    method = method_of("random_layer", stack, share=0.5)
    together = forced(decoding_on(stack), method, PROMPTS, KEYS, GIVEN)
    alone = forced(decoding_on(stack), method, PROMPTS[2:3], KEYS[2:3], GIVEN[2:3])
    for one, other in zip(together.logits[2], alone.logits[0], strict=True):
        assert_rounded(one, other)


def test_what_is_replayed_is_spread_over_the_run():
    examples = list(range(100))
    assert spread(examples, 8) == [0, 12, 24, 36, 48, 60, 72, 84]
    assert spread(examples, 100) == examples and spread(examples, 64) == examples[:64]
    assert spread(examples[:3], 8) == [0, 1, 2] and spread(examples, 0) == []
