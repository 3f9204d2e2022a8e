"""The run folder across processes: killed in the middle, two at once, a disk that fills up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runners.errors import RunError
from runners.storage import RunFolder

ROOT = Path(__file__).resolve().parents[2]
PRELUDE = """
import itertools, sys, time
from runners.storage import RunFolder
run = RunFolder(sys.argv[1], "run")
"""


def start(code, folder):
    """Start a Python process in which `run` is the run folder; its output can be read."""
    command = [sys.executable, "-c", PRELUDE + code, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_acknowledged_records_survive_kill_9(tmp_path):
    code = """
run.start("", {})
for n in itertools.count():
    run.append({"n": n, "text": "x" * 50_000})
    print(n, flush=True)
"""
    for _ in range(3):
        process = start(code, tmp_path)
        acknowledged = [int(process.stdout.readline()) for _ in range(20)]
        time.sleep(0.01)
        kill(process)
        records = RunFolder(tmp_path, "run").read_journal()
        assert [record["n"] for record in records] == list(range(len(records)))
        assert len(records) > acknowledged[-1]
        RunFolder(tmp_path, "run").reset()


def test_kill_9_while_files_are_replaced_leaves_whole_files(tmp_path):
    code = """
run.start("", {})
for n in itertools.count():
    run.write_json("metrics.json", {"quality": n, "model": "x" * 2_000_000})
    print(n, flush=True)
"""
    for delay in (0.0, 0.003, 0.007, 0.011, 0.015):
        process = start(code, tmp_path)
        process.stdout.readline()
        time.sleep(delay)
        kill(process)
        run = RunFolder(tmp_path, "run")
        assert len(run.read_metrics()["model"]) == 2_000_000
        with run.lock():
            assert sorted(path.name for path in run.path.iterdir()) == [
                "config.yaml",
                "environment.json",
                "metrics.json",
            ]


def test_a_run_killed_before_done_is_not_done(tmp_path):
    code = """
import os
run.start("", {})
run.append({"n": 1})
write = run.write_text
def dying(name, text):
    if name == "DONE":
        os.kill(os.getpid(), 9)
    write(name, text)
run.write_text = dying
run.finish([], {})
"""
    process = start(code, tmp_path)
    process.communicate()
    run = RunFolder(tmp_path, "run")
    assert process.returncode == -signal.SIGKILL
    assert (run.path / "metrics.json").exists() and not run.is_done()
    assert run.read_journal() == [{"n": 1}]
    run.finish([], {})
    assert run.is_done()


def test_a_second_process_is_told_and_a_dead_holder_holds_nothing(tmp_path):
    holder = start("with run.lock():\n    print('held', flush=True)\n    time.sleep(60)", tmp_path)
    assert holder.stdout.readline() == "held\n"
    run = RunFolder(tmp_path, "run")
    with pytest.raises(RunError, match=r"^run run is being written by another process$"), run.lock():
        pass
    kill(holder)
    with run.lock():
        pass


def test_a_second_process_can_wait_with_a_notice(tmp_path):
    code = "with run.lock(wait=True):\n    print('held', flush=True)"
    with RunFolder(tmp_path, "run").lock():
        waiting = start(code, tmp_path)
        assert "waiting for it" in waiting.stderr.readline()
        assert waiting.poll() is None
    assert waiting.communicate(timeout=20)[0] == "held\n"
    assert waiting.returncode == 0


def test_a_disk_that_is_really_full_is_one_line_and_keeps_what_was_there(tmp_path):
    code = """
import resource
from runners.errors import RunError
run.start("seed: 0", {})
run.append({"n": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
text = "x" * 10_000
for write in (lambda: run.append({"text": text}), lambda: run.write_text("config.yaml", text)):
    try:
        write()
    except RunError as error:
        print(error)
run.append({"n": 2})
"""
    out, errors = start(code, tmp_path).communicate(timeout=60)
    run = RunFolder(tmp_path, "run")
    assert errors == ""
    assert [line.rpartition(": ")[2] for line in out.splitlines()] == ["File too large", "File too large"]
    assert run.read_journal() == [{"n": 1}, {"n": 2}]
    assert (run.path / "config.yaml").read_text() == "seed: 0"
    assert not list(run.path.glob(".*"))
