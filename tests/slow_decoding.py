"""FFN-SkipLLM's Algorithm 1 written slowly: K and V of every token in Python lists, no engine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exactness import DECISION_GAP, LOGIT_GAP

# What is written out below; the other families are held to transformers by the tests of `full`.
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gpt_neox")


@dataclass
class SlowAnswer:
    """One row; `near[t]`: token t, or a skip on the way to it, was decided by less than rounding may move."""

    tokens: list[int] = field(default_factory=list)
    near: list[bool] = field(default_factory=list)
    ffn_runs: list[int] = field(default_factory=list)
    attention_runs: list[int] = field(default_factory=list)
    skipped_steps: int = 0
    similarities: list[float] = field(default_factory=list)


class SlowSequence:
    """One sequence in plain torch: the model's norms, matrices and FFNs, and nothing else of it."""

    def __init__(self, model: Any):
        self.config = config = model.config
        self.neox = config.model_type == "gpt_neox"
        core = model.gpt_neox if self.neox else model.model
        self.layers = core.layers
        self.final_norm = core.final_layer_norm if self.neox else core.norm
        self.embedding, self.output = model.get_input_embeddings(), model.get_output_embeddings()
        self.heads = config.num_attention_heads
        self.kv_heads = getattr(config, "num_key_value_heads", None) or self.heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        share = config.rope_parameters.get("partial_rotary_factor", 1.0)
        self.rotary = int(self.width * share)
        even = torch.arange(0, self.rotary, 2, dtype=torch.float32)
        self.frequencies = 1.0 / config.rope_parameters["rope_theta"] ** (even / self.rotary)
        self.keys: list[list[Tensor]] = [[] for _ in self.layers]
        self.values: list[list[Tensor]] = [[] for _ in self.layers]

    def _window(self, layer: int) -> int:
        kinds = getattr(self.config, "layer_types", None)
        window = getattr(self.config, "sliding_window", None)
        if window is None or (kinds is not None and kinds[layer] != "sliding_attention"):
            return 10**9
        return window

    def _rotate(self, states: Tensor, position: int) -> Tensor:
        angles = position * self.frequencies
        cos, sin = angles.cos(), angles.sin()
        first, second = states[:, : self.rotary // 2], states[:, self.rotary // 2 : self.rotary]
        turned = (first * cos - second * sin, second * cos + first * sin)
        return torch.cat((*turned, states[:, self.rotary :]), dim=-1)

    def _projections(self, module: Any, normed: Tensor) -> tuple[Tensor, ...]:
        if self.neox:
            return module.query_key_value(normed).view(-1, self.heads, 3, self.width).unbind(2)
        q, k, v = (
            part(normed).view(len(normed), -1, self.width)
            for part in (module.q_proj, module.k_proj, module.v_proj)
        )
        if hasattr(module, "q_norm"):
            q, k = module.q_norm(q), module.k_norm(k)
        return q, k, v

    def attention(self, layer: int, states: Tensor) -> Tensor:
        """States [T, width] of the next T tokens after one layer's attention; their K,V join the lists."""
        block = self.layers[layer]
        module = block.attention if self.neox else block.self_attn
        projected = self._projections(module, block.input_layernorm(states))
        mixed = torch.stack([self._attend(layer, *one) for one in zip(*projected, strict=True)])
        return states + (module.dense if self.neox else module.o_proj)(mixed)

    def _attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        position = len(self.keys[layer])
        self.keys[layer].append(self._rotate(k, position))
        self.values[layer].append(v)
        first = max(0, position + 1 - self._window(layer))
        shared = self.heads // self.kv_heads
        keys = torch.stack(self.keys[layer][first:]).repeat_interleave(shared, dim=1)
        values = torch.stack(self.values[layer][first:]).repeat_interleave(shared, dim=1)
        scores = torch.einsum("hd,nhd->hn", self._rotate(q, position), keys) / math.sqrt(self.width)
        return torch.einsum("hn,nhd->hd", scores.softmax(-1), values).flatten()

    def ffn_output(self, layer: int, state: Tensor, layer_input: Tensor) -> Tensor:
        """What one layer's FFN adds to the states."""
        block = self.layers[layer]
        read = layer_input if self.neox and self.config.use_parallel_residual else state
        return block.mlp(block.post_attention_layernorm(read))

    def feed(self, tokens: list[int]) -> Tensor:
        """Tokens through every sub-layer; the state [1, width] of the last."""
        states = self.embed(tokens)
        for layer in range(len(self.layers)):
            layer_input, states = states, self.attention(layer, states)
            states = states + self.ffn_output(layer, states, layer_input)
        return states[-1:]

    def embed(self, tokens: list[int]) -> Tensor:
        return self.embedding(torch.tensor(tokens))

    def next_token(self, state: Tensor) -> tuple[int, bool]:
        """The greedy token, and whether the next best was too close to tell."""
        logits = self.output(self.final_norm(state))[0]
        best = logits.topk(2).values
        return int(logits.argmax()), bool(best[0] - best[1] < LOGIT_GAP)


def cosine64(a: Tensor, b: Tensor) -> float:
    """Cosine of two states [1, width] in float64, then rounded to float32."""
    x, y = a[0].double().numpy(), b[0].double().numpy()
    return float(np.float32(x @ y / (np.linalg.norm(x) * np.linalg.norm(y))))


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
    sequences = [SlowSequence(model) for _ in prompts]
    depth = len(sequences[0].layers)
    answers = [SlowAnswer(ffn_runs=[0] * depth, attention_runs=[0] * depth) for _ in prompts]
    for sequence, answer, prompt in zip(sequences, answers, prompts, strict=True):
        token, near = sequence.next_token(sequence.feed(prompt))
        answer.tokens.append(token)
        answer.near.append(near)
    for step in range(new - 1):
        live = [row for row, answer in enumerate(answers) if answer.tokens[-1] not in eos]
        states = {row: sequences[row].embed(answers[row].tokens[-1:]) for row in live}
        skip_left = dict.fromkeys(live, 0)
        skipped = dict.fromkeys(live, False)
        close = dict.fromkeys(live, False)
        for layer in range(depth):
            may_skip = step >= warmup and cold[0] <= layer < cold[1]
            wants_skip = {row: may_skip and skip_left[row] > 0 for row in live}
            for row in live:
                sequence, answer, layer_input = sequences[row], answers[row], states[row]
                states[row] = before = sequence.attention(layer, layer_input)
                answer.attention_runs[layer] += 1
                if wants_skip[row]:
                    skip_left[row] -= 1
                if wants_skip[row] and (not unanimous or all(wants_skip.values())):
                    skipped[row] = True
                    continue
                output = sequence.ffn_output(layer, before, layer_input)
                states[row] = before + output
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
