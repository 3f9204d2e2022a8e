"""A few tokens off the clock, before anything is timed."""

import dataclasses
from collections.abc import Iterable
from functools import partial

from methods.shared.method import Method
from runners.decoding import Answered, Decoding
from runners.halving import half_of, if_it_fits, told_if_too_large
from runners.prompts import Prompt

_TOKENS = 4


def warm_up(sides: Iterable[Method], decoding: Decoding, prompt: Prompt, rows: int) -> None:
    """Let methods decode a few tokens of one prompt, in as many rows as a batch will have.

    They must not learn from it. Where memory does not hold a batch, which will then be answered in halves,
    they decode half as many.

    Raises
    ------
    RunError
        Memory does not hold a half either, or not one row.
    """
    tokens = min(_TOKENS, decoding.max_new_tokens)
    decoding = dataclasses.replace(decoding, max_new_tokens=tokens, fixed_length=True)
    for method in sides:
        state = method.state()
        decode = partial(_decode, method, decoding, prompt)
        if if_it_fits(rows, partial(decode, rows)) is None:
            half = half_of(rows)
            with told_if_too_large(half):
                decode(half)
        method.load_state(state)


def _decode(method: Method, decoding: Decoding, prompt: Prompt, rows: int) -> list[Answered]:
    return decoding.run(method, [prompt] * rows, [("warm-up", row) for row in range(rows)])
