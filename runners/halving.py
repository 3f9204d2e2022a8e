"""A batch that does not fit into memory, answered in two halves."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from runners.errors import RunError
from runners.pair import Pair
from tasks.base import Example


@dataclass(frozen=True)
class Fitted:
    """The rows of a batch, and whether it had to be halved for them."""

    rows: list[dict[str, Any]]
    halved: bool


def fitted_rows(pair: Pair, examples: Sequence[Example], number: int) -> Fitted:
    """Answer a batch; if memory runs out, once more in two halves, which keep the batch's number.

    Raises
    ------
    RunError
        A half does not fit either, or a single example does not.
    """
    state = pair.method.state()
    try:
        return Fitted(pair.rows(examples, number), halved=False)
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
        if len(examples) == 1:
            raise _too_large(1) from error
    # Outside the except block, whose traceback would keep the tensors of the failed try alive.
    _free()
    # A method that learns has seen part of the batch.
    pair.method.load_state(state)
    middle = (len(examples) + 1) // 2
    try:
        rows = pair.rows(examples[:middle], number) + pair.rows(examples[middle:], number)
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
        raise _too_large(middle) from error
    return Fitted(rows, halved=True)


def _out_of_memory(error: RuntimeError) -> bool:
    # On a host torch has no class for it.
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _too_large(rows: int) -> RunError:
    asked = "lower batch_size or max_new_tokens" if rows > 1 else "lower max_new_tokens or max_prompt_tokens"
    return RunError(f"out of memory with {rows} examples at a time; {asked}, or choose a smaller dtype")


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
