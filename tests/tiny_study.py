"""Results folders written by hand, for the tests of what reads them."""

import json

import pyarrow.parquet as pq

from runners.schema import metrics_json, samples_table
from runners.storage import DONE


def metrics(**values):
    """A run of ffnskip on factoidqa, with everything known."""
    given = {
        "model": "smol",
        "task": "factoidqa",
        "source": "embedded",
        "dtype": "float32",
        "device": "cpu",
        "code_revision": "abc1234",
        "batch_size": 1,
        "max_new_tokens": 32,
        "examples": 3,
        "method": "ffnskip",
        "method_params": json.dumps({"threshold": 0.94, "cold_start": 0.15}),
        "solved_parameter": "threshold",
        "solved_value": 0.94,
        "quality_metric": "contains",
        "quality": 0.41,
        "quality_lo": 0.3,
        "quality_hi": 0.52,
        "full_quality": 0.5,
        "quality_delta": -0.09,
        "quality_delta_lo": -0.2,
        "quality_delta_hi": 0.01,
        "quality_p": 0.2,
        "quality_mde": 0.2,
        "new_hallucination_rate": 0.1,
        "collapse_rate": 0.0,
        "full_collapse_rate": 0.0,
        "realised_skip_weighted": 0.2,
        "speedup": 1.1,
        "speedup_lo": 1.05,
        "speedup_hi": 1.16,
        "ideal_speedup": 1.2,
        "efficiency": 0.92,
    }
    return {**given, **values}


def answer(example, outcome="correct", full_outcome="correct", **values):
    """One answer to one question, beside the full model's."""
    given = {
        "example_id": example,
        "turn": 0,
        "question": f"What is {example}?",
        "prompt": f"Answer.\nWhat is {example}?",
        "reference": ["a small thing"],
        "output_text": f"{example} is a very large thing.",
        "full_output_text": f"{example} is a small thing.",
        "output_tokens": 9,
        "full_output_tokens": 8,
        "finish_reason": "eos",
        "full_finish_reason": "length",
        "prefill_s": 0.05,
        "decode_s": 0.4,
        "full_prefill_s": 0.05,
        "full_decode_s": 0.5,
        "quality": float(outcome == "correct"),
        "full_quality": float(full_outcome == "correct"),
        "collapsed": outcome == "collapsed",
        "full_collapsed": False,
        "outcome": outcome,
        "full_outcome": full_outcome,
    }
    return {**given, **values}


def write_run(root, name, answers=(), day="2026-11-20", **values):
    """Write a finished run; `answers` are records of `answer`, `values` go over those of `metrics`."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    environment = {"utc": f"{day}T10:00:00Z", "cpu": "Some Processor", "devices": []}
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "metrics.json").write_text(metrics_json(metrics(run_id=name, **values)))
    rows = [one | {"run_id": name} for one in answers]
    pq.write_table(samples_table(rows), folder / "samples.parquet")
    (folder / DONE).touch()
    return folder
