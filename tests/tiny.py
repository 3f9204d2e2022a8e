"""Tiny random models of every family, and the few lines that decode with them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GenerationConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from methods.shared.method import Method
from methods.shared.registry import method_class
from models.batch import Batch
from models.compat import attention_implementation
from models.counters import ATTENTION, FFN
from models.kernels import Kernels, kernels
from models.sampling import Sampler, generator
from models.stack import Stack

needs_kernels = pytest.mark.skipif(not isinstance(kernels(), Kernels), reason=str(kernels()))

VOCABULARY, LAYERS = 199, 4
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    # Wide enough that greedy outputs vary from prompt to prompt.
    "initializer_range": 0.25,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
GQA = {**SIZES, "num_key_value_heads": 2}
OPT = {**SIZES, "ffn_dim": 64, "init_std": 0.25}
WINDOW = 8
CONFIGS: dict[str, Any] = {
    "llama": lambda **more: LlamaConfig(**GQA, tie_word_embeddings=False, **more),
    # The layers of transformers, where the engine would take its own.
    "llama_hf": lambda **more: LlamaConfig(**GQA, tie_word_embeddings=False, **more),
    "llama_tied": lambda **more: LlamaConfig(**GQA, tie_word_embeddings=True, **more),
    "mistral_window": lambda **more: MistralConfig(**GQA, sliding_window=WINDOW, **more),
    "qwen2": lambda **more: Qwen2Config(**GQA, tie_word_embeddings=True, **more),
    "qwen2_window": lambda **more: Qwen2Config(
        **GQA, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=2, **more
    ),
    # A head width that is not hidden size / heads.
    "qwen3": lambda **more: Qwen3Config(**GQA, head_dim=12, **more),
    # Fused projections; a window.
    "phi3": lambda **more: Phi3Config(**GQA, sliding_window=WINDOW, **more),
    # Soft caps on scores and logits, norms after the sub-layers too, a window in every second layer.
    "gemma2": lambda **more: Gemma2Config(
        **GQA,
        head_dim=12,
        sliding_window=WINDOW,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
        query_pre_attn_scalar=12,
        **more,
    ),
    # Two rotary tables.
    "gemma3": lambda **more: Gemma3TextConfig(
        **GQA,
        head_dim=12,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention"] * (more["num_hidden_layers"] // 2),
        query_pre_attn_scalar=12,
        **more,
    ),
    # Learned positions, projections around the layers.
    "opt": lambda **more: OPTConfig(**OPT, word_embed_proj_dim=24, **more),
    # OPT-350m's way: norms after the residual add, no final norm.
    "opt_norm_last": lambda **more: OPTConfig(
        **OPT, word_embed_proj_dim=32, do_layer_norm_before=False, **more
    ),
    "gpt2": lambda **more: GPT2Config(**SIZES, **more),
    "gpt_neox": lambda **more: GPTNeoXConfig(**SIZES, use_parallel_residual=True, **more),
    "gpt_neox_sequential": lambda **more: GPTNeoXConfig(**SIZES, use_parallel_residual=False, **more),
}
NAMES = tuple(CONFIGS)
# One of each way in which sub-layers differ: plain, windows in some layers, parallel residual.
DISTINCT = ("llama", "qwen2_window", "gpt_neox")


def by_family(cases: Iterable[tuple[Any, ...]], first: str | None = None) -> list[Any]:
    """Every case on every family, its name first: the distinct ones, or one, now; all others in the slow
    tests."""
    cases, now = list(cases), DISTINCT if first is None else (first,)
    return [
        pytest.param(name, *case, marks=[] if name in now else pytest.mark.slow)
        for name in NAMES
        for case in cases
    ]


def tiny_model(name: str, dtype: torch.dtype = torch.float32, layers: int = LAYERS, **changed: Any) -> Any:
    """The same random weights at every call; norms and biases too, so that none can be mixed up unseen.

    `changed`: attributes of its config that differ from those in `CONFIGS`.
    """
    torch.manual_seed(sum(map(ord, name)))
    config = CONFIGS[name](num_hidden_layers=layers)
    if changed:
        config = type(config).from_dict({**config.to_dict(), **changed})
    # As `load_model` does; left to itself, some releases compute Gemma-2 without its caps.
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention_implementation(config))
    for path, parameter in model.named_parameters():
        if path.endswith("bias"):
            parameter.data.normal_(0, 0.1)
        elif parameter.dim() == 1:
            parameter.data.uniform_(0.6, 1.4)
    return model.to(dtype).eval().requires_grad_(False)


@cache
def tiny_stack(
    name: str, dtype: torch.dtype = torch.float32, layers: int = LAYERS, *, keep_layout: bool = False
) -> Stack:
    """An opened tiny model, shared by all tests: whatever decodes on it starts with `reserve`."""
    layer = "hf" if name.endswith("_hf") else "auto"
    return Stack(tiny_model(name, dtype, layers), layer, keep_layout=keep_layout)


def prompts_of(lengths: Sequence[int], seed: int = 0) -> list[list[int]]:
    """Random prompts of given lengths."""
    drawn = torch.Generator().manual_seed(seed)
    return [torch.randint(0, VOCABULARY, (length,), generator=drawn).tolist() for length in lengths]


# Longer and shorter than the sliding window, no two alike.
PROMPTS = prompts_of((13, 4, 9, 6))


def batch_of(
    stack: Stack,
    prompts: Sequence[list[int]] = PROMPTS,
    *,
    new: int = 12,
    eos: frozenset[int] = frozenset(),
    sampler: Sampler | None = None,
    keys: Sequence[str] | None = None,
    **more: Any,
) -> Batch:
    """A batch whose random numbers depend on each row's key (default: its prompt)."""
    keys = [str(prompt) for prompt in prompts] if keys is None else keys
    return Batch(
        stack,
        prompts,
        max_new_tokens=new,
        eos=eos,
        sampler=sampler or Sampler(),
        generators=[generator(0, key, 0) for key in keys],
        noise=[generator(0, key, 0, purpose="method") for key in keys],
        **more,
    )


