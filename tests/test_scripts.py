"""The benchmarks run; what they print is for a quiet machine to say."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def run(monkeypatch, capfd, script, *arguments):
    """A script in this process: (status, stdout, stderr)."""
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, arguments)])
    monkeypatch.syspath_prepend(ROOT / "scripts")
    status = 0
    try:
        runpy.run_path(str(ROOT / f"scripts/{script}.py"), run_name="__main__")
    except SystemExit as end:
        status = end.code
    said = capfd.readouterr()
    return status, said.out, said.err


SMALL = ("--shape", "tiny", "--device", "cpu", "--dtype", "float32", "--tokens", "3", "--repeats", "1")


def test_the_whole_path_of_make_gpu_without_a_gpu(monkeypatch, capfd, tmp_path):
    """Compiling takes longer than all else, and is torch's to test."""
    monkeypatch.setattr(torch._dynamo.config, "disable", True)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess(_, 0, "7 passed\n"))
    status, out, err = run(monkeypatch, capfd, "bench_gpu", *SMALL, "--out", tmp_path)
    assert status == 0, err
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["tests"]["status"] == 0 and found["copy_bytes_per_s"] > 0 and "missing" not in found
    for batch in (1, 16):
        for side in ("full", "generate", "generate, static and compiled"):
            median, low, high = found[f"tiny, batch {batch}, {side}"]
            assert 0 < low <= median <= high
        methods = found[f"tiny, batch {batch}, methods"]
        assert set(methods) == {"unified", "early_exit", "ffnskip"}
        assert all(one["ideal"] > 1 and one["efficiency"] > 0 for one in methods.values())
        assert {f"tiny, batch {batch}, µs per test, {name}" for name in ("ffnskip", "early_exit")} <= set(
            found
        )
    written = (tmp_path / "gpu.md").read_text()
    assert written.startswith("`python scripts/bench_gpu.py --shape tiny")
    assert written.count("| tiny, batch 16") == 6 and "- tests: 7 passed" in written
    assert "gpu.json and gpu.md" in out


def test_it_ends_before_its_time_does_and_keeps_what_it_has(monkeypatch, capfd, tmp_path):
    status, _, err = run(
        monkeypatch, capfd, "bench_gpu", *SMALL, "--minutes", 0.18, "--tests", "no", "--out", tmp_path
    )
    assert status == 0, err
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert (
        found["seconds"] <= 0.18 * 60 + 1
        and found["missing"]
        and "- missing: tiny" in (tmp_path / "gpu.md").read_text()
    )


@pytest.mark.slow
def test_a_part_that_fails_takes_nothing_else_with_it(monkeypatch, capfd, tmp_path):
    def out_of_memory(*arguments, **keywords):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to\nallocate")

    monkeypatch.setattr("methods.hf_generate.HFGenerate.generate", out_of_memory)
    status, _, err = run(monkeypatch, capfd, "bench_gpu", *SMALL, "--tests", "no", "--out", tmp_path)
    assert status == 0, err
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert "tiny, batch 1, generate: CUDA out of memory. Tried to" in found["missing"]
    assert found["tiny, batch 16, full"] and len(found["missing"]) == 4


@pytest.mark.slow
def test_the_report_of_synthetic_runs(monkeypatch, capfd):
    status, out, err = run(monkeypatch, capfd, "bench_report", "--runs", "2", "--rows", "4")
    assert status == 0, err
    assert re.search(r"load [\d.]+ s: 2 runs, 8 answers, every column\nreport [\d.]+ s: \d+ files", out)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_gpu_table_says_that_there_is_no_gpu(monkeypatch, capfd):
    status, out, err = run(monkeypatch, capfd, "bench_gpu")
    assert status == 2 and err.startswith("error: there is no CUDA device")
    assert err.count("\n") == 1 and not out
