"""Three thousand examples in one run: memory, open files and the time of an append stay flat."""

import json
import os
import time
from pathlib import Path

import pytest

from runners.storage import RunFolder

EXAMPLES = 3_000
WARM_UP = 500
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_three_thousand_examples(bench, tmp_path, monkeypatch):
    path, other = tmp_path / "questions.jsonl", tmp_path / "calibration.jsonl"
    with path.open("w") as file:
        for number in range(EXAMPLES):
            question = f"What is number {number} called?"
            file.write(json.dumps({"id": f"q{number}", "question": question, "answers": ["it"]}) + "\n")
    other.write_text(json.dumps({"question": "why?", "answers": ["b"]}) + "\n")
    append, seen = RunFolder.append, []

    def watched(run, record):
        began = time.perf_counter()
        append(run, record)
        seen.append((time.perf_counter() - began, resident(), open_files()))

    monkeypatch.setattr(RunFolder, "append", watched)
    data = ["task.source=file", f"task.path={path}", f"task.calibration_path={other}"]
    settings = ["limit=null", "max_new_tokens=4", "task.shots=0", "method=ffnskip", "method.threshold=0.9"]
    finished = bench.run(*data, *settings)
    assert finished.metrics["examples"] == len(seen) == EXAMPLES
    seconds, memory, files = zip(*seen, strict=True)
    growth = memory[-1] / memory[WARM_UP] - 1
    early, late = (sorted(part)[len(part) // 2] for part in (seconds[WARM_UP:1000], seconds[-500:]))
    print(f"memory {memory[WARM_UP] / 2**20:.0f} -> {memory[-1] / 2**20:.0f} MiB ({growth:+.2%})")
    print(f"open files {files[WARM_UP]} -> {files[-1]}, append {early * 1e3:.2f} -> {late * 1e3:.2f} ms")
    assert growth <= 0.02
    assert files[-1] == files[WARM_UP]
    assert late < 2 * early + 1e-3
