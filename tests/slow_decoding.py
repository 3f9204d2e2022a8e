"""FFN-SkipLLM's Algorithm 1 written slowly: one row, one token, one sub-layer at a time, no engine."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from exactness import DECISION_GAP
from slow_sequence import cosine64, slow_sequence


@dataclass
class SlowAnswer:
    """One row; `near[t]`: token t, or a skip on the way to it, was decided by less than rounding may move."""

    tokens: list[int] = field(default_factory=list)
    near: list[bool] = field(default_factory=list)
    ffn_runs: list[int] = field(default_factory=list)
    attention_runs: list[int] = field(default_factory=list)
    skipped_steps: int = 0
    similarities: list[float] = field(default_factory=list)


@torch.inference_mode()
def ffn_skip_llm(
    model: Any,
    prompts: Sequence[list[int]],
    *,
    new: int,
    eos: frozenset[int] = frozenset(),
    threshold: float,
    skip_span: int | None,
    similarity: str = "residual",
    warmup: int = 0,
    cold: tuple[int, int],
    unanimous: bool = False,
) -> list[SlowAnswer]:
    """Algorithm 1 for rows in lockstep.

    Parameters
    ----------
    warmup : int
        Decode steps in full.
    cold : (int, int)
        First layer that may be skipped, and the first that may not any more.
    unanimous : bool
        Skip an FFN only when every row that still runs would skip it.
    """
    sequences = [slow_sequence(model) for _ in prompts]
    depth = len(sequences[0].layers)
    answers = [SlowAnswer(ffn_runs=[0] * depth, attention_runs=[0] * depth) for _ in prompts]
    for sequence, answer, prompt in zip(sequences, answers, prompts, strict=True):
        token, near = sequence.next_token(sequence.read(prompt))
        answer.tokens.append(token)
        answer.near.append(near)
    for step in range(new - 1):
        live = [row for row, answer in enumerate(answers) if answer.tokens[-1] not in eos]
        positions = {row: [len(prompts[row]) + step] for row in live}
        states = {row: sequences[row].embed(answers[row].tokens[-1:], positions[row]) for row in live}
        skip_left = dict.fromkeys(live, 0)
        skipped = dict.fromkeys(live, False)
        close = dict.fromkeys(live, False)
        for layer in range(depth):
            may_skip = step >= warmup and cold[0] <= layer < cold[1]
            wants_skip = {row: may_skip and skip_left[row] > 0 for row in live}
            for row in live:
                sequence, answer, layer_input = sequences[row], answers[row], states[row]
                states[row] = before = sequence.attention(layer, layer_input, positions[row])
                answer.attention_runs[layer] += 1
                if wants_skip[row]:
                    skip_left[row] -= 1
                if wants_skip[row] and (not unanimous or all(wants_skip.values())):
                    skipped[row] = True
                    continue
                output = sequence.ffn_output(layer, before, layer_input)
                states[row] = sequence.after_ffn(layer, before, output)
                answer.ffn_runs[layer] += 1
                if may_skip and not wants_skip[row]:
                    value = cosine64(before, states[row] if similarity == "residual" else output)
                    answer.similarities.append(value)
                    close[row] |= abs(value - threshold) < DECISION_GAP
                    if value >= threshold:
                        skip_left[row] = cold[1] - layer - 1 if skip_span is None else skip_span
        for row in live:
            token, near = sequences[row].next_token(states[row])
            answers[row].tokens.append(token)
            answers[row].near.append(near or close[row])
            answers[row].skipped_steps += skipped[row]
    return answers
