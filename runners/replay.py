"""Forced decoding: the method decodes the full model's tokens.

Texts diverge, so quality on a few hundred answers resolves little, and speeds are taken on different
sequences; a collapsed loop is even "confident" and fast. On the full model's own tokens every position can be
compared.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from methods.full import Full
from methods.shared.method import Method
from runners.decoding import Decoding
from runners.stopwatch import Clock, synchroniser
from tasks.base import Example


@dataclass(frozen=True)
class Forced:
    """One side's forced decoding of one batch.

    Attributes
    ----------
    logits : list of list of Tensor [vocabulary]
        By row and decode step.
    seconds : float
    """

    logits: list[list[Tensor]]
    seconds: float


def spread(examples: Sequence[Example], most: int) -> Sequence[Example]:
    """At most so many examples from all over a run: what they tell of the machine is true of all of it."""
    return examples[:: max(1, len(examples) // most)][:most] if most else []


def forced(
    decoding: Decoding,
    method: Method,
    prompts: Sequence[list[int]],
    keys: Sequence[tuple[str, int]],
    outputs: Sequence[list[int]],
    clock: Clock = time.perf_counter,
) -> Forced:
    """Decode given tokens.

    Parameters
    ----------
    outputs : sequence of list of int
        What every row has to say, at least one token each.
    """
    ends = [len(output) for output in outputs]
    batch = decoding.batch(
        method, prompts, keys, stopped=lambda row, ids: len(ids) >= ends[row], endless=True
    )
    synchronise = synchroniser(decoding.model.stack.device)
    logits: list[list[Tensor]] = [[] for _ in outputs]
    seconds = 0.0
    with torch.inference_mode():
        method.begin(batch)
        method.prefill(batch)
        if not batch.holds_back:
            batch.accept([[output[0]] for output in outputs], fed=0)
        while batch.live:
            live = batch.live
            synchronise()
            began = clock()
            step_logits = batch.stack.head(method.forward(*batch.decode_step())[:, -1])
            # Bringing the choice to the host is part of a step.
            step_logits.argmax(-1).tolist()
            synchronise()
            seconds += clock() - began
            for index, row in enumerate(live):
                logits[row].append(step_logits[index])
            batch.accept([[outputs[row][len(batch.outputs[row])]] for row in live], fed=1)
            batch.step_index += 1
    return Forced(logits, seconds)


def replayed(
    decoding: Decoding,
    method: Method,
    full: Full,
    prompts: Sequence[list[int]],
    keys: Sequence[tuple[str, int]],
    outputs: Sequence[list[int]],
    full_first: bool,
) -> list[dict[str, Any]]:
    """Agreement, divergence and speed of a method on the full model's tokens, as columns by row.

    Parameters
    ----------
    outputs : sequence of list of int
        The full model's answers.
    full_first : bool
        Which side runs first; a run alternates.
    """
    sides: list[Method] = [full, method] if full_first else [method, full]
    done = {side: forced(decoding, side, prompts, keys, outputs) for side in sides}
    rows = len(outputs)
    columns = []
    for own, reference in zip(done[method].logits, done[full].logits, strict=True):
        agreed, divergence = 0, 0.0
        if own:
            a, b = torch.stack(reference).float(), torch.stack(own).float()
            agreed = int((a.argmax(-1) == b.argmax(-1)).sum())
            a, b = a.log_softmax(-1), b.log_softmax(-1)
            divergence = float((a.exp() * (a - b)).sum())
        columns.append(
            {
                "replay_tokens": len(own),
                "replay_agreed": agreed,
                "replay_kl_sum": divergence,
                "replay_s": done[method].seconds / rows,
                "full_replay_s": done[full].seconds / rows,
            }
        )
    return columns
