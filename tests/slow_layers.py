"""Layer-skipping methods written slowly: K,V of every token by position, one token at a time, no engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from exactness import DECISION_GAP
from slow_sequence import SlowSequence, cosine64, slow_sequence


@dataclass
class SlowLayersAnswer:
    """One row; `near[t]`: token t, or an exit before it, was decided by less than rounding may move."""

    tokens: list[int] = field(default_factory=list)
    near: list[bool] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    ffn_runs: list[int] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)


def _begin(model: Any, prompt: Sequence[int]) -> tuple[SlowSequence, SlowLayersAnswer]:
    sequence = slow_sequence(model)
    token, near = sequence.next_token(sequence.read(prompt))
    depth = len(sequence.layers)
    return sequence, SlowLayersAnswer([token], [near], [0] * depth, [0] * depth)


@torch.inference_mode()
def planned(
    model: Any,
    prompt: Sequence[int],
    new: int,
    active: Callable[[int], set[int]],
    *,
    propagate: bool = False,
    without_ffn: Callable[[int], set[int]] = lambda step: set(),
) -> SlowLayersAnswer:
    """Decode step i runs the layers active(i).

    Parameters
    ----------
    propagate : bool
        The other layers store K,V of the state that passes.
    without_ffn : callable
        Layers of which only the attention runs.
    """
    sequence, answer = _begin(model, prompt)
    for step in range(new - 1):
        at, runs, halves = [len(prompt) + step], active(step), without_ffn(step)
        state = sequence.embed(answer.tokens[-1:], at)
        for layer in range(len(sequence.layers)):
            if layer not in runs:
                if propagate:
                    sequence.store(layer, state, at)
                continue
            answer.runs[layer] += 1
            if layer in halves:
                state = sequence.attention(layer, state, at)
            else:
                state = sequence.layer(layer, state, at)
                answer.ffn_runs[layer] += 1
        token, near = sequence.next_token(state)
        answer.tokens.append(token)
        answer.near.append(near)
    return answer


@torch.inference_mode()
def early_exit(
    model: Any,
    prompt: Sequence[int],
    new: int,
    *,
    needed: Callable[[int], float],
    exits: Sequence[int],
    confidence: str,
    kv_policy: str,
) -> SlowLayersAnswer:
    """CALM by its definition: leave after the first of `exits` whose confidence reaches needed(step)."""
    sequence, answer = _begin(model, prompt)
    depth = len(sequence.layers)
    waiting: list[tuple[int, int, Tensor]] = []  # (layer in front of which, position, state)
    for step in range(new - 1):
        position, close, left = len(prompt) + step, False, depth - 1
        state = sequence.embed(answer.tokens[-1:], [position])
        for layer in range(depth):
            for place, (front, at, waiter) in enumerate(waiting):
                if front == layer:
                    waiting[place] = (layer + 1, at, sequence.layer(layer, waiter, [at]))
                    answer.runs[layer] += 1
            below, state = state, sequence.layer(layer, state, [position])
            answer.runs[layer] += 1
            if layer not in exits:
                continue
            if confidence == "saturation":
                sure = cosine64(below, state)
            else:
                top = sequence.logits(state).softmax(-1).topk(2).values
                sure = float(top[0] - top[1])
            answer.confidences.append(sure)
            close |= abs(sure - needed(step)) < DECISION_GAP
            if sure >= needed(step):
                left = layer
                break
        answer.exits.append(left)
        for layer in range(left + 1, depth):
            if kv_policy == "propagate":
                sequence.store(layer, state, [position])
            elif kv_policy == "copy":
                sequence.kv[layer][position] = sequence.kv[left][position]
        waiting = [one for one in waiting if one[0] < depth]
        if kv_policy == "defer" and left < depth - 1:
            waiting.append((left + 1, position, state))
        token, near = sequence.next_token(state)
        answer.tokens.append(token)
        answer.near.append(near or close)
    answer.ffn_runs = list(answer.runs)
    return answer
