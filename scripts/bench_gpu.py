"""Everything that is to be known of a GPU, in one command and a given time: `make gpu`.

    python scripts/bench_gpu.py [--shape 7b] [--minutes 9] [--out results/gpu] [--dtype bfloat16]

First the tests that need a device (`--tests no` leaves them out), then Llama-2 in shape with random weights
made on the device, at batches of 1 and 16, and the next larger shape if time is left. Of each: a decode step
of the full model, with kernels one by one and with recorded passes, beside the time that one reading of its
weights takes at the bandwidth of a copy; transformers' `generate` as it comes, and with a static cache and a
compiled step; each method's speedup, ideal and efficiency with a quarter of the work left out; and what one
test of FFN-SkipLLM and of early exit costs. Whatever is measured is written at once, as JSON and as a table
for docs/gpu.md; it ends before the time does and says what is missing. Needs torch, transformers and, for the
tests, pytest; `--device cpu --shape tiny` tries the whole path without a GPU.
"""

import argparse
import gc
import json
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import transformers
from bench_scaling import Point, measure, steps
from benchmarking import bound, processor, spread, timed
from transformers import AutoModelForCausalLM, LlamaConfig

from methods.shared.method import Method
from models.dtypes import DTYPES
from models.graphs import CudaRecorder
from models.stack import Stack
from runners.files import write_text
from runners.stopwatch import synchroniser

ROOT = Path(__file__).resolve().parents[1]
# Layers, width, width of the FFN, heads; larger ones later.
SHAPES = {"tiny": (4, 128, 344, 2), "7b": (32, 4096, 11008, 32), "13b": (40, 5120, 13824, 40)}
LARGER = {"7b": "13b"}
BATCHES, SKIP = (1, 16), 0.25
# The tests may take this part of the time; the rest is for measuring.
TESTS_SHARE = 0.4
# Seconds kept for writing.
RESERVE_S = 10


class TimeIsUpError(BaseException):
    """The time given is over; no `except Exception` of a library keeps it."""


@dataclass
class Report:
    """What is known so far; written whenever something is added.

    Attributes
    ----------
    folder : Path
    deadline : float
        Of `time.monotonic`.
    found : dict
    """

    folder: Path
    deadline: float
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds that may still be spent on measuring."""
        return self.deadline - RESERVE_S - time.monotonic()

    def note(self, name: str, value: Any) -> None:
        """Keep a value, and show it."""
        self.found[name] = value
        print(f"{name}: {json.dumps(value)}", flush=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "gpu.json", json.dumps(self.found, indent=2) + "\n")
        write_text(self.folder / "gpu.md", table(self.found))

    def missing(self, name: str, why: str) -> None:
        """Say what there is not, and why."""
        self.note("missing", [*self.found.get("missing", []), f"{name}: {why}"])

    def measure(self, name: str, work: Callable[[], Any]) -> None:
        """Note what `work` finds; it ends with the time, and one that fails takes nothing else with it."""
        if self.left <= 0:
            self.missing(name, "no time left")
            return
        try:
            with alarm(self.left):
                self.note(name, work())
        except TimeIsUpError:
            self.missing(name, "the time was over")
        except Exception as error:
            # Whatever it is, of a machine that nobody has tried, the other figures are worth having.
            said = (str(error).strip().splitlines() or [""])[0]
            self.missing(name, said if isinstance(error, RuntimeError) else f"{type(error).__name__}: {said}")


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise `TimeIsUpError` inside once so many seconds are over."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeIsUpError

    before = signal.signal(signal.SIGALRM, ring)
    # Again every second, in case something keeps it.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Subject:
    """One shape on the device: the same weights with kernels one by one, and with recorded passes."""

    def __init__(self, shape: str, dtype: torch.dtype, device: torch.device, tokens: int, repeats: int):
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
        # Weights that never pass through the host.
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        self.plain = Stack(model.eval().requires_grad_(False))
        self.best = Stack(model, recorder=CudaRecorder(device)) if device.type == "cuda" else self.plain
        self._point, self._tokens, self._repeats = Point(depth=depth, width=width), tokens, repeats
        matrices = [matrix for layer in self.plain.layers for matrix in layer.matrices()]
        matrices.append(self.plain.head_weight)
        self.weight_bytes = sum(matrix.nbytes for matrix in matrices)

    def steps(self, method: Method, batch: int) -> list[float]:
        """Seconds of decode steps, medians of rounds."""
        point = replace(self._point, batch=batch)
        steps(method, point, 3)
        return [steps(method, point, self._tokens)[0] for _ in range(self._repeats)]

    def full(self, stack: Stack, batch: int) -> list[float]:
        """Milliseconds of a step of the full model: median, least, greatest."""
        return milliseconds(self.steps(bound(stack, "full"), batch))

    def generate(self, batch: int, cache: str) -> list[float]:
        """The same of transformers' `generate`."""
        return milliseconds(self.steps(bound(self.plain, "hf_generate", {"cache": cache}), batch))

    def methods(self, batch: int) -> dict[str, dict[str, float]]:
        """Speedup, ideal and efficiency of each method beside the full model."""
        point = replace(self._point, batch=batch, skip=SKIP)
        return {
            one.method: {"speedup": one.speedup, "ideal": one.ideal, "efficiency": one.efficiency}
            for one in measure("skip", point, self.best, self._tokens, self._repeats)
        }

    def decision(self, name: str, params: dict[str, Any], tests: int, batch: int) -> float:
        """Microseconds of one test: a step that tests and never skips, less a full one."""
        sides = (bound(self.best, name, params), bound(self.best, "full"))
        own, full = (statistics.median(self.steps(side, batch)) for side in sides)
        return 1e6 * (own - full) / tests


