"""A disk that fills up, a folder that vanishes or cannot be written, a clock that is set back: in a run."""

import os
import re
import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from bench import ROOT, untimed
from faults import REFUSED, ended, forked, the_run, whole

from runners.pair import Pair

RUN = ("limit=4", "max_new_tokens=8", "runner.baseline=none")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 48 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def during(monkeypatch, answered, happens):
    """Let something happen after so many batches are answered."""
    ask, count = Pair.rows, []

    def asked(pair, examples, number):
        rows = ask(pair, examples, number)
        count.append(number)
        if len(count) == answered:
            happens()
        return rows

    monkeypatch.setattr(Pair, "rows", asked)


def refusal(bench, capfd, *overrides):
    """The one line of a run that cannot go on."""
    capfd.readouterr()
    assert ended(forked(lambda: bench.run(*RUN, *overrides))) == REFUSED
    [line] = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    return line


def test_a_limit_on_files_in_the_middle_of_a_run(bench, capfd, monkeypatch):
    bench.run(*RUN, "seed=1")
    before = bench.files()
    with monkeypatch.context() as patched:
        during(patched, 1, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000)))
        assert refusal(bench, capfd).endswith("File too large")
    after = bench.files()
    assert all(after[name] == content for name, content in before.items())
    bench.run(*RUN)
    assert not list(bench.results.rglob("*.partial"))


def test_a_full_disk_in_the_middle_of_a_run(bench, capfd, small_disk, monkeypatch):
    undisturbed = [untimed(row) for row in bench.rows(*RUN)]
    bench.results = small_disk / "results"
    filler = small_disk / "filler"

    def fill():
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(b"x" * 1024)

    with monkeypatch.context() as patched:
        during(patched, 3, fill)
        assert refusal(bench, capfd).endswith("No space left on device")
    assert len(whole(the_run(bench))) >= 2
    filler.unlink()
    assert [untimed(row) for row in bench.rows(*RUN)] == undisturbed
    assert not list(bench.results.rglob("*.partial"))


def test_a_results_folder_that_vanishes(bench, capfd, monkeypatch):
    during(monkeypatch, 2, lambda: shutil.rmtree(bench.results))
    assert refusal(bench, capfd).endswith("journal.jsonl: No such file or directory")
    assert not bench.results.exists()


@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_results_folder_that_cannot_be_written(bench, capfd, mode):
    bench.results.mkdir(mode=mode)
    if os.geteuid() == 0:
        # Nothing is closed to an administrator but what is mounted so.
        readonly = ["mount", "--bind", "-o", "ro", str(bench.results), str(bench.results)]
        if subprocess.run(readonly, capture_output=True).returncode:
            pytest.skip("an administrator who may not mount can write everywhere")
    try:
        line = refusal(bench, capfd)
    finally:
        subprocess.run(["umount", "-l", str(bench.results)], capture_output=True)
        bench.results.chmod(0o700)
    assert line.endswith("choose another results_dir")


def test_a_clock_that_is_set_back(bench, monkeypatch):
    hours = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: 1e9 - 3600 * next(hours))
    finished = bench.run(*RUN)
    assert finished.metrics["setup_s"] > 0
    assert finished.metrics["wall_s"] >= finished.metrics["setup_s"]
    assert finished.metrics["tokens_per_s"] > 0


def test_nothing_is_timed_by_the_clock_on_the_wall():
    rooms = ("models", "methods", "tasks", "runners", "scripts")
    sources = [file for room in rooms for file in Path(ROOT / room).rglob("*.py")]
    assert len(sources) > 50
    wall = re.compile(r"time\.time(_ns)?\(|from time import .*\btime\b|(?<!performance\.)\bnow\(\)")
    # What a chat template writes is a date.
    assert [file.name for file in sources if wall.search(file.read_text())] == ["moment.py"]
