"""Where does skipping stop paying? Efficiency over batch, context, skip, depth and width, one at a time.

    python scripts/bench_scaling.py [--out results/scaling] [--repeats 5] [--axes batch,context,skip]

Random weights in the shape of the default model, varied along one axis at a time: what is measured is time,
and no text. Each method is told how much to leave out (its data-dependent test is made, and always says yes),
and decodes beside the full model in alternating rounds. Writes scaling.csv, and scaling.svg where matplotlib
is installed. Needs torch and transformers only.
"""

import argparse
import csv
import statistics
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import torch
from benchmarking import bound, decoded, random_prompts, step_seconds
from transformers import AutoModelForCausalLM, LlamaConfig

from methods.shared.method import Method
from models.dtypes import DTYPES
from models.stack import Stack

HEAD_WIDTH = 64
AXES = {
    "batch": (1, 4, 16, 64),
    "context": (128, 1024, 4096),
    "skip": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
    "depth": (8, 16, 30, 60),
    "width": (192, 384, 576, 1152),
}


@dataclass(frozen=True)
class Point:
    """One place of the grid."""

    batch: int = 1
    context: int = 128
    skip: float = 0.25
    depth: int = 30
    width: int = 576


@dataclass(frozen=True)
class Found:
    """What one method does there; seconds are medians of decode steps."""

    axis: str
    method: str
    point: Point
    full_ms: float
    method_ms: float
    speedup: float
    ideal: float

    @property
    def efficiency(self) -> float:
        """Speedup over the ideal by bytes."""
        return self.speedup / self.ideal


def stack_of(point: Point, dtype: torch.dtype, device: str) -> Stack:
    """A Llama-shaped model with random weights; the FFN is 8/3 as wide as the model, as in SmolLM2."""
    heads = point.width // HEAD_WIDTH
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=point.width,
        intermediate_size=point.width * 8 // 3,
        num_hidden_layers=point.depth,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 3),
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return Stack(model.eval().requires_grad_(False))


def methods_of(point: Point) -> Iterator[tuple[str, dict[str, object]]]:
    """Methods told to leave out the point's share of the layers' weights, as near as they can."""
    depth, skip = point.depth, point.skip
    if skip == 0:
        return
    yield "unified", {"target_speedup": 1 / (1 - skip)}
    yield (
        "early_exit",
        {
            "threshold": -1.0,
            "confidence": "saturation",
            "decay": "none",
            "min_exit_layer": min(depth - 2, round((1 - skip) * depth) - 1),
        },
    )
    # FFNs are three quarters of a layer here, and the one that is tested runs.
    count = min(depth - 1, round(skip * depth * 4 / 3))
    yield (
        "ffnskip",
        {
            "threshold": -1.0,
            "warmup_tokens": 0,
            "cold_start": depth - count - 1,
            "cold_end": depth,
        },
    )


def steps(method: Method, point: Point, tokens: int) -> tuple[float, float]:
    """Median seconds of a decode step, and bytes of all of them."""
    stack = method.stack
    _, watch = decoded(method, random_prompts(stack, point.batch, point.context), tokens)
    read = stack.bytes_read("final") + stack.bytes_read("decision")
    return step_seconds(watch), read


def measure(axis: str, point: Point, stack: Stack, tokens: int, repeats: int) -> Iterator[Found]:
    """Every method at one point, in rounds with the full model."""
    for name, params in methods_of(point):
        sides = bound(stack, "full"), bound(stack, name, params)
        for side in sides:
            steps(side, point, 3)
        rounds = [[steps(side, point, tokens) for side in sides] for _ in range(repeats)]
        full, own = ([one[side][0] for one in rounds] for side in (0, 1))
        yield Found(
            axis=axis,
            method=name,
            point=point,
            full_ms=1e3 * statistics.median(full),
            method_ms=1e3 * statistics.median(own),
            speedup=statistics.median(a / b for a, b in zip(full, own, strict=True)),
            ideal=rounds[0][0][1] / rounds[0][1][1],
        )


def write(found: list[Found], out: Path) -> None:
    """The table as CSV."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "scaling.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        names = [field.name for field in fields(Point)]
        writer.writerow(["axis", "method", *names, "full_ms", "method_ms", "speedup", "ideal", "efficiency"])
        for one in found:
            numbers = (one.full_ms, one.method_ms, one.speedup, one.ideal, one.efficiency)
            writer.writerow([one.axis, one.method, *astuple(one.point), *(f"{n:.4g}" for n in numbers)])


def draw(found: list[Found], out: Path) -> None:
    """Speedup, and its ideal as a thin line, over each axis."""
    try:
        from matplotlib import pyplot
    except ImportError:
        print("matplotlib is not installed: no figure", file=sys.stderr)
        return
    axes = list(dict.fromkeys(one.axis for one in found))
    figure, panels = pyplot.subplots(1, len(axes), figsize=(3.2 * len(axes), 3), sharey=True, squeeze=False)
    for panel, axis in zip(panels[0], axes, strict=True):
        for place, name in enumerate(dict.fromkeys(one.method for one in found)):
            line = [one for one in found if (one.axis, one.method) == (axis, name)]
            where = [getattr(one.point, axis) for one in line]
            color = f"C{place}"
            panel.plot(where, [one.speedup for one in line], marker="o", color=color, label=name)
            panel.plot(where, [one.ideal for one in line], linewidth=0.8, linestyle="--", color=color)
        panel.axhline(1, color="grey", linewidth=0.8)
        panel.set_xlabel(axis)
        if axis in ("batch", "context"):
            panel.set_xscale("log", base=2)
    panels[0][0].set_ylabel("decode speedup (dashed: ideal)")
    panels[0][0].legend(frameon=False, fontsize="small")
    figure.tight_layout()
    figure.savefig(out / "scaling.svg")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/scaling"))
    parser.add_argument("--axes", default=",".join(AXES))
    parser.add_argument("--dtype", default="float32", choices=sorted(DTYPES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    print(f"{given.dtype}, {given.device}, {torch.get_num_threads()} threads, {given.repeats} rounds")
    found = []
    shape, stack = None, None
    for axis in given.axes.split(","):
        for value in AXES[axis]:
            point = replace(Point(), **{axis: value})
            if stack is None or (point.depth, point.width) != shape:
                shape, stack = (point.depth, point.width), stack_of(point, DTYPES[given.dtype], given.device)
            for one in measure(axis, point, stack, given.tokens, given.repeats):
                found.append(one)
                print(
                    f"{axis:8} {value:<6} {one.method:11} full {one.full_ms:8.2f} ms  "
                    f"speedup {one.speedup:5.2f}  ideal {one.ideal:5.2f}  efficiency {one.efficiency:5.2f}",
                    flush=True,
                )
    write(found, given.out)
    draw(found, given.out)


if __name__ == "__main__":
    main()
