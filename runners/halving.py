"""A batch that does not fit into memory, answered in two halves."""

import gc
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from runners.errors import RunError
from runners.pair import Pair
from tasks.base import Example

T = TypeVar("T")


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
    whole = if_it_fits(len(examples), lambda: pair.rows(examples, number))
    if whole is not None:
        return Fitted(whole, halved=False)
    # A method that learns has seen part of the batch.
    pair.method.load_state(state)
    middle = half_of(len(examples))
    with told_if_too_large(middle):
        rows = pair.rows(examples[:middle], number) + pair.rows(examples[middle:], number)
    return Fitted(rows, halved=True)


def half_of(rows: int) -> int:
    """The larger half of a batch."""
    return (rows + 1) // 2


def if_it_fits(rows: int, work: Callable[[], T]) -> T | None:
    """What some work on so many rows returns, or None if memory runs out and fewer can be tried.

    Raises
    ------
    RunError
        Memory runs out with one row.
    """
    if rows == 1:
        with told_if_too_large(1):
            return work()
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
    # Outside the except block, whose traceback would keep the tensors of the failed try alive.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


@contextmanager
def told_if_too_large(rows: int) -> Iterator[None]:
    """Turn an error for want of memory, with so many examples at a time, into a one-line `RunError`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        raise _too_large(rows) from error


# On a host, and in libraries of CUDA, torch has no class for it.
_OUT_OF_MEMORY = re.compile(r"DefaultCPUAllocator|out of memory|_ALLOC_FAILED")


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def _too_large(rows: int) -> RunError:
    asked = "lower batch_size or max_new_tokens" if rows > 1 else "lower max_new_tokens or max_prompt_tokens"
    return RunError(f"out of memory with {rows} examples at a time; {asked}, or choose a smaller dtype")
