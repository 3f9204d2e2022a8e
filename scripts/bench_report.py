"""How long a large results folder takes to load and to report.

    python scripts/bench_report.py [--runs 1000] [--rows 100]

The runs are synthetic, in a temporary folder, and written by the writer of real runs: two models, three
tasks, twelve methods at rising skips.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis import load_metrics, load_samples
from analysis.report import write_report
from runners.metrics import summarise
from runners.storage import RunFolder

MODELS = ("small", "large")
TASKS = {
    "factoidqa": ("arts", "music", "science"),
    "mtbench": ("math", "writing"),
    "summarization": ("short", "long"),
}
METHODS = (
    "drop_last", "early_exit", "ffnskip", "full", "prompt_lookup", "random_ffn",
    "random_layer", "shortgpt", "skipdecode", "static_ffn", "swift", "unified",
)  # fmt: skip
DRAFTING = ("prompt_lookup", "swift")
LOSSLESS = ("full", *DRAFTING)
LAYERS, TOKENS = 30, 32


def combinations(runs: int) -> Iterator[tuple[str, str, str, float]]:
    """Model, task, method and skip of every run."""
    a_skip = len(MODELS) * len(TASKS) * len(METHODS)
    skips = np.linspace(0.05, 0.5, -(-runs // a_skip))
    return islice(((*one, skip) for skip, *one in product(skips, MODELS, TASKS, METHODS)), runs)


def answers(
    task: str, method: str, skip: float, rows: int, drawn: np.random.Generator
) -> list[dict[str, Any]]:
    """Rows as a run would leave them."""
    steps = TOKENS - 1
    run = drawn.binomial(steps, 1 - (0 if method in LOSSLESS else skip), size=(rows, 2, LAYERS))
    full_right = drawn.random(rows) < 0.5
    right = full_right & (drawn.random(rows) > skip)
    categories = TASKS[task]
    found = []
    for number in range(rows):
        seconds = drawn.normal(0.03, 0.001, size=(2, steps))
        attention, ffn = run[number]
        outcome, full_outcome = ("correct" if side[number] else "wrong" for side in (right, full_right))
        found.append({
            "task": task,
            "method": method,
            "example_id": f"{task}-{number}",
            "turn": 0,
            "category": categories[number % len(categories)],
            "source_sha256": f"{number:064x}",
            "prompt": f"Question {number}: " + "what is it that is asked here? " * 4,
            "prompt_sha256": f"{number:064x}",
            "prompt_tokens": int(drawn.integers(20, 200)),
            "output_ids": drawn.integers(0, 50000, TOKENS).tolist(),
            "output_text": f"answer {drawn.integers(1000)} " * 16,
            "output_tokens": TOKENS,
            "finish_reason": "length",
            "prefill_s": 0.1,
            "decode_s": float(seconds[0].sum() * (1 - skip)),
            "batch": number,
            "order": "full",
            "full_prompt_tokens": 50,
            "full_output_ids": drawn.integers(0, 50000, TOKENS).tolist(),
            "full_output_text": f"answer {number} " * 16,
            "full_output_tokens": TOKENS,
            "full_prefill_s": 0.1,
            "full_decode_s": float(seconds[1].sum()),
            "quality": float(right[number]),
            "full_quality": float(full_right[number]),
            "outcome": outcome,
            "full_outcome": full_outcome,
            "hallucinated": outcome == "wrong",
            "full_hallucinated": full_outcome == "wrong",
            "collapsed": False,
            "full_collapsed": False,
            "attention_run": int(attention.sum()),
            "ffn_run": int(ffn.sum()),
            "attention_total": steps * LAYERS,
            "ffn_total": steps * LAYERS,
            "attention_run_by_layer": attention.tolist(),
            "ffn_run_by_layer": ffn.tolist(),
            "exit_layers": drawn.integers(10, LAYERS, steps).tolist() if method == "early_exit" else None,
            "accepted_lengths": drawn.integers(1, 6, 10).tolist() if method in DRAFTING else None,
            "reference": ["something", "some other thing"],
            "question": f"what is {number}?",
            "scores": {"contains": float(right[number]), "f1": 0.5},
            "full_scores": {"contains": float(full_right[number]), "f1": 0.5},
            "step_s": seconds[0].tolist(),
            "full_step_s": seconds[1].tolist(),
            "step_tokens": [1] * steps,
            "method_bytes": 1e9 * (1 - skip),
            "full_bytes": 1e9,
            "decision_bytes": 0.0,
            "attention_weight": 884736.0,
            "ffn_weight": 2654208.0,
            "skipped_steps": steps,
        })  # fmt: skip
    return found


def write_runs(root: Path, runs: int, rows: int) -> None:
    """Write finished runs into a results folder."""
    drawn = np.random.default_rng(0)
    for number, (model, task, method, skip) in enumerate(combinations(runs)):
        run = RunFolder(root, f"{model}-{task}-{method}-{number:08x}")
        params = json.dumps({"share": skip})
        made = [
            row | {"run_id": run.run_id, "model": model, "method_params": params}
            for row in answers(task, method, skip, rows, drawn)
        ]
        facts = {
            "run_id": run.run_id, "model": model, "task": task, "source": "synthetic", "method": method,
            "method_params": params, "lossless": method in LOSSLESS, "untrained_ablation": False,
            "dtype": "float32", "device": "cpu", "threads": 2, "batch_size": 1, "max_new_tokens": TOKENS,
            "temperature": 0.0, "seed": 0, "engine_layer": "fused", "baseline": "paired",
            "code_revision": "abc", "quality_metric": "contains",
        }  # fmt: skip
        run.start("synthetic: true\n", {})
        run.finish(made, summarise(made, facts))


def main() -> None:
    """Write the runs, load them, report them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=100, help="answers a run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "results"
        write_runs(root, given.runs, given.rows)
        began = time.perf_counter()
        metrics, samples = load_metrics(root), load_samples(root)
        loaded = time.perf_counter()
        print(f"load {loaded - began:.1f} s: {len(metrics)} runs, {len(samples)} answers, every column")
        report = write_report(root, Path(folder) / "report")
        print(f"report {time.perf_counter() - loaded:.1f} s: {len(report.files)} files")


if __name__ == "__main__":
    main()