def milliseconds(seconds: list[float]) -> list[float]:
    """Median, least and greatest."""
    return [1e3 * value for value in spread(seconds)]


def run_tests(report: Report) -> None:
    """The tests that need a device, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/gpu"]
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=max(1, report.left * TESTS_SHARE)
        )
        status, said = done.returncode, done.stdout.strip().splitlines()
    except subprocess.TimeoutExpired as error:
        status, said = None, (error.stdout or b"").decode(errors="replace").strip().splitlines()
    print("\n".join(said), flush=True)
    failed = [line for line in said if line.startswith(("FAILED", "ERROR"))]
    seconds = round(time.monotonic() - began)
    report.note("tests", {"status": status, "seconds": seconds, "last": said[-1:], "failed": failed[:40]})


def measure_shape(report: Report, shape: str, given: argparse.Namespace, device: torch.device) -> None:
    """Everything of one shape, what matters most first."""
    made: list[Subject] = []

    def make() -> dict[str, float]:
        made.append(Subject(shape, DTYPES[given.dtype], device, given.tokens, given.repeats))
        return {"weight_bytes": made[0].weight_bytes, "layers": len(made[0].plain.layers)}

    report.measure(shape, make)
    if not made:
        return
    (one,) = made
    depth = len(one.plain.layers)
    ffn = {"threshold": 1.0, "warmup_tokens": 0, "cold_start": 0, "cold_end": depth}
    saturation = {"threshold": 1.0, "confidence": "saturation", "decay": "none"}
    for batch in BATCHES:
        where = f"{shape}, batch {batch}"
        report.measure(f"{where}, full", lambda batch=batch: one.full(one.best, batch))
        if one.best is not one.plain:
            report.measure(f"{where}, full, not recorded", lambda batch=batch: one.full(one.plain, batch))
        report.measure(f"{where}, generate", lambda batch=batch: one.generate(batch, "dynamic"))
        report.measure(f"{where}, methods", lambda batch=batch: one.methods(batch))
        report.measure(
            f"{where}, µs per test, ffnskip",
            lambda batch=batch: one.decision("ffnskip", ffn, depth, batch),
        )
        report.measure(
            f"{where}, µs per test, early_exit",
            lambda batch=batch: one.decision("early_exit", saturation, depth - 1 - depth // 2, batch),
        )
    # Compiling takes minutes.
    for batch in BATCHES:
        report.measure(
            f"{shape}, batch {batch}, generate, static and compiled",
            lambda batch=batch: one.generate(batch, "static"),
        )


def table(found: dict[str, Any]) -> str:
    """What was found, in Markdown."""
    tests = " ".join(found["tests"]["last"]) if "tests" in found else "not run"
    lines = ["`{command}`, {device}, torch {torch}, transformers {transformers}, {day}".format(**found), ""]
    lines += [f"- tests: {tests}", ""]
    lines += ["| step | ms (range) | ÷ one reading of the weights |", "|---|---|---|"]
    methods, decisions = [], []
    for name, value in found.items():
        shape = name.partition(",")[0]
        if name.endswith(", methods"):
            methods += [
                f"| {name.removesuffix(', methods')} | {method} | {one['speedup']:.2f} | {one['ideal']:.2f} "
                f"| {one['efficiency']:.2f} |"
                for method, one in value.items()
            ]
        elif "µs per test" in name:
            decisions.append(f"- {name}: {value:.1f}")
        elif shape in SHAPES and name != shape:
            median, low, high = value
            readings = ""
            if "copy_bytes_per_s" in found:
                readings = f"{median / (1e3 * found[shape]['weight_bytes'] / found['copy_bytes_per_s']):.2f}"
            lines.append(f"| {name} | {median:.2f} ({low:.2f} to {high:.2f}) | {readings} |")
    lines += ["", f"With {SKIP:.0%} of the work left out:", ""]
    lines += ["| where | method | speedup | ideal | efficiency |", "|---|---|---|---|---|", *methods]
    lines += ["", *decisions, "", *(f"- missing: {one}" for one in found.get("missing", []))]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Test and measure within the time given."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="7b", choices=SHAPES)
    parser.add_argument("--dtype", default="bfloat16", choices=sorted(DTYPES))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything, tests included")
    parser.add_argument("--tests", default="yes", choices=("yes", "no"))
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        print("error: there is no CUDA device; --device cpu --shape tiny tries the script", file=sys.stderr)
        sys.exit(2)
    device = torch.device(given.device)
    report = Report(given.out, began + 60 * given.minutes)
    report.found = {
        "command": " ".join(["python scripts/bench_gpu.py", *sys.argv[1:]]),
        "device": processor(device),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "dtype": given.dtype,
        "day": time.strftime("%Y-%m-%d"),
    }
    report.measure("copy_bytes_per_s", lambda: copy_bandwidth(device, 1024 if device.type == "cuda" else 64))
    if given.tests == "yes":
        run_tests(report)
    measure_shape(report, given.shape, given, device)
    if given.shape in LARGER:
        # The smaller model is held by cycles.
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        measure_shape(report, LARGER[given.shape], given, device)
    report.note("seconds", round(time.monotonic() - began))
    print(f"{given.out}/gpu.json and gpu.md")


def copy_bandwidth(device: torch.device, megabytes: int) -> float:
    """Bytes per second that a copy reads and writes."""
    source = torch.empty(megabytes * 2**20 // 4, device=device)
    target, synchronise = torch.empty_like(source), synchroniser(source.device)

    def copy() -> None:
        target.copy_(source)

    timed(copy, 3, synchronise)
    return 2 * source.numel() * 4 / timed(copy, 20, synchronise)


if __name__ == "__main__":
    main()
