"""The benchmarks run; what they print is for a quiet machine to say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def run(script, *arguments):
    # Compiling takes longer than all else, and is torch's to test.
    return subprocess.run(
        [sys.executable, f"scripts/{script}.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "TORCHDYNAMO_DISABLE": "1"},
    )


def test_the_gpu_table_on_a_tiny_model_without_a_gpu():
    small = ("--shape", "tiny", "--device", "cpu", "--dtype", "float32", "--tokens", "4", "--repeats", "1")
    done = run("bench_gpu", *small)
    assert done.returncode == 0, done.stderr
    assert re.search(r"full [\d.]+ ms a step; weights once [\d.]+ ms", done.stdout)
    assert len(re.findall(r"generate(?:, compiled)? / full [\d.]+", done.stdout)) == 2
    assert re.search(r"one test of FFN-SkipLLM -?[\d.]+ us", done.stdout)
    for method in ("unified", "early_exit", "ffnskip"):
        found = re.findall(rf"skip (0\.\d+) +{method} +speedup +([\d.]+) +ideal +([\d.]+)", done.stdout)
        assert [skip for skip, _, _ in found] == ["0.25", "0.50"]
        assert all(float(ideal) > 1 for _, _, ideal in found)


def test_the_report_of_synthetic_runs():
    done = run("bench_report", "--runs", "2", "--rows", "4")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"load [\d.]+ s: 2 runs, 8 answers, every column\nreport [\d.]+ s: \d+ files", done.stdout
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_gpu_table_says_that_there_is_no_gpu():
    done = run("bench_gpu")
    assert done.returncode == 2 and done.stderr.startswith("error: there is no CUDA device")
    assert done.stderr.count("\n") == 1 and not done.stdout
