"""Drafting that loses by the clock is stopped, and what trying costs is bounded."""

import pytest

from methods.shared.payoff import AGAIN, PAUSE, PROBE, TRIAL, Payoff
from tiny import PROMPTS, decode, method_of, tiny_stack


def played(payoff, passes, drafted, plain=(1, 1.0)):
    """Which passes drafted; `drafted` and `plain` are (tokens, seconds) of a pass."""
    tries = []
    for _ in range(passes):
        tries.append(payoff.tries)
        payoff.took(*(drafted if payoff.tries else plain))
    return tries


def test_losing_trials_become_rare():
    """Two tokens for three times the time of one: a trial now and then, after pauses that double."""
    payoff, expected = Payoff(), [False] * PROBE
    for lost in range(5):
        expected += [True] * TRIAL + [False] * PAUSE * 2**lost
    tries = played(payoff, len(expected), (2, 3.0))
    assert tries == expected
    tokens = sum(2 if tried else 1 for tried in tries)
    seconds = sum(3.0 if tried else 1.0 for tried in tries)
    assert seconds / tokens < 1.04, "within four per cent of plain decoding"


@pytest.mark.parametrize("drafted", [(3, 2.0), (2, 2.0)], ids=["wins", "draws"])
def test_what_does_not_lose_goes_on(drafted):
    """But for a few plain passes now and then, which say whether it still does not."""
    tries = played(Payoff(), 3 * (PROBE + AGAIN * TRIAL), drafted)
    assert tries == ([False] * PROBE + [True] * AGAIN * TRIAL) * 3


def test_a_turn_for_the_worse_is_noticed_and_one_for_the_better_too():
    payoff = Payoff()
    played(payoff, PROBE + 3 * TRIAL, (3, 2.0))
    assert played(payoff, TRIAL + 1, (1, 2.0)) == [True] * TRIAL + [False]
    played(payoff, PAUSE - 1, (3, 2.0))
    assert all(played(payoff, 5 * TRIAL, (3, 2.0)))
    # A win forgets the losses before it: the next pause is short again.
    played(payoff, TRIAL, (1, 2.0))
    assert played(payoff, PAUSE + 1, (3, 2.0)) == [False] * PAUSE + [True]


def test_the_output_stays_the_same_and_pauses_are_counted(monkeypatch):
    """A clock that stands still for plain passes: drafting always loses."""
    stack = tiny_stack("llama")
    prompt = PROMPTS[0] * 3
    wanted = decode(method_of("full", stack), [prompt], new=60).outputs
    method = method_of("prompt_lookup", stack, stop_when_losing=True)
    now = 0.0

    def clock():
        nonlocal now
        now += 1.0 if method.payoff.tries else 1e-6
        return now

    method.payoff.clock = clock
    assert decode(method, [prompt], new=60).outputs == wanted
    columns = method.columns(0)
    assert columns["paused_steps"] == columns["verify_steps"] - TRIAL > PROBE
    assert columns["drafted"] > 0 and sum(columns["accepted_lengths"]) == 59
    always = method_of("prompt_lookup", stack)
    decode(always, [prompt], new=60)
    assert always.columns(0)["paused_steps"] is None
    # What another process, or the warm-up, measured is forgotten.
    method.load_state(method.state())
    assert not method.payoff.tries
