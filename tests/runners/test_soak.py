"""Three thousand examples in one run: memory, open files and the work of an append stay flat. And twenty
minutes of faults, one every few seconds: nothing lost."""

import json
import os
import random
import resource
import signal
import statistics
import time
from collections import Counter
from pathlib import Path

import pytest
from bench import untimed
from faults import RAN, REFUSED, dies_at, dies_writing_past, ended, forked, the_run, whole

from runners.storage import RunFolder

EXAMPLES, WINDOW = 3_000, 500
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def moved():
    """Bytes that this process has read and written."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["rchar"]) + int(lines["wchar"])


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
        before = moved()
        append(run, record)
        seen.append((moved() - before, resident(), open_files()))

    monkeypatch.setattr(RunFolder, "append", watched)
    data = ["task.source=file", f"task.path={path}", f"task.calibration_path={other}"]
    settings = ["limit=null", "max_new_tokens=4", "task.shots=0", "method=ffnskip", "method.threshold=0.9"]
    finished = bench.run(*data, *settings)
    assert finished.metrics["examples"] == len(seen) == EXAMPLES
    append_bytes, memory, files = zip(*seen, strict=True)
    # The first window warms up.
    early, late = slice(WINDOW, 2 * WINDOW), slice(-WINDOW, None)
    begun, over = (statistics.median(memory[part]) for part in (early, late))
    growth, an_example = over / begun - 1, (over - begun) / (EXAMPLES - 2 * WINDOW)
    work = [statistics.median(append_bytes[part]) for part in (early, late)]
    grown = f"{growth:+.2%}, {an_example:+.0f} B an example"
    print(f"memory {begun / 2**20:.0f} -> {over / 2**20:.0f} MiB ({grown})")
    print(f"open files {max(files[early])} -> {max(files[late])}, bytes moved by an append {work}")
    assert growth <= 0.02
    assert max(files[late]) <= max(files[early])
    assert work[1] < 1.5 * work[0]


FAULTED = ("limit=12", "max_new_tokens=16", "method=ffnskip", "method.threshold=0.5")


class Faults:
    """Ways to disturb a run; what the process then ended with."""

    def __init__(self, noise, lasting):
        self.noise, self.lasting = noise, lasting

    def _moment(self):
        return self.noise.uniform(0, self.lasting)

    def _signalled(self, number, work):
        moment, child = self._moment(), forked(work)
        time.sleep(moment)
        os.kill(child, number)
        return ended(child), {-number}

    def killed(self, work):
        """At some moment."""
        return self._signalled(signal.SIGKILL, work)

    def terminated(self, work):
        return self._signalled(signal.SIGTERM, work)

    def killed_at_a_point(self, work):
        """At a call that touches the disk, or at the return from it."""
        point = self.noise.randrange(1, 180)
        return ended(forked(lambda: (dies_at(point), work()))), {-signal.SIGKILL}

    def killed_writing(self, work):
        """In the middle of a write."""
        size = self.noise.randrange(50, 40_000)
        return ended(forked(lambda: (dies_writing_past(size), work()))), {-signal.SIGXFSZ}

    def disk_full(self, work):
        """No file may grow beyond some bytes, and the write that would is refused."""
        size = self.noise.randrange(50, 40_000)

        def limited():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            work()

        return ended(forked(limited)), {REFUSED}

    def raced(self, work):
        """A second process wants the same run, and the first is killed beside it."""
        moment, first, second = self._moment(), forked(work), forked(work)
        time.sleep(moment)
        os.kill(first, signal.SIGKILL)
        assert ended(second) in (RAN, REFUSED)
        # Refused, if the second was there before it.
        return ended(first), {-signal.SIGKILL, REFUSED}


FAULTS = ("killed", "terminated", "killed_at_a_point", "killed_writing", "disk_full", "raced")


@pytest.mark.soak
def test_twenty_minutes_of_faults(bench, tmp_path):
    minutes = float(os.environ.get("SOAK_MINUTES", "20"))
    began = time.monotonic()
    reference = [untimed(row) for row in bench.rows(*FAULTED, f"results_dir={tmp_path / 'undisturbed'}")]
    noise, counts, finished, runs = random.Random(9), Counter(), [], 0
    faults = Faults(noise, time.monotonic() - began)
    deadline = time.monotonic() + 60 * minutes
    while time.monotonic() < deadline:
        name = noise.choice(FAULTS)
        status, expected = getattr(faults, name)(lambda: bench.run(*FAULTED))
        assert status == RAN or status in expected, f"{name}: {status}"
        counts[name, "at work" if status in expected else "too late"] += 1
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
    assert runs >= minutes
    assert all(counts[name, "at work"] >= minutes for name in FAULTS)
