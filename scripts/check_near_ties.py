"""In half precision drafting may part from plain decoding only at a near tie: every place where it does.

    python scripts/check_near_ties.py [--prompts FILE] [--tokens 64] [--limit 80] [--dtype bfloat16]

Decodes prompts (as in bench_drafting.py) with the full model and with each drafting method. Lists the first
token at which an answer parts from the full model's, with the gap between the full model's two best logits
there, in steps of the dtype at that magnitude; up to four steps count as a near tie. Exit status 1 if any
parted elsewhere. Needs torch and transformers only.
"""

import argparse
import math
import sys
from pathlib import Path

import torch
from bench_drafting import encoded_prompts
from benchmarking import DEFAULT, bound, decoded

from methods.full import Full
from models.batch import Batch
from models.loading import EngineConfig, ModelConfig, load_model

SIDES = {
    "prompt_lookup": ("prompt_lookup", {}),
    "swift": ("swift", {}),
    "swift, chain": ("swift", {"widths": [1, 1, 1, 1]}),
}
# Explicit bits of the mantissa.
MANTISSA = {torch.bfloat16: 7, torch.float16: 10, torch.float32: 23}
NEAR = 4


class Watched(Full):
    """The full model, its two best logits at every token noted."""

    def begin(self, batch: Batch) -> None:
        super().begin(batch)
        self.best: list[list[float]] = []

    def prefill(self, batch: Batch) -> list[list[int]]:
        with self.stack.counters.purpose("prefill"):
            return self._noted(batch, self.stack.run(self.full, *batch.prefill_step()))

    def decode(self, batch: Batch) -> list[list[int]]:
        return self._noted(batch, self.forward(*batch.decode_step()))

    def _noted(self, batch: Batch, hidden: torch.Tensor) -> list[list[int]]:
        logits = self.stack.head(hidden[:, -1])
        self.best.append(logits[0].float().topk(2).values.tolist())
        return batch.sample(logits)


def steps_apart(best: list[float], mantissa: int) -> float:
    """The gap between two logits in steps of the dtype at the larger one."""
    top = max(abs(value) for value in best) or 1.0
    return (best[0] - best[1]) / 2.0 ** (math.floor(math.log2(top)) - mantissa)


def main() -> None:
    """Decode, compare, list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--prompts", type=Path)
    parser.add_argument("--limit", type=int, default=80)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--max-prompt", type=int, default=1024)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    config = ModelConfig(name="check", path=given.model)
    model = load_model(config, dtype=given.dtype, device=given.device, engine=EngineConfig())
    full = Watched()
    full.bind(model.stack)
    methods = {name: bound(model.stack, method, params) for name, (method, params) in SIDES.items()}
    parted, answers = [], 0
    prompts = encoded_prompts(model, given.prompts, given.limit, given.max_prompt)
    for number, ids in enumerate(prompts):
        wanted = decoded(full, [ids], given.tokens, eos=model.eos)[0].outputs[0]
        best = full.best
        for name, method in methods.items():
            got = decoded(method, [ids], given.tokens, eos=model.eos, name=str(number))[0].outputs[0]
            answers += 1
            pairs = enumerate(zip(got, wanted, strict=False))
            place = next((place for place, (one, other) in pairs if one != other), None)
            if place is not None:
                gap = steps_apart(best[place], MANTISSA[model.stack.dtype])
                parted.append(gap)
                print(f"prompt {number:3}  {name:14} token {place:3}  gap {gap:.1f} steps", flush=True)
    elsewhere = sum(gap > NEAR for gap in parted)
    print(
        f"{given.model.rpartition('/')[2]}, {model.stack.dtype}: {len(parted)} of {answers} answers part "
        f"from the full model's, {elsewhere} of them elsewhere than at a near tie"
    )
    sys.exit(1 if elsewhere else 0)


if __name__ == "__main__":
    main()
