"""A sweep killed ten times at any moment, and begun again each time, ends as one that nobody disturbed."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench import ROOT, rows_of, untimed

from progress import errors_in
from runners.execute import Finished
from runners.study import Study

KILLS = 10
# One of each kind: a parameter is solved for, drafts are verified, a plan is drawn at random.
JOBS = (
    "method=ffnskip,prompt_lookup,random_layer",
    "limit=16",
    "max_new_tokens=64",
    "task.shots=0",
    "runner.calibration_prompts=40",
)


def begun(bench, results):
    """The sweep, in a group of processes of its own."""
    settings = bench.overrides(*JOBS, f"results_dir={results}")
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), "-m", *settings],
        cwd=bench.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finished(results):
    return {path.parent.name: path.stat().st_mtime_ns for path in results.glob("*/DONE")}


def stored(results):
    """Every finished run: its answers, and which files it has."""
    runs = [results / name for name in sorted(finished(results))]
    return {
        run.name: (
            [untimed(row) for row in rows_of(Finished({}, run, True))],
            sorted(path.name for path in run.iterdir()),
        )
        for run in runs
    }


@pytest.mark.slow
def test_ten_kills(bench):
    undisturbed, disturbed = bench.folder / "undisturbed", bench.folder / "disturbed"
    began = time.monotonic()
    sweep = begun(bench, undisturbed)
    out, err = sweep.communicate(timeout=300)
    err = errors_in(err)
    assert (sweep.returncode, err) == (0, ""), out
    whole = time.monotonic() - began

    noise, at_work, safe = random.Random(8), 0, {}
    for _ in range(KILLS):
        sweep = begun(bench, disturbed)
        time.sleep(noise.uniform(0.1, 0.5) * whole)
        at_work += sweep.poll() is None
        if noise.random() < 0.5:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(sweep.pid, signal.SIGKILL)
        else:
            kill_job(disturbed)
        sweep.communicate(timeout=300)
        # A finished run stays as it is.
        now = finished(disturbed)
        assert safe.items() <= now.items()
        safe = now
        if len(safe) == 3:
            # All have survived: once more from the beginning.
            assert stored(disturbed) == stored(undisturbed)
            subprocess.run(["rm", "-r", *map(str, disturbed.glob("[!.]*"))], check=True)
            safe = {}
    print(f"killed at work: {at_work} of {KILLS}")
    assert at_work >= KILLS - 2

    sweep = begun(bench, disturbed)
    out, err = sweep.communicate(timeout=300)
    err = errors_in(err)
    assert (sweep.returncode, err) == (0, ""), out
    assert stored(disturbed) == stored(undisturbed)
    (folder,) = (path.parent for path in disturbed.glob(".sweep/*/jobs.txt"))
    assert {one.state for one in Study(folder).standing().statuses} <= {"finished", "finished before"}
    assert not list(disturbed.glob("[!.]*/.*")), "no run has anything temporary left"


def kill_job(results: Path) -> None:
    """Kill the job that is at work, if there is one."""
    for folder in {path.parent for path in results.glob(".sweep/*/jobs.txt")}:
        for one in Study(folder).standing().statuses:
            # A status may be that of a process long gone, whose number another has by now.
            command = Path(f"/proc/{one.process}/cmdline")
            if one.state == "running" and command.exists() and str(folder).encode() in command.read_bytes():
                os.kill(one.process, signal.SIGKILL)
