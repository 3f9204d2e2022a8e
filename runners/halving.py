"""A batch that does not fit into memory, answered in two halves."""

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        if len(examples) == 1:
            raise too_large(1) from error
    # Outside the except block, whose traceback would keep the tensors of the failed try alive.
    free()
    # A method that learns has seen part of the batch.
    pair.method.load_state(state)
    middle = (len(examples) + 1) // 2
    with told_if_too_large(middle):
        rows = pair.rows(examples[:middle], number) + pair.rows(examples[middle:], number)
    return Fitted(rows, halved=True)


@contextmanager
def told_if_too_large(rows: int) -> Iterator[None]:
    """Turn an error for want of memory, with so many examples at a time, into a one-line `RunError`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise too_large(rows) from error


# On a host, and in libraries of CUDA, torch has no class for it.
_OUT_OF_MEMORY = re.compile(r"DefaultCPUAllocator|out of memory|_ALLOC_FAILED")


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory has run out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def too_large(rows: int) -> RunError:
    """The error of so many examples at a time that do not fit."""
    asked = "lower batch_size or max_new_tokens" if rows > 1 else "lower max_new_tokens or max_prompt_tokens"
    return RunError(f"out of memory with {rows} examples at a time; {asked}, or choose a smaller dtype")


def free() -> None:
    """Give back what a failed try held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
