"""Ten families in plain torch: K,V by layer and position in dictionaries, one query at a time, no engine.

Of a transformers model this uses norms, matrices and FFN modules, nothing else: where they stand, how heads
are cut, keys turned, scores capped and windows drawn is written out here, a second time and independently.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exactness import LOGIT_GAP


class SlowSequence:
    """One sequence of a Llama-like model (Llama, Mistral, Qwen2, Qwen3); the other families say what they do
    otherwise.

    Attributes
    ----------
    kv : list of dict of int to (Tensor [heads, width], Tensor [heads, width])
        Keys, turned, and values by layer and position. A layer may lack some.
    """

    attention_path, output_path = "self_attn", "o_proj"
    attention_norm, ffn_norm = "input_layernorm", "post_attention_layernorm"

    def __init__(self, model: Any):
        self.config = model.config
        self.core = model.base_model
        self.embedding, self.output = model.get_input_embeddings().weight, model.get_output_embeddings()
        self.heads = self.config.num_attention_heads
        self.kv_heads = getattr(self.config, "num_key_value_heads", None) or self.heads
        self.width = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.heads
        self.scale = 1 / math.sqrt(self.width)
        self.kv: list[dict[int, tuple[Tensor, Tensor]]] = [{} for _ in self.layers]

    @property
    def layers(self) -> Any:
        return self.core.layers

    # Before and after the layers.

    def embed(self, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        """States [T, width] of tokens."""
        return self.embedding[list(tokens)]

    def final_norm(self, state: Tensor) -> Tensor:
        return self.core.norm(state)

    def logits(self, state: Tensor) -> Tensor:
        """Logits [vocabulary] of a state [1, width]."""
        return self.output(self.final_norm(state))[0]

    def next_token(self, state: Tensor) -> tuple[int, bool]:
        """The greedy token, and whether the next best was too close to tell."""
        logits = self.logits(state)
        best = logits.topk(2).values
        return int(logits.argmax()), bool(best[0] - best[1] < LOGIT_GAP)

    # Attention.

    def block(self, layer: int) -> tuple[Any, Any]:
        """A layer's module and its attention module."""
        return self.layers[layer], getattr(self.layers[layer], self.attention_path)

    def window(self, layer: int) -> int | None:
        kinds = getattr(self.config, "layer_types", None)
        if kinds is not None and kinds[layer] != "sliding_attention":
            return None
        return getattr(self.config, "sliding_window", None)

    def rope(self, layer: int) -> dict[str, Any]:
        return self.config.rope_parameters

    def rotate(self, layer: int, states: Tensor, position: int) -> Tensor:
        """Heads [n, width] turned to a position."""
        rope = self.rope(layer)
        turned = int(self.width * rope.get("partial_rotary_factor", 1.0))
        even = torch.arange(0, turned, 2, dtype=torch.float32)
        angles = position / rope["rope_theta"] ** (even / turned)
        cos, sin = angles.cos(), angles.sin()
        first, second = states[:, : turned // 2], states[:, turned // 2 : turned]
        return torch.cat((first * cos - second * sin, second * cos + first * sin, states[:, turned:]), dim=-1)

    def project(self, attention: Any, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [T, heads, width] of normed states, not turned yet."""
        q, k, v = (
            getattr(attention, name)(normed).unflatten(-1, (-1, self.width))
            for name in ("q_proj", "k_proj", "v_proj")
        )
        if hasattr(attention, "q_norm"):
            q, k = attention.q_norm(q), attention.k_norm(k)
        return q, k, v

    def before_attention(self, block: Any, states: Tensor) -> Tensor:
        return getattr(block, self.attention_norm)(states)

    def after_attention(self, block: Any, states: Tensor, output: Tensor) -> Tensor:
        return states + output

    def cap(self, scores: Tensor) -> Tensor:
        return scores

    def store(self, layer: int, states: Tensor, positions: Sequence[int]) -> Tensor:
        """This layer's own K,V of states [T, width]; returns their queries [T, heads, width]."""
        block, attention = self.block(layer)
        queries = []
        parts = zip(*self.project(attention, self.before_attention(block, states)), strict=True)
        for position, (q, k, v) in zip(positions, parts, strict=True):
            self.kv[layer][position] = (self.rotate(layer, k, position), v)
            queries.append(self.rotate(layer, q, position))
        return torch.stack(queries)

    def attention(self, layer: int, states: Tensor, positions: Sequence[int]) -> Tensor:
        """States [T, width] after one layer's attention; each sees what the layer holds up to itself."""
        block, module = self.block(layer)
        queries = self.store(layer, states, positions)
        mixed = [self._attend(layer, q, position) for q, position in zip(queries, positions, strict=True)]
        return self.after_attention(block, states, getattr(module, self.output_path)(torch.stack(mixed)))

    def _attend(self, layer: int, query: Tensor, position: int) -> Tensor:
        window = self.window(layer)
        first = 0 if window is None else position + 1 - window
        seen = [pair for at, pair in sorted(self.kv[layer].items()) if first <= at <= position]
        shared = self.heads // self.kv_heads
        keys = torch.stack([k for k, _ in seen]).repeat_interleave(shared, dim=1)
        values = torch.stack([v for _, v in seen]).repeat_interleave(shared, dim=1)
        scores = self.cap(torch.einsum("hd,nhd->hn", query, keys) * self.scale)
        return torch.einsum("hn,nhd->hd", scores.softmax(-1), values).flatten()

    # FFN.

    def ffn_output(self, layer: int, state: Tensor, layer_input: Tensor) -> Tensor:
        """What one layer's FFN adds to the states."""
        block, _ = self.block(layer)
        return block.mlp(getattr(block, self.ffn_norm)(state))

    def after_ffn(self, layer: int, state: Tensor, output: Tensor) -> Tensor:
        """The states after the FFN."""
        return state + output

    def layer(self, layer: int, states: Tensor, positions: Sequence[int]) -> Tensor:
        """One whole layer."""
        after = self.attention(layer, states, positions)
        return self.after_ffn(layer, after, self.ffn_output(layer, after, states))

    def read(self, tokens: Sequence[int]) -> Tensor:
        """The first tokens of a sequence through every sub-layer; the state [1, width] of the last."""
        positions = range(len(tokens))
        states = self.embed(tokens, positions)
        for layer in range(len(self.layers)):
            states = self.layer(layer, states, positions)
        return states[-1:]


class SlowNeoX(SlowSequence):
    """A projection that interleaves q, k and v by head; the FFN may read the layer's input."""

    attention_path, output_path = "attention", "dense"

    def final_norm(self, state: Tensor) -> Tensor:
        return self.core.final_layer_norm(state)

    def project(self, attention: Any, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = attention.query_key_value(normed).unflatten(-1, (self.heads, 3, self.width)).unbind(2)
        return q, k, v

    def ffn_output(self, layer: int, state: Tensor, layer_input: Tensor) -> Tensor:
        read = layer_input if self.config.use_parallel_residual else state
        return super().ffn_output(layer, read, layer_input)


class SlowPhi3(SlowSequence):
    """One projection: first all queries, then keys, then values."""

    def project(self, attention: Any, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = attention.qkv_proj(normed).unflatten(-1, (-1, self.width))
        q, k, v = heads.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        return q, k, v


class SlowGemma(SlowSequence):
    """Scaled embeddings, norms after the sub-layers too; Gemma-2 caps scores and logits, Gemma-3 has one RoPE
    for windows and one for the rest."""

    ffn_norm = "pre_feedforward_layernorm"

    def __init__(self, model: Any):
        super().__init__(model)
        self.scale = self.config.query_pre_attn_scalar**-0.5

    def embed(self, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        return super().embed(tokens, positions) * math.sqrt(self.config.hidden_size)

    def rope(self, layer: int) -> dict[str, Any]:
        rope = self.config.rope_parameters
        return rope if "rope_theta" in rope else rope[self.config.layer_types[layer]]

    def cap(self, scores: Tensor) -> Tensor:
        return _capped(scores, getattr(self.config, "attn_logit_softcapping", None))

    def logits(self, state: Tensor) -> Tensor:
        return _capped(super().logits(state), getattr(self.config, "final_logit_softcapping", None))

    def after_attention(self, block: Any, states: Tensor, output: Tensor) -> Tensor:
        return states + block.post_attention_layernorm(output)

    def ffn_output(self, layer: int, state: Tensor, layer_input: Tensor) -> Tensor:
        return self.layers[layer].post_feedforward_layernorm(super().ffn_output(layer, state, layer_input))


class SlowOPT(SlowSequence):
    """Learned positions from row 2 on, projections around the layers, norms before or after the sum."""

    output_path = "out_proj"

    def __init__(self, model: Any):
        super().__init__(model)
        self.first = self.config.do_layer_norm_before

    @property
    def layers(self) -> Any:
        return self.core.decoder.layers

    def embed(self, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        project, table = self.core.decoder.project_in, self.core.decoder.embed_positions.weight
        states = super().embed(tokens, positions)
        return (states if project is None else project(states)) + table[[at + 2 for at in positions]]

    def final_norm(self, state: Tensor) -> Tensor:
        norm, project = self.core.decoder.final_layer_norm, self.core.decoder.project_out
        state = state if norm is None else norm(state)
        return state if project is None else project(state)

    def rotate(self, layer: int, states: Tensor, position: int) -> Tensor:
        return states

    def before_attention(self, block: Any, states: Tensor) -> Tensor:
        return block.self_attn_layer_norm(states) if self.first else states

    def after_attention(self, block: Any, states: Tensor, output: Tensor) -> Tensor:
        return states + output if self.first else block.self_attn_layer_norm(states + output)

    def ffn_output(self, layer: int, state: Tensor, layer_input: Tensor) -> Tensor:
        block = self.layers[layer]
        read = block.final_layer_norm(state) if self.first else state
        return block.fc2(torch.relu(block.fc1(read)))

    def after_ffn(self, layer: int, state: Tensor, output: Tensor) -> Tensor:
        return state + output if self.first else self.layers[layer].final_layer_norm(state + output)


class SlowGPT2(SlowSequence):
    """Learned positions, one projection, other names."""

    attention_path, output_path = "attn", "c_proj"
    attention_norm, ffn_norm = "ln_1", "ln_2"

    @property
    def layers(self) -> Any:
        return self.core.h

    def embed(self, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        return super().embed(tokens, positions) + self.core.wpe.weight[list(positions)]

    def final_norm(self, state: Tensor) -> Tensor:
        return self.core.ln_f(state)

    def rotate(self, layer: int, states: Tensor, position: int) -> Tensor:
        return states

    def project(self, attention: Any, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = attention.c_attn(normed).unflatten(-1, (3, self.heads, self.width)).unbind(1)
        return q, k, v


_OTHERS = {
    "gpt_neox": SlowNeoX,
    "phi3": SlowPhi3,
    "gemma2": SlowGemma,
    "gemma3_text": SlowGemma,
    "opt": SlowOPT,
    "gpt2": SlowGPT2,
}


def slow_sequence(model: Any) -> SlowSequence:
    """A new sequence of a transformers model."""
    return _OTHERS.get(model.config.model_type, SlowSequence)(model)


def cosine64(a: Tensor, b: Tensor) -> float:
    """Cosine of two states [1, width] in float64, then rounded to float32."""
    x, y = a[0].double().numpy(), b[0].double().numpy()
    return float(np.float32(x @ y / (np.linalg.norm(x) * np.linalg.norm(y))))


def _capped(values: Tensor, cap: float | None) -> Tensor:
    return values if cap is None else torch.tanh(values / cap) * cap
