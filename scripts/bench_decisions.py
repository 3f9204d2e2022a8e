"""What does it cost to look? Methods that test states and never skip, beside the full model, taken in turn.

    python scripts/bench_decisions.py [--dtype bfloat16] [--batch 1] [--tokens 64] [--rounds 15]

The difference between the steps of both, divided by the tests in a step, is the time of one decision:
arithmetic, a copy to the host where there is a device, and the branch. Measured on random weights with the
depth and the width of the default model, and with FFNs and a vocabulary so small that reading weights, whose
time varies by more than that, takes next to none. Needs torch and transformers only.
"""

import argparse

from benchmarking import bound, decoded, processor, random_prompts, spread
from transformers import AutoModelForCausalLM, LlamaConfig

from models.dtypes import resolve_dtype
from models.loading import resolve_device
from models.stack import Stack
from runners.stopwatch import Stopwatch

# Never reached: a cosine, or a difference of probabilities, is at most 1.
NEVER = {"threshold": 1.0}
METHODS = {
    "ffnskip": ("ffnskip", {**NEVER, "warmup_tokens": 0}),
    "early_exit, saturation": ("early_exit", {**NEVER, "confidence": "saturation", "decay": "none"}),
}


def fastest(watch: Stopwatch) -> float:
    """Seconds of the fastest decode call."""
    return min(seconds for seconds, _ in watch.laps)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    device = resolve_device(given.device)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=576,
        intermediate_size=64,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=resolve_dtype(given.dtype, device))
    stack = Stack(model.to(device).eval().requires_grad_(False))
    prompts = random_prompts(stack, given.batch, 16)
    full = bound(stack, "full")
    sides = {name: bound(stack, method, params) for name, (method, params) in METHODS.items()}
    tests = {name: len(side.eligible if name == "ffnskip" else side.exits) for name, side in sides.items()}
    print(f"{processor(stack.device)}, {stack.dtype}, {stack.layer_name} layers, batch {given.batch}")
    for name, side in sides.items():
        added = []
        for _ in range(given.rounds):
            # The fastest step: whatever disturbs a machine makes steps slower.
            own, plain = (fastest(decoded(one, prompts, given.tokens)[1]) for one in (side, full))
            added.append(1e6 * (own - plain) / tests[name])
        median, low, high = spread(added)
        print(f"{name:24} {tests[name]:3} tests per step, {median:7.1f} µs each ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
