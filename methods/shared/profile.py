"""The full model's decode steps on calibration prompts, and what a method would have decided in them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from methods.shared.errors import MethodError
from methods.shared.method import Method
from models.batch import Batch


class Seen(NamedTuple):
    """States of one layer in one decode step, [rows, width]: below it, before its FFN, the FFN's bare output,
    and above it."""

    below: Tensor
    before: Tensor
    output: Tensor
    above: Tensor


# What a method decides by in a layer, [rows]; None where it does not look.
Signal = Callable[[int, Seen], Tensor | None]


@dataclass(frozen=True)
class Profile:
    """Decode steps of the full model.

    Attributes
    ----------
    max_new_tokens : int
        Limit of the answers.
    lengths : list of int
        Decode steps of each answer.
    signals : Tensor [sum of lengths, layers], float32
        What a method decides by in every step of the first answer, then of the second, and so on; NaN where
        it does not look.
    """

    max_new_tokens: int
    lengths: list[int]
    signals: Tensor

    def as_json(self) -> dict[str, Any]:
        """What `of_json` takes back, up to a millionth."""
        signals = [[round(value, 6) for value in step] for step in self.signals.tolist()]
        return {"max_new_tokens": self.max_new_tokens, "lengths": self.lengths, "signals": signals}

    @classmethod
    def of_json(cls, stored: dict[str, Any]) -> "Profile":
        """What `as_json` gave; LookupError, TypeError or ValueError for anything else."""
        signals = torch.tensor(stored["signals"], dtype=torch.float32)
        lengths = [int(length) for length in stored["lengths"]]
        if signals.dim() != 2 or sum(lengths) != len(signals):
            raise ValueError("a profile has as many signals as steps")
        return cls(int(stored["max_new_tokens"]), lengths, signals)

    @property
    def indices(self) -> Tensor:
        """Which step of its answer each step is, [sum of lengths], int64."""
        return torch.cat([torch.arange(length) for length in self.lengths])


def full_steps(full: Method, batches: Iterable[Batch]) -> Iterator[tuple[Batch, list[Seen]]]:
    """Decode batches with the full model; every decode step with what each layer saw, before its tokens are
    taken.

    Parameters
    ----------
    full : Method
        The full model, bound.
    batches : iterable of Batch
        Of prompts that are never scored; each is finished before the next is asked for.

    Raises
    ------
    MethodError
        There was no decode step.
    """
    stack, steps = full.stack, 0
    for batch in batches:
        if first := full.prefill(batch):
            batch.accept(first, fed=0)
        while batch.live:
            ids, step = batch.decode_step()
            hidden, seen = stack.embed(ids, step), []
            for layer in stack.layers:
                below, before = hidden, layer.attention(hidden, step)
                hidden, output = layer.ffn_measured(before, below, _output)
                seen.append(Seen(below[:, -1], before[:, -1], output[:, -1], hidden[:, -1]))
            yield batch, seen
            steps += batch.rows
            batch.accept(batch.sample(stack.head(hidden[:, -1])), fed=1)
    if not steps:
        raise MethodError(
            "the calibration prompts yielded no decode step: every answer ended with its first token; "
            "raise max_new_tokens if it is 1, or take a file of other prompts (task.source=file)"
        )


def profile(full: Method, batches: Iterable[Batch], signal: Signal) -> Profile:
    """What a method would have decided by; parameters and errors as of `full_steps`."""
    answers: dict[tuple[int, int], list[Tensor]] = {}
    number, current, limit = -1, None, 0
    for batch, seen in full_steps(full, batches):
        if batch is not current:
            number, current, limit = number + 1, batch, batch.max_new_tokens
        found = [signal(layer, states) for layer, states in enumerate(seen)]
        missing = torch.full((batch.rows,), float("nan"))
        signals = torch.stack([missing if one is None else one.float().cpu() for one in found], dim=1)
        for row, values in zip(batch.live, signals, strict=True):
            answers.setdefault((number, row), []).append(values)
    return Profile(
        limit,
        [len(steps) for steps in answers.values()],
        torch.stack([values for steps in answers.values() for values in steps]),
    )


def _output(before: Tensor, output: Tensor, after: Tensor) -> Tensor:
    return output
