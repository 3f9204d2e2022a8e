"""Is the baseline fast? Our full engine, transformers' `generate` and the bare products, taken in turn.

    python scripts/bench_engine.py [--tokens 32] [--repeats 7] [--batch 1] [--prompt 128] [--dtype bfloat16]
        [--compile] [--static]

*Bare* is what nothing can be faster than: every weight matrix once, as merged as the engine has it, times as
many vectors as the batch has rows, and no attention, norm or anything else. *Stream* reads as many bytes of
one array and adds them up. Prints medians of decode steps, ratios taken round by round, the bandwidth they
mean, and on Linux the memory that the model has taken, libraries left out. Needs torch and transformers only.
"""

import argparse
import resource
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from benchmarking import DEFAULT, bound, decoded, random_prompts, ratios, step_seconds, timed
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, LlamaConfig

from methods.shared.method import Method
from models.loading import EngineConfig, ModelConfig, load_model
from models.stack import Stack
from runners.stopwatch import synchroniser


def measure(method: Method, prompts: list[list[int]], tokens: int) -> tuple[float, float]:
    """Seconds of the prefill, and seconds of one decode step (median)."""
    _, watch = decoded(method, prompts, tokens)
    return watch.prefill_s, step_seconds(watch)


def bare_products(stack: Stack, rows: int) -> Callable[[], None]:
    """Every matrix that a decode step reads, times as many vectors as there are rows."""
    matrices = [matrix for layer in stack.layers for matrix in layer.matrices()] + [stack.head_weight]
    states = {
        width: torch.randn(rows, width, dtype=stack.dtype, device=stack.device)
        for width in {matrix.shape[1] for matrix in matrices}
    }

    def run() -> None:
        for matrix in matrices:
            F.linear(states[matrix.shape[1]], matrix)

    return run


def stream(stack: Stack, read: int) -> Callable[[], None]:
    """As many bytes as the weights have, summed: what the memory gives to a plain reader."""
    array = torch.ones(read // 4, device=stack.device)

    def run() -> None:
        array.sum()

    return run


def warm_libraries() -> None:
    """Load and run what every model needs, so that it does not count as the model's memory."""
    config = LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1
    )
    tiny = Stack(AutoModelForCausalLM.from_config(config).eval().requires_grad_(False))
    for name in ("full", "hf_generate"):
        measure(bound(tiny, name), [[11, 12, 13]], 4)


def resident_bytes() -> int:
    """Memory that the process holds; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--dtype")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--layer", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--static", action="store_true", help="`generate` with a static cache, compiled")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    warm_libraries()
    empty = resident_bytes()
    config = ModelConfig(name="bench", path=given.model)
    engine = EngineConfig(given.layer, given.compile)
    model = load_model(config, dtype=given.dtype, device=given.device, engine=engine)
    stack = model.stack
    cache = "static" if given.static else "dynamic"
    sides = [bound(stack, "full"), bound(stack, "hf_generate", {"cache": cache})]
    prompts = random_prompts(stack, given.batch, given.prompt)
    for side in sides:
        measure(side, prompts, 4)
    held = resident_bytes() - empty
    weights = sum(matrix.numel() for layer in stack.layers for matrix in layer.matrices())
    read = (weights + stack.head_weight.numel()) * stack.dtype.itemsize
    bare, plain = bare_products(stack, given.batch), stream(stack, read)
    synchronise = synchroniser(stack.device)
    for run in (bare, plain):
        timed(run, 3, synchronise)
    rounds = []
    for _ in range(given.repeats):
        ours, theirs = (measure(side, prompts, given.tokens) for side in sides)
        floors = (timed(run, given.tokens, synchronise) for run in (bare, plain))
        rounds.append((*ours, *theirs, *floors))
    prefill, step, their_prefill, their_step, floor, plainly = (
        list(one) for one in zip(*rounds, strict=True)
    )
    print(
        f"{given.model.rpartition('/')[2]}, {stack.dtype}, {stack.device}, {stack.layer_name} layers, "
        f"{torch.get_num_threads()} threads, batch {given.batch}, prompt {given.prompt}, "
        f"{given.tokens} tokens, {given.repeats} rounds"
    )
    for name, seconds in (("full", step), ("generate", their_step), ("bare", floor), ("stream", plainly)):
        median = statistics.median(seconds)
        print(f"decode step  {name:9} {1e3 * median:8.2f} ms   weights at {read / median / 1e9:6.1f} GB/s")
    print(ratios("full / bare        ", step, floor))
    print(ratios("generate / full    ", their_step, step))
    print(ratios("prefill: generate / full", their_prefill, prefill))
    if held and stack.device.type == "cpu":
        blocks = stack.cache.blocks
        needed = sum(p.numel() * p.element_size() for p in stack.model.parameters())
        needed += blocks.numel() * blocks.element_size()
        amounts = f"{held / 1e6:,.0f} MB for {needed / 1e6:,.0f} MB of weights and KV"
        print(f"memory taken: {amounts}, ratio {held / needed:.2f}")


if __name__ == "__main__":
    main()
