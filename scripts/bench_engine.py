"""Is the baseline fast? Our full engine, transformers' `generate` and what memory allows, taken in turn.

    python scripts/bench_engine.py [--tokens 12] [--repeats 15] [--batch 1] [--prompt 128] [--dtype bfloat16]
        [--layer fused] [--product linear] [--static] [--json FILE]

*Stream* is the floor: as many bytes as a decode step has to move, weights and K,V, read from one array and
added up. *Bare* is every weight matrix once, by the products that the engine uses, and nothing else; the same
with torch's `linear` beside it. Prints medians of decode steps, ratios taken round by round, the bandwidth
they mean, and on Linux the memory that the model has taken, libraries left out. Needs torch and transformers
only.
"""

import argparse
import json
import platform
import resource
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarking import DEFAULT, bound, decoded, processor, random_prompts, ratio_of, step_seconds, timed
from torch import Tensor
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


def matrices_of(stack: Stack) -> list[Tensor]:
    """Every matrix that a decode step reads, as merged as the engine has it."""
    return [matrix for layer in stack.layers for matrix in layer.matrices()] + [stack.head_weight]


def bare_products(stack: Stack, rows: int, product: Callable[[Tensor, Tensor], Any]) -> Callable[[], None]:
    """Every matrix times as many vectors as there are rows."""
    matrices = matrices_of(stack)
    states = {
        width: torch.randn(rows, width, dtype=stack.dtype, device=stack.device)
        for width in {matrix.shape[1] for matrix in matrices}
    }

    def run() -> None:
        for matrix in matrices:
            product(states[matrix.shape[1]], matrix)

    return run


def stream(device: torch.device, size: int) -> Callable[[], None]:
    """So many bytes of one array, added up: what memory gives to a plain reader."""
    array = torch.ones(size // 4, device=device)

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


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--dtype")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--layer", default="auto")
    parser.add_argument("--product", default="auto")
    parser.add_argument("--static", action="store_true", help="`generate` with a static cache, compiled")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", help="write the figures to this file too")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    given = options()
    if given.threads:
        torch.set_num_threads(given.threads)
    warm_libraries()
    empty = resident_bytes()
    config = ModelConfig(name="bench", path=given.model)
    engine = EngineConfig(given.layer, given.product)
    stack = load_model(config, dtype=given.dtype, device=given.device, engine=engine, keep_layout=True).stack
    cache = "static" if given.static else "dynamic"
    full, theirs = bound(stack, "full"), bound(stack, "hf_generate", {"cache": cache})
    prompts = random_prompts(stack, given.batch, given.prompt)
    for side in (full, theirs):
        measure(side, prompts, 4)
    held = resident_bytes() - empty
    step_bytes = bytes_of_a_step(full, prompts, given.tokens)
    synchronise = synchroniser(stack.device)
    floors = {
        "stream": stream(stack.device, step_bytes),
        "bare": bare_products(stack, given.batch, stack.products.multiply),
        "bare, linear": bare_products(stack, given.batch, F.linear),
    }
    for run in floors.values():
        timed(run, 3, synchronise)
    seconds: dict[str, list[float]] = {name: [] for name in ("full", "generate", *floors)}
    prefills: dict[str, list[float]] = {"full": [], "generate": []}
    for _ in range(given.repeats):
        for name, side in (("full", full), ("generate", theirs)):
            prefill, step = measure(side, prompts, given.tokens)
            prefills[name].append(prefill)
            seconds[name].append(step)
        for name, run in floors.items():
            seconds[name].append(timed(run, given.tokens, synchronise))
    found = {
        "model": given.model.rpartition("/")[2],
        "processor": processor(stack.device),
        "torch": torch.__version__,
        "dtype": str(stack.dtype).removeprefix("torch."),
        "layer": stack.layer_name,
        "product": stack.products.name,
        "threads": torch.get_num_threads(),
        "batch": given.batch,
        "prompt": given.prompt,
        "rounds": given.repeats,
        "step_bytes": step_bytes,
        "step_ms": {name: 1e3 * statistics.median(taken) for name, taken in seconds.items()},
        "full / stream": ratio_of(seconds["full"], seconds["stream"]),
        "full / bare": ratio_of(seconds["full"], seconds["bare"]),
        "bare / stream": ratio_of(seconds["bare"], seconds["stream"]),
        "generate / full": ratio_of(seconds["generate"], seconds["full"]),
        "prefill: generate / full": ratio_of(prefills["generate"], prefills["full"]),
    }
    show(found)
    if held and stack.device.type == "cpu":
        blocks = stack.cache.blocks
        needed = sum(p.numel() * p.element_size() for p in stack.model.parameters())
        needed += blocks.numel() * blocks.element_size()
        amounts = f"{held / 1e6:,.0f} MB for {needed / 1e6:,.0f} MB of weights and KV"
        print(f"memory taken: {amounts}, ratio {held / needed:.2f}")
    if given.json:
        Path(given.json).write_text(json.dumps({**found, "platform": platform.platform()}, indent=2) + "\n")


def bytes_of_a_step(full: Method, prompts: list[list[int]], tokens: int) -> int:
    """Bytes that a decode step moves, weights and K,V, in the middle of an answer."""
    decoded(full, prompts, tokens)
    return int(full.stack.bytes_read("final") / (tokens - 1))


def show(found: dict[str, Any]) -> None:
    """Print what was measured."""
    print(
        "{model}, {dtype}, {processor}, {layer} layers, {product} products, {threads} threads, "
        "batch {batch}, prompt {prompt}, {rounds} rounds".format(**found)
    )
    for name, milliseconds in found["step_ms"].items():
        speed = found["step_bytes"] / milliseconds / 1e6
        print(f"decode step  {name:13} {milliseconds:8.2f} ms   {speed:6.1f} GB/s")
    for name, ratio in found.items():
        if isinstance(ratio, list):
            print(f"{name:26} {ratio[0]:.3f} ({ratio[1]:.3f} to {ratio[2]:.3f})")


if __name__ == "__main__":
    main()
