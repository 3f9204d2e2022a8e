"""What a pass over k tokens costs: the curve that decides whether drafting pays.

    python scripts/bench_passes.py [--dtype float32] [--context 128] [--repeats 9]

One pass of k tokens (every sub-layer, the head on all k) behind a context, for k = 1 ... 128, taken in turn;
prints medians, and ratios to the pass over one token of the same round. Needs torch and transformers only.
"""

import argparse
import statistics

import torch
from benchmarking import DEFAULT, ratios

from methods.shared.draft_size import pass_seconds
from models.loading import EngineConfig, ModelConfig, load_model

TOKENS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--dtype")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    config = ModelConfig(name="bench", path=given.model)
    model = load_model(config, dtype=given.dtype, device=given.device, engine=EngineConfig())
    found = pass_seconds(model.stack, TOKENS, given.context, given.repeats)
    print(
        f"{given.model.rpartition('/')[2]}, {model.stack.dtype}, {model.stack.device}, "
        f"{torch.get_num_threads()} threads, context {given.context}, {given.repeats} rounds"
    )
    single, *_ = by_tokens = [list(column) for column in zip(*found, strict=True)]
    for tokens, seconds in zip(TOKENS, by_tokens, strict=True):
        print(
            f"{tokens:4} tokens {1e3 * statistics.median(seconds):8.2f} ms   {ratios('x', seconds, single)}"
        )


if __name__ == "__main__":
    main()
