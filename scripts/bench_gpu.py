"""The engine and the methods on a GPU: Llama-2-7B or 13B in shape, random weights made on the device.

    python scripts/bench_gpu.py [--shape 7b] [--dtype bfloat16] [--tokens 32] [--repeats 5]

Prints the device and its copy bandwidth. Then, with kernels launched one by one and with recorded passes: a
decode step of the full model beside the time to read its weights once at that bandwidth and beside
transformers' `generate` (as it comes, and with a static cache and a compiled step), what one data-dependent
test costs, and each method's speedup, ideal and efficiency. Needs torch and transformers only.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace

import torch
from bench_scaling import Point, measure, steps
from benchmarking import bound, ratios, timed
from transformers import AutoModelForCausalLM, LlamaConfig

from methods.shared.method import Method
from models.dtypes import DTYPES
from models.graphs import CudaRecorder
from models.stack import Stack
from runners.stopwatch import synchroniser

# Layers, width, width of the FFN, heads.
SHAPES = {"7b": (32, 4096, 11008, 32), "13b": (40, 5120, 13824, 40), "tiny": (4, 128, 344, 2)}
SKIPS = (0.25, 0.5)


def random_llama(shape: str, dtype: torch.dtype, device: str) -> Stack:
    """A model of that shape; its weights never pass through the host."""
    depth, width, ffn, heads = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=width,
        intermediate_size=ffn,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return Stack(model.eval().requires_grad_(False))


def copy_bandwidth(device: str, megabytes: int) -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.empty(megabytes * 2**20 // 4, device=device)
    target, synchronise = torch.empty_like(source), synchroniser(source.device)

    def copy() -> None:
        target.copy_(source)

    timed(copy, 3, synchronise)
    return 2 * source.numel() * 4 / timed(copy, 20, synchronise)


def step_of(method: Method, point: Point, tokens: int) -> float:
    """Median seconds of a decode step."""
    return steps(method, point, tokens)[0]


def deciding(stack: Stack, full: Method, point: Point, tokens: int, repeats: int) -> float:
    """Seconds of one test of FFN-SkipLLM: a step that tests every FFN and skips none, less a full one."""
    never = {"threshold": 2.0, "warmup_tokens": 0, "cold_start": 0, "cold_end": point.depth}
    testing = bound(stack, "ffnskip", never)
    step_of(testing, point, 3)
    found = [step_of(testing, point, tokens) - step_of(full, point, tokens) for _ in range(repeats)]
    return statistics.median(found) / point.depth


def table(stack: Stack, point: Point, tokens: int, repeats: int) -> None:
    """Every method at each skip."""
    for skip in SKIPS:
        for one in measure("skip", replace(point, skip=skip), stack, tokens, repeats):
            print(
                f"  skip {skip:.2f}  {one.method:11} speedup {one.speedup:5.2f}  ideal {one.ideal:5.2f}  "
                f"efficiency {one.efficiency:5.2f}",
                flush=True,
            )


def engines(shape: str, dtype: torch.dtype, device: str) -> Iterator[Stack]:
    """The same model with kernels launched one by one, and on a GPU with recorded passes."""
    stack = random_llama(shape, dtype, device)
    yield stack
    if stack.device.type == "cuda":
        yield Stack(stack.model, recorder=CudaRecorder(stack.device))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="7b", choices=SHAPES)
    parser.add_argument("--dtype", default="bfloat16", choices=sorted(DTYPES))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        print("error: there is no CUDA device; --device cpu --shape tiny tries the script", file=sys.stderr)
        sys.exit(2)
    on_gpu = given.device.startswith("cuda")
    name = torch.cuda.get_device_name(given.device) if on_gpu else given.device
    bandwidth = copy_bandwidth(given.device, 1024 if on_gpu else 64)
    print(
        f"{name}, torch {torch.__version__}, {given.shape}, {given.dtype}, copy {bandwidth / 1e9:,.0f} GB/s"
    )
    point = Point(depth=SHAPES[given.shape][0], width=SHAPES[given.shape][1])
    for stack in engines(given.shape, DTYPES[given.dtype], given.device):
        full, eager = bound(stack, "full"), bound(stack, "hf_generate")
        compiled = bound(stack, "hf_generate", {"cache": "static"})
        sides = {"full": full, "generate": eager, "generate, compiled": compiled}
        for side in sides.values():
            step_of(side, point, 3)
        found = [
            [step_of(side, point, given.tokens) for side in sides.values()] for _ in range(given.repeats)
        ]
        seconds = dict(zip(sides, map(list, zip(*found, strict=True)), strict=True))
        matrices = [matrix for layer in stack.layers for matrix in layer.matrices()] + [stack.head_weight]
        once = sum(matrix.numel() for matrix in matrices) * stack.dtype.itemsize / bandwidth
        step = statistics.median(seconds["full"])
        print(f"{stack.layer_name} layers")
        print(f"  full {1e3 * step:.2f} ms a step; weights once {1e3 * once:.2f} ms; ratio {step / once:.2f}")
        for side in ("generate", "generate, compiled"):
            print("  " + ratios(f"{side} / full", seconds[side], seconds["full"]))
        cost = deciding(stack, full, point, given.tokens, given.repeats)
        print(f"  one test of FFN-SkipLLM {1e6 * cost:.1f} us", flush=True)
        table(stack, point, given.tokens, given.repeats)


if __name__ == "__main__":
    main()