def method_of(name: str, stack: Stack, **params: Any) -> Method:
    """A bound method."""
    cls = method_class(name)
    method = cls(cls.Params(**params))
    method.bind(stack)
    return method


@dataclass
class Recorder:
    """A watch that notes every call."""

    calls: list[Any] = field(default_factory=list)

    def prefilled(self) -> None:
        self.calls.append("prefilled")

    def decoded(self, taken: list[int], live: list[int]) -> None:
        self.calls.append((list(taken), list(live)))


@dataclass
class Decoded:
    """What a method made of some prompts; runs are [layers] by row, of final work."""

    outputs: list[list[int]]
    finish: list[str]
    attention_runs: list[list[int]]
    ffn_runs: list[list[int]]
    skipped_steps: list[int]
    calls: list[Any]
    # Of every evaluation of the head, prefill included.
    logits: list[Tensor]


def decode(method: Method, prompts: Sequence[list[int]] = PROMPTS, **more: Any) -> Decoded:
    """Decode a batch to its end."""
    stack = method.stack
    batch, watch, logits = batch_of(stack, prompts, scratch=method.scratch, **more), Recorder(), []

    def recording_head(hidden: Tensor, columns: Tensor | None = None) -> Tensor:
        logits.append(Stack.head(stack, hidden, columns))
        return logits[-1]

    stack.head = recording_head  # type: ignore[method-assign]
    try:
        with torch.inference_mode():
            method.generate(batch, watch)
    finally:
        del stack.head  # type: ignore[method-assign]
    runs = stack.counters.tally("final").runs
    return Decoded(
        batch.outputs,
        batch.finish,
        runs[ATTENTION].T.tolist(),
        runs[FFN].T.tolist(),
        stack.counters.skipped_steps.tolist(),
        watch.calls,
        logits,
    )


