"""Runs in processes of their own that can be killed: forked, because a fresh one takes seconds to import."""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import yaml
from bench import Bench

from runners.storage import RunFolder
from runners.user_errors import USER_ERRORS

# What the child says by its exit status.
RAN, REFUSED, BROKE = 0, 2, 3
_WRITERS = ("runners/files.py", "runners/journal.py", "runners/storage.py")
# What they call that touches the disk.
_TOUCHES = {"open", "read", "write", "flush", "fsync", "truncate", "replace", "close", "__exit__"}
# Far more than any of these runs takes.
_LONGEST_S = 300


def forked(work: Callable[[], Any]) -> int:
    """Start `work` in a child; its pid. What a user could mend goes to the child's stderr, in one line."""
    pid = os.fork()
    if pid:
        return pid
    status = BROKE
    # Whoever hangs must not hang the tests.
    signal.alarm(_LONGEST_S)
    try:
        work()
        status = RAN
    except USER_ERRORS as error:
        # First, because a child that may write no more cannot say it either.
        status = REFUSED
        print(f"error: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def ended(pid: int) -> int:
    """Wait for a child: its exit status, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_after(seconds: float, work: Callable[[], Any]) -> bool:
    """Kill a child after some time; whether it was still at work."""
    pid = forked(work)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    status = ended(pid)
    assert status in (RAN, -signal.SIGKILL)
    return status != RAN


def dies_at(point: int) -> None:
    """Let this process kill itself at the n-th call, or return from a call, by which the modules that write
    touch the disk."""
    left = [point]

    def count(frame: FrameType, event: str, called: Any) -> None:
        touches = event in ("c_call", "c_return") and called.__name__ in _TOUCHES
        if touches and frame.f_code.co_filename.endswith(_WRITERS):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def dies_writing_past(size: int) -> None:
    """Let the system kill this process in the middle of the write that takes a file past `size` bytes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def the_run(bench: Bench) -> RunFolder:
    """The only run of a results folder."""
    [name] = [entry.name for entry in bench.results.iterdir() if not entry.name.startswith(".")]
    return RunFolder(bench.results, name)


def whole(run: RunFolder) -> list[str]:
    """Read all that a killed run left, each file of which must be whole; the examples that it finished."""
    for name, parse in (("environment.json", json.loads), ("config.yaml", yaml.safe_load)):
        if (run.path / name).exists():
            assert parse((run.path / name).read_text())
    if run.is_done():
        run.read_metrics()
        return [row["example_id"] for row in run.read_rows()]
    for name, read in (("metrics.json", run.read_metrics), ("samples.parquet", run.read_rows)):
        if (run.path / name).exists():
            read()
    return [row["example_id"] for record in run.read_journal() for row in record["rows"]]
