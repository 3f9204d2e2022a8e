"""A study on a real SLURM of this machine: a job that dies, one that is preempted, one that is well."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from bench import ROOT, untimed

from progress import errors_in
from runners.storage import RunFolder
from slurm_cluster import Cluster, missing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[0, 30], ids=["at once", "with grace"])
def cluster(request, tmp_path_factory):
    """Preempts at once, or half a minute after its warning."""
    if why := missing():
        pytest.skip(why)
    with Cluster(tmp_path_factory.mktemp("slurm") / "cluster", grace=request.param) as cluster:
        yield cluster


def start(cluster, bench, *arguments):
    """Start a study on the cluster."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), "-m", "hydra/launcher=slurm", *bench.overrides(*arguments)],
        cwd=bench.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**cluster.environment, "OMP_NUM_THREADS": "1"},
    )


def until(find, seconds=300):
    """Return what `find` finds, as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)
    return found


def status(bench, number):
    (path,) = bench.results.glob(f".sweep/*/{number}.json")
    return json.loads(path.read_text())


def journal(bench, number):
    """The journal of a job's run, found by what its process holds: its name ends in a hash."""
    state = status(bench, number)
    if state["state"] != "running":
        return None
    locks = [path for path in bench.results.glob(".locks/*.lock") if holds(state["process"], path)]
    return bench.results / locks[0].stem / "journal.jsonl" if locks else None


def holds(process, path):
    try:
        return any(os.path.samefile(f"/proc/{process}/fd/{name}", path) for name in fds(process))
    except OSError:
        return False


def fds(process):
    return os.listdir(f"/proc/{process}/fd")


def lines(path):
    return path.read_text().splitlines() if path is not None and path.exists() else []


def test_a_crash_and_a_preemption(cluster, bench):
    parent = start(cluster, bench, "max_new_tokens=100,101,8", "limit=400", "force=true")
    try:
        until(lambda: list(bench.results.glob(".sweep/*/3.json")))
        until(lambda: len(lines(journal(bench, 1))) >= 2)
        os.kill(status(bench, 1)["process"], signal.SIGKILL)

        path = until(lambda: journal(bench, 2))
        until(lambda: len(lines(path)) >= 2)
        first = status(bench, 2)["process"]
        cluster.run("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
        until(lambda: status(bench, 2)["process"] != first or status(bench, 2)["state"] == "interrupted")
        kept = lines(path)
        out, err = parent.communicate(timeout=600)
        err = errors_in(err)
    finally:
        parent.kill()
        parent.communicate()
    assert parent.returncode == 1, err
    assert "3 jobs, 2 finished, 1 failed" in out
    assert err.startswith("error: max_new_tokens=100: its process ended without a word (SLURM says FAILED)")
    assert err.count("\n") == 1
    # Queued again, and nothing that was finished is done twice: these are the first process's times.
    assert status(bench, 2)["process"] != first
    rows = RunFolder(bench.results, path.parent.name).read_rows()
    old = [row for line in kept for row in json.loads(line)["rows"]]
    assert len(rows) == 400 and 2 <= len(old) < 400
    assert [row["prefill_s"] for row in rows[: len(old)]] == [row["prefill_s"] for row in old]
    assert json.loads((path.parent / "environment.json").read_text())["resumed"]
    assert all(path.exists() for path in (log(bench, number) for number in (1, 2, 3)))


def log(bench, number):
    (folder,) = bench.results.glob(".sweep/*/")
    return folder / f"{number}.log"


def test_the_same_results_as_here(cluster, bench, command):
    settings = ("method=full,unified,random_layer", "limit=3", "runner.baseline=none")
    parent = start(cluster, bench, *settings)
    out, err = parent.communicate(timeout=600)
    err = errors_in(err)
    assert (parent.returncode, err) == (0, "") and "3 jobs, 3 finished" in out
    here = bench.folder / "here"
    status, _, err = command("-m", *bench.overrides(*settings, f"results_dir={here}"))
    assert (status, err) == (0, "")
    names = sorted(path.parent.name for path in here.glob("*/DONE"))
    assert len(names) == 3 and names == sorted(path.parent.name for path in bench.results.glob("*/DONE"))
    for name in names:
        queued, own = (RunFolder(root, name).read_rows() for root in (bench.results, here))
        assert [untimed(row) for row in queued] == [untimed(row) for row in own]
