"""The engine and the methods on a GPU: Llama-2-7B or 13B in shape, random weights made on the device.

    python scripts/bench_gpu.py [--shape 7b] [--dtype bfloat16] [--tokens 48] [--repeats 5]

Prints the device, its copy bandwidth, a decode step of the full model beside the time to read its weights
once at that bandwidth and beside transformers' `generate`, and each method's speedup, ideal and efficiency.
Needs torch and transformers only.
"""

import argparse
import statistics
import sys

import torch
from bench_scaling import Point, measure, steps
from benchmarking import bound, ratios, timed
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig

from models.dtypes import DTYPES
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


def generate_step(stack: Stack, point: Point, tokens: int) -> float:
    """Seconds of one of transformers' decode steps: the time of many tokens less that of one, divided."""
    ids = torch.randint(10, 30000, (point.batch, point.context), device=stack.device)
    seconds = []
    for count in (1, tokens + 1):
        config = GenerationConfig(max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
        mask = torch.ones_like(ids)

        def run(config: GenerationConfig = config, mask: torch.Tensor = mask) -> None:
            stack.model.generate(ids, attention_mask=mask, generation_config=config)

        timed(run, 1, synchroniser(stack.device))
        seconds.append(timed(run, 1, synchroniser(stack.device)))
    return (seconds[1] - seconds[0]) / tokens


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="7b", choices=SHAPES)
    parser.add_argument("--dtype", default="bfloat16", choices=sorted(DTYPES))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokens", type=int, default=48)
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
    stack = random_llama(given.shape, DTYPES[given.dtype], given.device)
    point = Point(depth=SHAPES[given.shape][0], width=SHAPES[given.shape][1])
    full = bound(stack, "full")
    steps(full, point, 3)
    found = [
        (steps(full, point, given.tokens)[0], generate_step(stack, point, given.tokens))
        for _ in range(given.repeats)
    ]
    own, theirs = (list(side) for side in zip(*found, strict=True))
    matrices = [matrix for layer in stack.layers for matrix in layer.matrices()] + [stack.head_weight]
    once = sum(matrix.numel() for matrix in matrices) * stack.dtype.itemsize / bandwidth
    step = statistics.median(own)
    print(f"full {1e3 * step:.2f} ms a step; weights once {1e3 * once:.2f} ms; ratio {step / once:.2f}")
    print(ratios("generate / full", theirs, own))
    for skip in SKIPS:
        for one in measure("skip", Point(skip=skip, depth=point.depth), stack, given.tokens, given.repeats):
            print(
                f"skip {skip:.2f}  {one.method:11} speedup {one.speedup:5.2f}  ideal {one.ideal:5.2f}  "
                f"efficiency {one.efficiency:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
