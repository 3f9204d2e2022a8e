"""Layer-skipping methods written slowly: K,V of every token by position, one token at a time, no engine."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from exactness import DECISION_GAP
from slow_decoding import SlowSequence, cosine64


@dataclass
class SlowLayersAnswer:
    """One row; `near[t]`: token t, or an exit before it, was decided by less than rounding may move."""

    tokens: list[int] = field(default_factory=list)
    near: list[bool] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)


class Positioned(SlowSequence):
    """A sequence whose layers may lack K,V at some positions."""

    def __init__(self, model: Any):
        super().__init__(model)
        self.kv: list[dict[int, tuple[Tensor, Tensor]]] = [{} for _ in self.layers]

    def store(self, layer: int, state: Tensor, position: int) -> Tensor:
        """This layer's own K,V of a state [1, width]; returns the query."""
        block = self.layers[layer]
        module = block.attention if self.neox else block.self_attn
        q, k, v = (part[0] for part in self._projections(module, block.input_layernorm(state)))
        self.kv[layer][position] = (self._rotate(k, position), v)
        return q

    def layer(self, layer: int, state: Tensor, position: int) -> Tensor:
        """One whole layer for one token; it sees what this layer holds, up to its own position."""
        q = self.store(layer, state, position)
        seen = [
            pair
            for at, pair in sorted(self.kv[layer].items())
            if position - self._window(layer) < at <= position
        ]
        shared = self.heads // self.kv_heads
        keys = torch.stack([k for k, _ in seen]).repeat_interleave(shared, dim=1)
        values = torch.stack([v for _, v in seen]).repeat_interleave(shared, dim=1)
        scores = torch.einsum("hd,nhd->hn", self._rotate(q, position), keys) / math.sqrt(self.width)
        mixed = torch.einsum("hn,nhd->hd", scores.softmax(-1), values).flatten()[None]
        block = self.layers[layer]
        after = state + (block.attention.dense if self.neox else block.self_attn.o_proj)(mixed)
        return after + self.ffn_output(layer, after, state)

    def read(self, prompt: Sequence[int]) -> Tensor:
        """The prompt in full; the state [1, width] of its last token."""
        for position, token in enumerate(prompt):
            state = self.embed([token])
            for layer in range(len(self.layers)):
                state = self.layer(layer, state, position)
        return state


def _begin(model: Any, prompt: Sequence[int]) -> tuple[Positioned, SlowLayersAnswer]:
    sequence = Positioned(model)
    token, near = sequence.next_token(sequence.read(prompt))
    return sequence, SlowLayersAnswer([token], [near], [0] * len(sequence.layers))


@torch.inference_mode()
def planned(
    model: Any, prompt: Sequence[int], new: int, active: Callable[[int], set[int]], propagate: bool = False
) -> SlowLayersAnswer:
    """Decode step i runs the layers active(i); `propagate`: the others store K,V of the passing state."""
    sequence, answer = _begin(model, prompt)
    for step in range(new - 1):
        state, runs = sequence.embed(answer.tokens[-1:]), active(step)
        for layer in range(len(sequence.layers)):
            if layer in runs:
                state = sequence.layer(layer, state, len(prompt) + step)
                answer.runs[layer] += 1
            elif propagate:
                sequence.store(layer, state, len(prompt) + step)
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
        position, state, close, left = (
            len(prompt) + step,
            sequence.embed(answer.tokens[-1:]),
            False,
            depth - 1,
        )
        for layer in range(depth):
            for place, (front, at, waiter) in enumerate(waiting):
                if front == layer:
                    waiting[place] = (layer + 1, at, sequence.layer(layer, waiter, at))
                    answer.runs[layer] += 1
            below, state = state, sequence.layer(layer, state, position)
            answer.runs[layer] += 1
            if layer not in exits:
                continue
            if confidence == "saturation":
                sure = cosine64(below, state)
            else:
                top = sequence.output(sequence.final_norm(state))[0].softmax(-1).topk(2).values
                sure = float(top[0] - top[1])
            answer.confidences.append(sure)
            close |= abs(sure - needed(step)) < DECISION_GAP
            if sure >= needed(step):
                left = layer
                break
        answer.exits.append(left)
        for layer in range(left + 1, depth):
            if kv_policy == "propagate":
                sequence.store(layer, state, position)
            elif kv_policy == "copy":
                sequence.kv[layer][position] = sequence.kv[left][position]
        waiting = [one for one in waiting if one[0] < depth]
        if kv_policy == "defer" and left < depth - 1:
            waiting.append((left + 1, position, state))
        token, near = sequence.next_token(state)
        answer.tokens.append(token)
        answer.near.append(near or close)
    return answer
