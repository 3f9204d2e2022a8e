"""Jobs of a study side by side: the same results as in turn, each on a device of its own."""

import os
import re
import signal
import sys
import threading

import pytest
from bench import rows_of, untimed

from runners import launchers
from runners.errors import RunError
from runners.execute import Finished
from runners.job_process import run_here
from runners.launchers import Joblib
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
        while sum(one.state == "running" for one in study.standing().statuses) < 2:
            pass
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


@pytest.mark.parametrize(
    ("n_jobs", "gpus", "devices"),
    [(None, ["0", "1"], ["0", "1"]), (1, ["4", "6"], ["4"]), (None, [], [None]), (3, [], [None] * 3)],
)
def test_places(monkeypatch, n_jobs, gpus, devices):
    monkeypatch.setattr(launchers, "_gpus", lambda: gpus)
    places = Joblib(n_jobs).places()
    assert [place.get("CUDA_VISIBLE_DEVICES") for place in places] == devices


def test_which_gpus_there_are(monkeypatch):
    monkeypatch.setattr(launchers.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(launchers.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert launchers._gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert launchers._gpus() == ["3", "5"]


def test_the_processor_is_shared_out(monkeypatch):
    monkeypatch.setattr(launchers, "_gpus", lambda: [])
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert Joblib(4).places() == [{"OMP_NUM_THREADS": "2", JOBS_AT_ONCE: "4"}] * 4
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert Joblib(4).places()[0]["OMP_NUM_THREADS"] == "1"


def test_more_jobs_than_gpus_and_no_job_at_all_are_refused(monkeypatch, command, bench):
    monkeypatch.setattr(launchers, "_gpus", lambda: ["0", "1"])
    with pytest.raises(RunError, match=r"n_jobs=3 is too many: .* there are 2$"):
        Joblib(3).places()
    asked = ["-m", "hydra/launcher=joblib", *bench.overrides()]
    status, out, err = command(*asked, "hydra.launcher.n_jobs=0")
    assert (status, out) == (2, "") and err == (
        "error: hydra.launcher.n_jobs=0 is out of range: it must be at least 1\n"
    )
    status, _, err = command(*asked, "hydra.launcher.n_job=1")
    assert status == 2 and err.count("\n") == 1 and "n_job" in err


def test_side_by_side_is_as_in_turn(bench, command):
    settings = ("limit=3", "method=full,unified,random_layer", "runner.baseline=none")
    found = {}
    for name, launcher in {"turn": (), "side": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")}.items():
        told = bench.overrides(*settings, f"results_dir={bench.folder / name}")
        status, out, err = command("-m", *launcher, *told)
        assert (status, err) == (0, "") and "3 jobs, 3 finished" in out
        assert ("2 jobs shared the processor" in out) == (name == "side")
        runs = [path.parent for path in sorted((bench.folder / name).glob("*/DONE"))]
        found[name] = {run.name: [untimed(row) for row in rows_of(Finished({}, run, True))] for run in runs}
    assert len(found["turn"]) == 3 and found["turn"] == found["side"]
    assert all(re.match(r"tiny-factoidqa-", name) for name in found["turn"])
