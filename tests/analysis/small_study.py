"""A small results folder, written as runs write it."""

import json

from runners.metrics import summarise
from runners.storage import RunFolder

LAYERS, STEPS = 4, 8
CATEGORIES = ("music", "science", "sport")


def answers(task, method, skip, count=12):
    """Rows of one run: the more it skips, the more right answers become wrong; early exit gains less time."""
    rows = []
    for number in range(count):
        full_right = number % 2 == 0
        right = full_right and number >= skip * count
        run = [STEPS, round(STEPS * (1 - skip)), round(STEPS * (1 - skip)), STEPS]
        rows.append(
            {
                "task": task,
                "method": method,
                "example_id": f"{task}-{number}",
                "turn": 0,
                "category": CATEGORIES[number % 3],
                "prompt_tokens": (140 if task == "summarization" else 40) + number,
                "output_tokens": STEPS + 1,
                "full_output_tokens": STEPS + 1,
                "full_prompt_tokens": 40 + number,
                "decode_s": 1 - skip / (3 if method == "early_exit" else 2),
                "full_decode_s": 1.0,
                "prefill_s": 0.1,
                "full_prefill_s": 0.1,
                "quality": float(right),
                "full_quality": float(full_right),
                "outcome": "correct" if right else "wrong",
                "full_outcome": "correct" if full_right else "wrong",
                "hallucinated": not right,
                "full_hallucinated": not full_right,
                "collapsed": False,
                "full_collapsed": False,
                "attention_run_by_layer": [STEPS] * LAYERS,
                "attention_run": STEPS * LAYERS,
                "attention_total": STEPS * LAYERS,
                "ffn_run_by_layer": run,
                "ffn_run": sum(run),
                "ffn_total": STEPS * LAYERS,
                "attention_weight": 1.0,
                "ffn_weight": 2.0,
                "exit_layers": [2] * 6 + [3] * 2 if method == "early_exit" else None,
                "accepted_lengths": [1, 3, 4] if method == "swift" else None,
                "method_bytes": 100 - 60 * skip,
                "full_bytes": 100.0,
                "decision_bytes": 0.0,
                "skipped_steps": STEPS,
                "scores": {"contains": float(right), "f1": 0.5},
                "full_scores": {"contains": float(full_right), "f1": 0.6},
            }
        )
    return rows


def write_run(root, method, skip=0.0, task="factoidqa", without=(), **facts):
    """Write a finished run; `without` names columns that its rows lack. Returns its id."""
    rows = answers(task, method, skip)
    given = {
        "model": "small",
        "task": task,
        "source": "embedded",
        "method": method,
        "method_params": json.dumps({"share": skip}),
        "lossless": method in ("full", "swift"),
        "untrained_ablation": method == "early_exit",
        "dtype": "float32",
        "device": "cpu",
        "batch_size": 1,
        "max_new_tokens": STEPS + 1,
        "code_revision": "abc",
        "baseline": "paired",
        "quality_metric": "contains",
        **facts,
    }
    run = RunFolder(root, f"{given['model'].replace('/', '_')}-{task}-{method}-{skip}-{given['dtype']}")
    rows = [{name: value for name, value in row.items() if name not in without} for row in rows]
    rows = [row | {"run_id": run.run_id, "model": given["model"]} for row in rows]
    run.start("method: {}\n", {})
    run.finish(rows, summarise(rows, given | {"run_id": run.run_id}))
    return run.run_id


def write_study(root):
    """Two tasks, two lossy methods at two skips, and a lossless one."""
    for task in ("factoidqa", "summarization"):
        for method in ("ffnskip", "early_exit"):
            for skip in (0.25, 0.5):
                write_run(root, method, skip, task)
        write_run(root, "swift", 0.0, task)
