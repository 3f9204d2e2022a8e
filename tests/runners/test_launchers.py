"""Jobs of a study side by side: the same results as in turn, each on a device of its own."""

import os
import re
import signal
import sys
import threading
import time

import pytest
from bench import rows_of, untimed

from runners import launchers
from runners.errors import RunError
from runners.execute import Finished
from runners.job_process import run_here
from runners.launchers import Joblib, Wanted
from runners.resources import JOBS_AT_ONCE
from runners.study import Study

# In the place of run.py: a job that waits for two others like it, and tells which device it has.
MEETING = """
import os, pathlib, sys, time
sys.path.insert(0, {root!r})
from runners.study import Study
folder, number = pathlib.Path(sys.argv[2]), int(sys.argv[3])
(folder / f"{{number}}.here").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
deadline = time.monotonic() + 60
while len(list(folder.glob("*.here"))) < 2 and time.monotonic() < deadline:
    time.sleep(0.01)
met = len(list(folder.glob("*.here"))) >= 2
Study(folder).tell(number, "finished" if met else "failed")
"""

# One that runs until it is told to stop.
PATIENT = """
import pathlib, signal, sys, threading
sys.path.insert(0, {root!r})
from runners.study import Study
study, number = Study(pathlib.Path(sys.argv[2])), int(sys.argv[3])
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())
study.tell(number, "running")
told.wait(60)
study.tell(number, "interrupted", "asked to stop")
"""


@pytest.fixture
def study(tmp_path):
    return Study.create(tmp_path / ".sweep", [["limit=1"], ["limit=2"], ["limit=3"], ["limit=4"]])


def program(tmp_path, text):
    path = tmp_path / "program.py"
    path.write_text(text.format(root=str(launchers.__file__).removesuffix("/runners/launchers.py")))
    return path


def test_two_at_a_time_each_on_its_own_device(study, tmp_path):
    places = [{"CUDA_VISIBLE_DEVICES": "2"}, {"CUDA_VISIBLE_DEVICES": "GPU-7"}]
    run_here(study, study.numbers, program(tmp_path, MEETING), places)
    assert [one.state for one in study.standing().statuses] == ["finished"] * 4
    first_two = {(study.folder / f"{number}.here").read_text() for number in (1, 2)}
    assert first_two == {"2", "GPU-7"}


def test_a_signal_reaches_all_that_run_and_begins_none(study, tmp_path):
    def once_both_run():
        deadline = time.monotonic() + 60
        while sum(one.state == "running" for one in study.standing().statuses) < 2:
            time.sleep(0.02)
            if time.monotonic() > deadline:
                break
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=once_both_run, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_here(study, study.numbers, program(tmp_path, PATIENT), [{}, {}])
    states = [one.state for one in study.standing().statuses]
    assert states == ["interrupted", "interrupted", "waiting", "waiting"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_cannot_be_started_is_raised(study, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError):
        run_here(study, study.numbers, tmp_path / "run.py", [{}, {}])


def gpus(monkeypatch, count, visible=None):
    """Pretend that there are so many."""
    monkeypatch.setattr(launchers.torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(launchers.torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.mark.parametrize(
    ("n_jobs", "there", "visible", "jobs", "devices"),
    [
        (None, 2, None, 9, ["0", "1"]),
        (1, 2, "4,6", 9, ["4"]),
        (None, 2, "3, 5,", 9, ["3", "5"]),
        (None, 1, "0,7", 9, ["0"]),
        (None, 4, None, 2, ["0", "1"]),
        (None, 0, None, 9, [None]),
        (3, 0, None, 9, [None] * 3),
    ],
)
def test_places(monkeypatch, n_jobs, there, visible, jobs, devices):
    gpus(monkeypatch, there, visible)
    places = Joblib(n_jobs).places(Wanted(), jobs)
    assert [place.get("CUDA_VISIBLE_DEVICES") for place in places] == devices


def test_the_processor_is_shared_out(monkeypatch):
    gpus(monkeypatch, 2)
    on_cpu = Wanted(frozenset({"cpu"}))
    monkeypatch.setattr(launchers.torch, "get_num_threads", lambda: 8)
    assert Joblib(4).places(on_cpu, 9) == [{"OMP_NUM_THREADS": "2", JOBS_AT_ONCE: "4"}] * 4
    assert Joblib(4).places(on_cpu, 2) == [{"OMP_NUM_THREADS": "4", JOBS_AT_ONCE: "2"}] * 2
    assert Joblib(4).places(on_cpu, 1) == [{}]
    # Fewer threads are another run, which the parent would not know.
    assert not Joblib(4).looks_first(on_cpu) and Joblib().looks_first(on_cpu)
    assert Joblib(2).looks_first(Wanted())


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Wanted(frozenset({"cuda:1"})), r"device=cuda:1 is for one job; .*device=cuda$"),
        (Wanted(frozenset({"auto"}), spread=True), "one GPU, and engine.device_map=auto wants all"),
    ],
)
def test_a_job_that_wants_other_gpus_than_its_own(monkeypatch, wanted, says):
    gpus(monkeypatch, 2)
    with pytest.raises(RunError, match=says):
        Joblib().places(wanted, 3)


def test_more_jobs_than_gpus_and_no_job_at_all_are_refused(monkeypatch, command, bench):
    asked = ["-m", "hydra/launcher=joblib", *bench.overrides()]
    status, out, err = command(*asked, "hydra.launcher.n_jobs=0")
    assert (status, out) == (2, "") and err == (
        "error: hydra.launcher.n_jobs=0 is out of range: it must be at least 1\n"
    )
    status, _, err = command(*asked, "hydra.launcher.n_job=1")
    assert status == 2 and err.count("\n") == 1 and "n_job" in err
    gpus(monkeypatch, 2)
    with pytest.raises(RunError, match=r"n_jobs=3 is too many: .* there are 2$"):
        Joblib(3).places(Wanted(), 9)


@pytest.mark.slow
def test_side_by_side_is_as_in_turn(bench, command):
    settings = ("limit=3", "method=full,random_layer", "runner.baseline=none", "device=cpu")
    found = {}
    for name, launcher in {"turn": (), "side": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")}.items():
        told = bench.overrides(*settings, f"results_dir={bench.folder / name}")
        status, out, err = command("-m", *launcher, *told)
        assert (status, err) == (0, "") and "2 jobs, 2 finished" in out
        assert ("2 jobs shared the processor" in out) == (name == "side")
        runs = [path.parent for path in sorted((bench.folder / name).glob("*/DONE"))]
        found[name] = {run.name: [untimed(row) for row in rows_of(Finished({}, run, True))] for run in runs}
    assert len(found["turn"]) == 2 and found["turn"] == found["side"]
    assert all(re.match(r"tiny-factoidqa-", name) for name in found["turn"])
