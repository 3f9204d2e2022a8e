"""Three thousand examples in one run: memory, open files and the time of an append stay flat. And twenty
minutes of faults, one every few seconds: nothing lost."""

import json
import os
import random
import resource
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from bench import untimed
from faults import RAN, REFUSED, dies_at, dies_writing_past, ended, forked, the_run, whole

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


FAULTED = ("limit=12", "max_new_tokens=16", "method=ffnskip", "method.threshold=0.5")
MINUTES = float(os.environ.get("SOAK_MINUTES", "20"))


def signalled(number, seconds, work):
    """A signal at some moment."""
    child = forked(work)
    time.sleep(seconds)
    os.kill(child, number)
    return ended(child)


def full(size, work):
    """No file may grow beyond some bytes, and the write that would is refused."""

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        work()

    return ended(forked(limited))


def raced(seconds, work):
    """A second process that wants the same run, and the first killed beside it."""
    first = forked(work)
    second = forked(work)
    time.sleep(seconds)
    os.kill(first, signal.SIGKILL)
    ended(second)
    return ended(first)


@pytest.mark.soak
def test_twenty_minutes_of_faults(bench, tmp_path):
    reference = [untimed(row) for row in bench.rows(*FAULTED, f"results_dir={tmp_path / 'undisturbed'}")]
    noise, counts, finished, runs = random.Random(9), Counter(), [], 0
    faults = {
        "killed": lambda work: signalled(signal.SIGKILL, noise.uniform(0, 3), work),
        "terminated": lambda work: signalled(signal.SIGTERM, noise.uniform(0, 3), work),
        "killed at a point of writing": lambda work: ended(
            forked(lambda: (dies_at(noise.randrange(1, 600)), work()))
        ),
        "killed in the middle of a write": lambda work: ended(
            forked(lambda: (dies_writing_past(noise.randrange(50, 40_000)), work()))
        ),
        "disk full": lambda work: full(noise.randrange(50, 40_000), work),
        "two at a time": lambda work: raced(noise.uniform(0, 3), work),
    }
    deadline = time.monotonic() + 60 * MINUTES
    while time.monotonic() < deadline:
        name = noise.choice(list(faults))
        # Drawn here: a child's draws are its own.
        noise.seed(noise.random())
        status = faults[name](lambda: bench.run(*FAULTED))
        assert status in (RAN, REFUSED) or status < 0, f"{name}: {status}"
        counts[name, "at work" if status != RAN else "too late"] += 1
        if not bench.results.exists() or not any(bench.results.glob("[!.]*")):
            continue
        run = the_run(bench)
        before, finished = finished, whole(run)
        assert finished[: len(before)] == before, f"{name} lost what was finished"
        assert len(set(finished)) == len(finished), f"{name} answered twice"
        if run.is_done():
            assert [untimed(row) for row in bench.rows(*FAULTED)] == reference
            assert not list(bench.results.rglob("*.partial"))
            runs, finished = runs + 1, []
            run.reset()
    for (name, when), count in sorted(counts.items()):
        print(f"{name}, {when}: {count}")
    print(f"{sum(counts.values())} faults over {runs} finished runs, nothing lost")
    assert sum(count for (_, when), count in counts.items() if when == "at work") > MINUTES
