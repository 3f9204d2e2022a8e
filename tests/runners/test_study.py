"""A study: what one job does is its own affair, each leaves a status, and again means what is missing."""

import json
import os
import signal
import threading
import time

import pytest
from bench import ROOT, rows_of

from progress import progress_in
from runners.execute import Finished
from runners.job_process import TRY_AGAIN, how_it_ended, job_command
from runners.pair import Pair
from runners.result_line import result_line
from runners.study import Study
from runners.wandb_logger import Destination

CONF = ROOT / "conf"


@pytest.fixture
def study(bench):
    """A function that writes a study of jobs on the tiny model."""
    return lambda *jobs: Study.create(bench.results / ".sweep", [bench.overrides(*job) for job in jobs])


def states(study):
    return [study.status(number).state for number in study.numbers]


def kill_when_answering(results, number, answers):
    """Kill the process of a job as soon as so many of its answers are on disk."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for path in results.glob(f".sweep/*/{number}.json"):
            status = json.loads(path.read_text())
            journals = results.glob("tiny-*/journal.jsonl")
            if status["state"] == "running" and any(
                journal.read_bytes().count(b"\n") >= answers for journal in journals
            ):
                os.kill(status["process"], signal.SIGKILL)
                return
        time.sleep(0.005)


def test_a_job_runs_in_a_process_of_its_own(bench, command):
    """A real one; how studies go on is tested with programs that pretend."""
    status, out, err = command("-m", *bench.overrides("limit=1", "max_new_tokens=4"))
    assert (status, err) == (0, "") and "1 job, 1 finished" in out
    assert len(list(bench.results.glob("*/DONE"))) == 1


@pytest.mark.slow
def test_one_bad_one_killed_one_good_and_again_only_the_missing(bench, command, monkeypatch):
    settings = bench.overrides("limit=24,0,1", "max_new_tokens=48")
    killer = threading.Thread(target=kill_when_answering, args=(bench.results, 1, 3))
    killer.start()
    status, out, err = command("-m", *settings)
    killer.join()
    assert status == 1
    assert "3 jobs, 1 finished, 2 failed" in out and out.count("Results (samples.parquet") == 1
    assert err.splitlines() == [
        "error: limit=24: its process was ended by SIGKILL, as the system does when memory runs out",
        "error: limit=0: limit=0 is out of range: it must be a whole number from 1 to 2147483647",
    ]
    (journal,) = bench.results.glob("tiny-*/journal.jsonl")
    kept = [row for line in journal.read_text().splitlines() for row in json.loads(line)["rows"]]
    assert 3 <= len(kept) < 24
    done = {path: path.stat().st_mtime_ns for path in bench.results.glob("*/DONE")}

    status, out, err = command("-m", *settings)
    assert status == 1 and "1 finished, 1 finished before, 1 failed" in out
    assert err.count("\n") == 1 and "limit=0 is out of range" in err
    assert all(path.stat().st_mtime_ns == then for path, then in done.items()) and len(done) == 1
    rows = rows_of(Finished({}, journal.parent, True))
    assert len(rows) == 24 and [row["prefill_s"] for row in rows[: len(kept)]] == [
        row["prefill_s"] for row in kept
    ]

    # What is finished starts no process.
    monkeypatch.setattr("subprocess.Popen", None)
    (folder,) = bench.results.glob(".sweep/*/jobs.txt")
    status, out, _ = command("status", str(folder.parent))
    assert status == 1 and "1 finished, 1 finished before, 1 failed" in out
    status, out, err = command("-m", *settings)
    assert status == 1 and "2 finished before, 1 failed" in out


def test_a_signal_of_the_scheduler_ends_a_job_after_its_batch(bench, study, monkeypatch):
    answer, asked = Pair.rows, []

    def preempted(self, part, number):
        asked.append(number)
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGUSR1)
        return answer(self, part, number)

    monkeypatch.setattr(Pair, "rows", preempted)
    one = study(["limit=4", "max_new_tokens=8", "force=true"])
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        assert job_command([str(one.folder), "1"], CONF) == TRY_AGAIN
        # The batch that the signal came in is kept, and none was begun after it.
        assert (asked, states(one)) == ([0, 1], ["interrupted"])
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        assert job_command([str(one.folder), "1"], CONF) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # Nothing twice, although force=true was asked for at first.
    assert (asked, states(one)) == ([0, 1, 2, 3], ["finished"])
    assert len(rows_of(Finished({}, one.standing().runs()[0], True))) == 4


@pytest.fixture
def no_signals(monkeypatch):
    monkeypatch.setattr("runners.stopping.SIGNALS", ())


def test_a_bug_is_told_and_raised(study, monkeypatch, no_signals):
    def broken(*arguments):
        raise KeyError("some\nbug")

    monkeypatch.setattr("runners.job_process.execute", broken)
    one = study(["limit=1"])
    with pytest.raises(KeyError):
        job_command([str(one.folder), "1"], CONF)
    status = one.status(1)
    assert status.state == "failed" and status.reason.startswith("KeyError: ") and "\n" not in status.reason


def test_a_job_that_cannot_run_says_what_would_be_right(study, no_signals):
    one = study(["max_new_tokens=5000"], ["method=fulll"])
    assert job_command([str(one.folder), "1"], CONF) == 1
    assert "max_new_tokens" in one.status(1).reason
    assert job_command([str(one.folder), "2"], CONF) == 1
    assert "did you mean full?" in one.status(2).reason and len(one.standing().errors()) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["job"], "job needs a study"),
        (["job", "nowhere", "1"], "cannot read nowhere/jobs.txt: No such file"),
        (["job", "{study}", "2"], "has no job 2: it has 1"),
        (["status"], "status needs the folder of a study"),
        (["status", "nowhere"], "cannot read nowhere/jobs.txt"),
    ],
)
def test_what_is_no_job(command, study, arguments, says):
    folder = str(study(["limit=1"]).folder)
    status, out, err = command(*(argument.replace("{study}", folder) for argument in arguments))
    assert (status, out) == (2, "") and says in err and err.count("\n") == 1


def test_the_log_of_a_job_says_what_it_does_and_what_came_of_it(bench, study, no_signals, capfd):
    one = study(["limit=2", "max_new_tokens=6"], ["max_new_tokens=5000"])
    capfd.readouterr()
    assert job_command([str(one.folder), "1"], CONF) == 0
    told = progress_in(capfd.readouterr().err)
    assert [line.split()[0] for line in told] == ["Job", "Loading", "Answering", "Finished,"]
    assert told[0].startswith("Job 1 of 2 on ") and "limit=2" in told[0]
    assert told[-1].startswith("Finished, 2 examples: quality ") and told[-1].endswith(one.status(1).run)
    assert job_command([str(one.folder), "2"], CONF) == 1
    assert progress_in(capfd.readouterr().err)[-1] == f"Failed: {one.status(2).reason}"


def test_the_line_of_a_result_leaves_out_what_is_unknown(tmp_path):
    known = {"examples": 9, "quality": 0.25, "full_quality": 0.5, "quality_metric": "rougeL"}
    known |= {"realised_skip_weighted": 0.2034, "speedup": 1.139, "tokens_per_s": 72.1}
    assert result_line(known, tmp_path) == (
        "Finished, 9 examples: quality 0.25 (rougeL), the full model's 0.5, realised skip 0.203, 1.14 times "
        f"the full model's decode speed, 72.1 decode tokens/s; {tmp_path}"
    )
    unknown = dict.fromkeys(known) | {"examples": 2, "tokens_per_s": 3.0}
    assert result_line(unknown, tmp_path) == f"Finished, 2 examples: 3 decode tokens/s; {tmp_path}"


def test_the_words_for_an_end():
    assert how_it_ended(7) == "its process ended with status 7 and without a word"
    assert how_it_ended(-signal.SIGTERM) == "its process was ended by SIGTERM"


def test_the_same_jobs_are_the_same_study_with_labels_of_what_differs(tmp_path):
    jobs = [["+experiment=demo", "method=full", "task.path=a b"], ["+experiment=demo", "method=swift"]]
    one = Study.create(tmp_path, jobs)
    assert states(one) == ["waiting", "waiting"]
    one.tell(1, "running")
    again = Study.create(tmp_path, jobs)
    # How a job stands is not forgotten.
    assert again.folder == one.folder and again.jobs == jobs and states(again) == ["running", "waiting"]
    assert [again.label(number) for number in again.numbers] == [
        "method=full 'task.path=a b'",
        "method=swift",
    ]
    again.tell(2, "finished", run=tmp_path)
    for number in again.numbers:
        again.ended(number, "gone")
    assert states(again) == ["failed", "finished"] and again.standing().errors() == [
        f"{again.label(1)}: gone"
    ]


def test_what_killed_processes_left_in_a_study_goes_and_what_others_are_writing_stays(study):
    one = study(["limit=1"])
    dead, busy = (one.folder / f".1.json.{host}.17.partial" for host in ("here", "elsewhere"))
    for path in (dead, busy):
        path.touch()
    os.utime(dead, (0, dead.stat().st_mtime - 4000))
    assert study(["limit=1"]).folder == one.folder
    assert not dead.exists() and busy.exists()


@pytest.mark.parametrize(
    ("words", "group"),
    [(["+experiment=demo"], "demo"), ([], None), (["+experiment=demo", "logger.group=mine"], "mine")],
)
def test_the_group_in_wandb_is_the_study(study, monkeypatch, no_signals, words, group):
    taken = []
    monkeypatch.setattr("runners.job_process.execute", lambda job, stop: taken.append(job) or 1 / 0)
    one = study(["limit=1", "logger=wandb", *words])
    with pytest.raises(ZeroDivisionError):
        job_command([str(one.folder), "1"], CONF)
    assert Destination.of(taken[0].logger).group == (group or one.folder.name)
