"""What SLURM is asked and what is made of its answers, with programs that pretend."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from bench import ROOT

from progress import progress_in
from runners.configure import job_from
from runners.errors import RunError
from runners.job_process import job_command
from runners.shared_baseline import composed
from runners.slurm import SCRIPT, SlurmConfig, _exported, send, submit
from runners.slurm_queue import Clock, Queue
from runners.study import Study

CONF = ROOT / "conf"


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """A function that puts a shell script in the place of a program."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("SBATCH_EXPORT", raising=False)

    def write(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


class Hands:
    """A clock that moves when somebody sleeps, and does what is to be done at that time."""

    def __init__(self):
        self.slept, self.then = [], {}

    def now(self):
        return sum(self.slept)

    def sleep(self, seconds):
        self.slept.append(seconds)
        for moment in [moment for moment in self.then if moment <= self.now()]:
            self.then.pop(moment)()


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def queue(hands):
    return Queue(Clock(hands.now, hands.sleep))


@pytest.fixture
def study(tmp_path):
    return Study.create(tmp_path / ".sweep", [["limit=1"], ["limit=2"], ["limit=3"]])


def states(study):
    return [study.status(number).state for number in study.numbers]


def sbatch(pretend, tmp_path):
    """Give arrays the numbers 71, 72, ...; return a function for what was asked, one list a call."""
    log = tmp_path / "sbatch.log"
    pretend("sbatch", f'printf "%s\\t" "$@" >> {log}; echo >> {log}; echo $((70 + $(wc -l < {log})))')
    return lambda: [line.split("\t")[:-1] for line in log.read_text().splitlines()] if log.exists() else []


def option(words, name):
    return next((word.partition("=")[2] for word in words if word.startswith(f"--{name}=")), None)


def test_what_sbatch_is_told(pretend, study, tmp_path):
    told = sbatch(pretend, tmp_path)
    config = SlurmConfig(
        partition="gpu", time="2:00:00", at_once=2, options=["--exclusive"], cpus=4, gres="gpu:a100:1"
    )
    assert submit(study, [1, 3], config, tmp_path / "run.py", after=["70_1", "70_2"]) == "71"
    (words,) = told()
    expected = {"--array=1,3%2", "--partition=gpu", "--time=2:00:00", "--cpus-per-task=4", "--exclusive"}
    expected |= {"--gres=gpu:a100:1", "--dependency=afterany:70_1:70_2", f"--output={study.folder}/%a.log"}
    assert expected <= set(words)
    assert not [word for word in words if word.startswith(("--account", "--export"))]
    assert words[-3:-1] == [str(study.folder), str(tmp_path / "run.py")] and os.access(words[-1], os.X_OK)


@pytest.mark.parametrize(
    ("asked", "exported"),
    [
        (None, None),
        ("ALL", None),
        ("ALL,A=1", None),
        ("NONE", "HF_HOME,SKIPBENCH_CACHE"),
        ("NIL", "HF_HOME,SKIPBENCH_CACHE"),
        ("none", "HF_HOME,SKIPBENCH_CACHE"),
        ("MINE,B=2", "MINE,B=2,HF_HOME,SKIPBENCH_CACHE"),
    ],
)
def test_what_a_job_reads_is_exported_whatever_the_cluster_keeps_back(asked, exported):
    environment = {"HF_HOME": "/hf", "SKIPBENCH_CACHE": "/c", "HOME": "/h"}
    assert _exported(environment | ({} if asked is None else {"SBATCH_EXPORT": asked})) == exported


def test_every_job_has_a_status_when_all_have_ended(pretend, study, tmp_path, queue, hands):
    # Told twice: job 2 is queued again, job 3 forgotten by then.
    script = f"""if [ -e {tmp_path}/asked ]; then printf '1 FAILED\\n2 OUT_OF_MEMORY\\n'
else touch {tmp_path}/asked; printf '1 RUNNING\\n2 PENDING\\n3 RUNNING\\n'; fi"""
    pretend("squeue", script)
    study.tell(1, "finished", run=tmp_path)
    study.tell(2, "running")
    study.tell(3, "running")
    queue.watch(study, dict.fromkeys(study.numbers, "77"))
    assert states(study) == ["finished", "failed", "failed"]
    assert "SLURM says OUT_OF_MEMORY" in study.status(2).reason
    assert "SLURM says RUNNING" in study.status(3).reason and "3.log" in study.status(3).reason


def test_what_another_machine_has_written_is_waited_for(pretend, study, tmp_path, queue, hands):
    """A network file system shows the status of a job that has ended as it was, for up to a minute."""
    pretend("squeue", "echo 1 COMPLETED")
    study.tell(1, "running")
    hands.then[30] = lambda: study.tell(1, "finished", run=tmp_path)
    queue.watch(study, {1: "77"})
    assert study.status(1).state == "finished" and 30 <= hands.now() < 60


def test_a_squeue_that_does_not_answer_is_asked_again(pretend, study, tmp_path, queue, hands, capsys):
    # Nine times nothing; then the job runs, and at last it has ended.
    pretend(
        "squeue",
        f"""echo x >> {tmp_path}/asked; asked=$(wc -l < {tmp_path}/asked)
if [ $asked -le 9 ]; then echo 'slurm_load_jobs error: Socket timed out on send/recv' >&2; exit 1; fi
if [ $asked -le 10 ]; then echo 1 RUNNING; else echo 1 COMPLETED; fi""",
    )
    study.tell(1, "running")
    hands.then[420] = lambda: study.tell(1, "finished", run=tmp_path)
    queue.watch(study, {1: "77"})
    assert hands.slept == [5, 10, 20, 40, 60, 60, 60, 60, 60, 5] + [5] * 8
    assert study.status(1).state == "finished"
    told = progress_in(capsys.readouterr().err)
    assert told == [
        "squeue: slurm_load_jobs error: Socket timed out on send/recv; the jobs go on, and it is asked again",
        "squeue answers again",
    ]


def test_jobs_tell_of_their_end_themselves_when_squeue_does_not(pretend, study, tmp_path, queue, hands):
    pretend("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    for number in study.numbers:
        study.tell(number, "running")
        hands.then[100 * number] = lambda number=number: study.tell(number, "finished", run=tmp_path)
    queue.watch(study, dict.fromkeys(study.numbers, "77"))
    assert states(study) == ["finished"] * 3 and 300 <= hands.now() <= 360


def test_an_array_of_another_cluster_is_looked_for_there(pretend, study, tmp_path, queue):
    pretend("sbatch", 'echo "77;far"')
    pretend("squeue", f'printf "%s\\n" "$@" > {tmp_path}/asked; printf "CLUSTER: far\\n1 COMPLETED\\n"')
    arrays = send(study, [1], SlurmConfig(), tmp_path / "run.py", queue)
    study.tell(1, "finished", run=tmp_path)
    queue.watch(study, arrays)
    assert {"--jobs=77", "--clusters=far"} <= set((tmp_path / "asked").read_text().splitlines())


def test_what_is_queued_or_runs_is_not_sent_again(pretend, study, tmp_path, queue, capsys):
    told = sbatch(pretend, tmp_path)
    # The first is over, the second runs, the third is queued again.
    pretend("squeue", "printf '1 FAILED\\n2 RUNNING\\n3 PENDING\\n'")
    config = SlurmConfig()
    assert send(study, study.numbers, config, tmp_path / "run.py", queue) == dict.fromkeys([1, 2, 3], "71")
    study.tell(1, "failed", "it died")
    study.tell(2, "running")
    study.tell(3, "interrupted", "its time was up")
    assert send(study, study.numbers, config, tmp_path / "run.py", queue) == {1: "72", 2: "71", 3: "71"}
    assert states(study) == ["waiting", "running", "interrupted"]
    assert [option(words, "array") for words in told()] == ["1,2,3", "1"]
    assert "not sent again: 2 of 3 jobs" in capsys.readouterr().out
    # A third command knows of both arrays.
    pretend("squeue", 'case "$*" in *jobs=72*) echo 1 RUNNING;; *) printf "1 FAILED\\n2 RUNNING\\n";; esac')
    assert send(study, study.numbers, config, tmp_path / "run.py", queue) == {1: "72", 2: "71", 3: "73"}


def test_nothing_is_sent_while_nobody_knows_what_is_queued(pretend, study, tmp_path, queue, hands):
    told = sbatch(pretend, tmp_path)
    pretend("squeue", "echo 'Socket timed out' >&2; exit 1")
    config = SlurmConfig()
    send(study, [1], config, tmp_path / "run.py", queue)
    study.tell(1, "running")
    with pytest.raises(RunError, match=r"Socket timed out; without it nobody knows .* try again later$"):
        send(study, [1, 2], config, tmp_path / "run.py", queue)
    assert len(told()) == 1 and study.status(1).state == "running"
    assert hands.slept == [5, 10, 20, 40, 60]


def test_a_refusal_is_in_the_words_of_slurm_and_changes_nothing(pretend, study, tmp_path, queue):
    pretend("sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    study.tell(1, "failed", "it died")
    with pytest.raises(RunError, match="invalid partition specified: gpu"):
        send(study, [1], SlurmConfig(), tmp_path / "run.py", queue)
    assert study.status(1).reason == "it died"


def test_no_slurm_and_an_unknown_option_are_one_line(command, bench, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    asked = ["-m", "hydra/launcher=slurm", *bench.overrides()]
    status, out, err = command(*asked)
    assert (status, out) == (2, "") and err.startswith("error: there is no SLURM here (sbatch was not found)")
    status, out, err = command(*asked, "hydra.launcher.partitoin=gpu")
    assert (status, out, err.count("\n")) == (2, "", 1) and "partitoin" in err
    status, out, err = command(*asked, "hydra.launcher.baseline=none")
    assert (status, out) == (2, "") and "baseline=none is unknown; choose shared, own" in err


def script(study, environment, *arguments):
    """Run the script of an array as SLURM would."""
    return subprocess.run(
        ["bash", str(SCRIPT), str(study.folder), *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "SLURM_ARRAY_TASK_ID": "2", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_job_begins_with_the_setup_and_has_its_python_from_the_command(pretend, study, tmp_path, queue):
    sbatch(pretend, tmp_path)
    pretend("python", "exit 9")
    pretend("mine", f'echo "$GREETING $*" > {tmp_path}/told')
    lines = ["export GREETING='it is'  # a comment", "true"]
    send(study, [2], SlurmConfig(setup=lines), tmp_path / "run.py", queue)
    # Nothing of the environment is left.
    assert script(study, {}, "run.py", tmp_path / "bin" / "mine").returncode == 0
    assert (tmp_path / "told").read_text() == f"it is run.py job {study.folder} 2\n"
    assert script(study, {"PYTHON": str(tmp_path / "bin" / "mine")}, "run.py").returncode == 0

    (tmp_path / "told").unlink()
    pretend("squeue", "echo 2 FAILED")
    send(study, [2], SlurmConfig(setup=["false or not", "true"]), tmp_path / "run.py", queue)
    done = script(study, {}, "run.py", tmp_path / "bin" / "mine")
    assert (done.returncode, done.stderr) == (1, "failed: false or not\n")
    assert not (tmp_path / "told").exists()
    send(study, [2], SlurmConfig(), tmp_path / "run.py", queue)
    assert script(study, {}, "run.py", tmp_path / "bin" / "mine").returncode == 0


@pytest.fixture
def cluster(pretend, bench, tmp_path, monkeypatch):
    """A cluster whose jobs run in this process, when they are let; it knows those of the last array."""
    monkeypatch.setattr("runners.stopping.SIGNALS", ())
    told = sbatch(pretend, tmp_path)
    pretend("squeue", f"cat {tmp_path}/queue 2>/dev/null || true")

    class Pretended:
        def sent(self):
            return told()

        @property
        def study(self):
            (jobs,) = bench.results.glob(".sweep/*/jobs.txt")
            return Study(jobs.parent)

        def run(self, array):
            numbers = [int(number) for number in option(told()[array], "array").split(",")]
            return [job_command([str(self.study.folder), str(number)], CONF) for number in numbers]

    return Pretended()


def sweep(bench, *arguments):
    return ["-m", "hydra/launcher=slurm", "hydra.launcher.wait=false", *bench.overrides(*arguments)]


def test_the_same_command_again_sends_what_is_not_finished(cluster, bench, command):
    asked = sweep(bench, "limit=1,2,0", "max_new_tokens=4", "runner.baseline=none")
    status, out, err = command(*asked)
    assert status == 1 and "limit=0" in err and "2 waiting" in out
    assert cluster.run(0) == [0, 0]
    (Path(cluster.study.status(2).run) / "DONE").unlink()

    status, out, err = command(*asked)
    assert [option(words, "array") for words in cluster.sent()] == ["1,2", "2"]
    assert "1 finished before, 1 failed, 1 waiting" in out
    assert cluster.run(1) == [0]
    # Nothing is left, and SLURM is not asked for anything.
    status, out, err = command(*asked)
    assert len(cluster.sent()) == 2 and "2 finished before, 1 failed" in out
    # What is asked for anew is sent.
    command(*sweep(bench, "limit=1,2,0", "max_new_tokens=4", "runner.baseline=none", "force=true"))
    assert option(cluster.sent()[2], "array") == "1,2"


def test_other_data_is_another_run(cluster, bench, command, tmp_path):
    data = tmp_path / "data.jsonl"
    lines = [json.dumps({"question": f"What is {n} and {n}?", "answers": [str(2 * n)]}) for n in range(20)]
    data.write_text("\n".join(lines))
    settings = (
        "task.source=file",
        f"task.path={data}",
        "limit=1,2",
        "max_new_tokens=4",
        "runner.baseline=none",
    )
    command(*sweep(bench, *settings))
    assert cluster.run(0) == [0, 0]
    command(*sweep(bench, *settings))
    assert len(cluster.sent()) == 1
    data.write_text("\n".join(line.replace("What is", "How much is") for line in lines))
    command(*sweep(bench, *settings))
    assert len(cluster.sent()) == 2


def test_a_second_process_leaves_the_status_of_the_first(cluster, bench, command):
    command(*sweep(bench, "limit=1,2", "max_new_tokens=4", "runner.baseline=none"))
    study = cluster.study
    study.tell(1, "running")
    with study.at_work(1):
        with pytest.raises(RunError, match=r"job 1 of .* is at work in another process"):
            job_command([str(study.folder), "1"], CONF)
        study.ended(1, "its process ended")
        assert study.status(1).state == "running"
    study.ended(1, "its process ended")
    assert study.status(1).state == "failed"


def test_the_full_model_answers_once_for_all_jobs_of_a_setting(cluster, bench, command):
    settings = ("method=random_ffn,random_layer,prompt_lookup", "limit=2,3", "max_new_tokens=24")
    status, out, err = command(*sweep(bench, *settings))
    assert (status, err) == (0, "") and "Study" in out
    jobs = [set(job) for job in cluster.study.jobs]
    full, shared, own = jobs[:2], [*jobs[2:4], *jobs[4:6]], jobs[6:]
    assert all({"method=full", "runner.baseline=none"} <= job for job in full)
    assert [("limit=2" in job, "limit=3" in job) for job in full] == [(True, False), (False, True)]
    reusing = {"runner.baseline=reuse", "runner.replay=true", "runner.replay_examples=8"}
    assert all(reusing <= job for job in shared)
    # Drafts are not replayed, so that nothing would tell of the drift.
    assert len(own) == 2 and not any("runner." in word for job in own for word in job)
    first, second = cluster.sent()
    assert (option(first, "array"), option(second, "array")) == ("1,2", "3,4,5,6,7,8")
    assert option(first, "dependency") is None and option(second, "dependency") == "afterany:71_1:71_2"

    assert cluster.run(0) == [0] * 2 and cluster.run(1) == [0] * 6
    runs = {number: metrics_of(cluster.study, number) for number in cluster.study.numbers}
    assert {runs[number]["baseline"] for number in (3, 4, 5, 6)} == {"reuse"}
    assert all(runs[number]["baseline_drift"] for number in (3, 4, 5, 6)) and runs[7]["baseline"] == "paired"
    status, out, err = command(*sweep(bench, *settings))
    assert (status, len(cluster.sent())) == (0, 2) and "8 finished before" in out


def metrics_of(study, number):
    return json.loads((Path(study.status(number).run) / "metrics.json").read_text())


def test_jobs_that_are_sent_later_wait_for_a_full_model_that_runs(cluster, bench, command, tmp_path):
    settings = ("method=random_ffn,random_layer", "limit=2", "max_new_tokens=6")
    command(*sweep(bench, *settings))
    study = cluster.study
    study.tell(1, "running")
    study.tell(2, "failed", "it died")
    (tmp_path / "queue").write_text("1 RUNNING\n3 PENDING\n")
    command(*sweep(bench, *settings))
    words = cluster.sent()[-1]
    assert (option(words, "array"), option(words, "dependency")) == ("2", "afterany:71_1")
    assert states(study) == ["running", "waiting", "waiting"]


@pytest.mark.parametrize(
    "words",
    [
        ["method=random_ffn"],
        ["method=random_ffn,random_layer", "runner.baseline=paired"],
        ["method=random_ffn,random_layer", "runner.replay=false"],
        ["method=random_ffn,random_layer", "batch_size=2"],
        ["method=random_ffn,random_layer", "hydra.launcher.baseline=own"],
        ["method=full,hf_generate,prompt_lookup"],
    ],
)
def test_jobs_that_keep_their_own_baseline(cluster, bench, command, words):
    command(*sweep(bench, "limit=2", *words))
    assert len(cluster.sent()) == 1
    assert not any("reuse" in word for job in cluster.study.jobs for word in job)


def test_a_full_model_of_the_study_is_the_baseline(cluster, bench, command):
    command(*sweep(bench, "limit=2", "method=random_ffn,full"))
    study = cluster.study
    assert [("method=full" in job, "runner.baseline=reuse" in job) for job in study.jobs] == [
        (False, True),
        (True, False),
    ]
    assert [option(words, "array") for words in cluster.sent()] == ["2", "1"]


@pytest.mark.parametrize("name", ["early_exit_kv", "pareto_cpu_early_exit"])
def test_the_full_model_of_a_prepared_study(cluster, bench, command, name):
    """What its file says of a method is not said of the full model."""
    taken = ("model", "model.path", "logger", "results_dir")
    usual = [word for word in bench.overrides() if word.partition("=")[0] in taken]
    launcher = ["-m", "hydra/launcher=slurm", "hydra.launcher.wait=false"]
    status, _, err = command(*launcher, f"+experiment={name}", *usual)
    assert (status, err) == (0, "")
    study = cluster.study
    reusing = [job for job in study.jobs if "runner.baseline=reuse" in job]
    if name == "pareto_cpu_early_exit":
        # Its full model is a study of its own.
        assert not reusing and len(cluster.sent()) == 1
        return
    full = study.jobs[0]
    assert len(reusing) == len(study.jobs) - 1 and "method=full" in full
    job = job_from(composed(CONF, full))
    assert (job.method_name, job.runner.baseline, job.runner.replay) == ("full", "none", False)