def decode_each(method: Method, prompts: Sequence[list[int]] = PROMPTS, **more: Any) -> Decoded:
    """The same prompts one by one."""
    alone = [decode(method, [prompt], **more) for prompt in prompts]
    return Decoded(
        [one.outputs[0] for one in alone],
        [one.finish[0] for one in alone],
        [one.attention_runs[0] for one in alone],
        [one.ffn_runs[0] for one in alone],
        [one.skipped_steps[0] for one in alone],
        [call for one in alone for call in one.calls],
        [logits for one in alone for logits in one.logits],
    )


def staggered_eos(outputs: Sequence[list[int]]) -> frozenset[int]:
    """One or two end tokens with which these outputs end at as many different steps as possible, none of
    them the first."""

    def ends(eos: frozenset[int]) -> set[int]:
        return {next((i for i, token in enumerate(output) if token in eos), -1) for output in outputs}

    later = sorted({token for output in outputs for token in output[2:]})
    choices = [frozenset(tokens) for n in (1, 2) for tokens in combinations(later, n)]
    eos = max((choice for choice in choices if 0 not in ends(choice)), key=lambda choice: len(ends(choice)))
    assert len(ends(eos)) > 1, f"rows have to end at different steps for this test: {ends(eos)}"
    return eos


@dataclass
class Generated:
    """transformers' own answer; `gaps` are its top-2 logit gaps by row and token, `tops` its top logits."""

    outputs: list[list[int]]
    gaps: list[list[float]]
    tops: list[list[float]]


def hf_generated(
    model: Any, prompts: Sequence[list[int]], new: int, eos: frozenset[int] = frozenset()
) -> Generated:
    """Greedy `generate` of transformers."""
    longest = max(map(len, prompts))
    pads = [longest - len(prompt) for prompt in prompts]
    with torch.inference_mode():
        result = model.generate(
            torch.tensor([[0] * pad + prompt for pad, prompt in zip(pads, prompts, strict=True)]),
            attention_mask=torch.tensor([[0] * pad + [1] * (longest - pad) for pad in pads]),
            generation_config=GenerationConfig(
                max_new_tokens=new,
                do_sample=False,
                eos_token_id=sorted(eos) or None,
                pad_token_id=0,
                output_logits=True,
                return_dict_in_generate=True,
            ),
        )
    outputs = []
    for row in result.sequences[:, longest:].tolist():
        end = next((i for i, token in enumerate(row) if token in eos), new)
        outputs.append(row[: end + 1])
    top = torch.stack(result.logits, dim=1).float().topk(2, dim=-1).values
    gaps = (top[..., 0] - top[..., 1]).tolist()
    return Generated(
        outputs,
        [row[: len(output)] for row, output in zip(gaps, outputs, strict=True)],
        [row[: len(output)] for row, output in zip(top[..., 0].tolist(), outputs, strict=True)],
    )


@torch.inference_mode()
def forced_logits(method: Method, prompt: list[int], tokens: Sequence[int]) -> Tensor:
    """Logits [len(tokens), vocabulary] that a method has for given tokens, one decode step each."""
    stack = method.stack
    batch = batch_of(stack, [prompt], new=len(tokens) + 1)
    method.begin(batch)
    ids, step = batch.prefill_step()
    logits = [stack.head(stack.run(method.full, ids, step)[:, -1])]
    batch.accept([[tokens[0]]], fed=0)
    for token in tokens[1:]:
        logits.append(stack.head(method.forward(*batch.decode_step())[:, -1]))
        batch.accept([[token]], fed=1)
        batch.step_index += 1
    return torch.cat(logits)


@torch.inference_mode()
def hf_forced_logits(model: Any, prompt: list[int], tokens: Sequence[int]) -> Tensor:
    """The same of transformers' own forward pass, token for token with its cache, as `generate` calls it."""
    step = model(torch.tensor([prompt]), use_cache=True)
    logits = [step.logits[0, -1:]]
    for token in tokens[:-1]:
        step = model(torch.tensor([[token]]), past_key_values=step.past_key_values, use_cache=True)
        logits.append(step.logits[0, -1:])
    return torch.cat(logits)
