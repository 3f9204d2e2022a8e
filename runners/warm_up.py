"""A few tokens off the clock, before anything is timed."""

import dataclasses
from collections.abc import Iterable

from methods.shared.method import Method
from runners.decoding import Decoding
from runners.halving import free, out_of_memory, told_if_too_large
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
        try:
            _decode(method, decoding, prompt, rows)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            fits = False
        else:
            fits = True
        if not fits:
            # Outside the except block, whose traceback would keep the tensors of the failed try alive.
            free()
            half = (rows + 1) // 2
            with told_if_too_large(half):
                _decode(method, decoding, prompt, half)
        method.load_state(state)


def _decode(method: Method, decoding: Decoding, prompt: Prompt, rows: int) -> None:
    decoding.run(method, [prompt] * rows, [("warm-up", row) for row in range(rows)])
