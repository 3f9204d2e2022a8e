"""What SLURM is asked and what is made of its answers, with programs that pretend."""

import pytest

from runners.errors import RunError
from runners.slurm import SlurmConfig, submit, watch
from runners.study import Study


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """A function that puts a shell script in the place of a program."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr("runners.slurm._POLL_S", 0.01)

    def write(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


@pytest.fixture
def study(tmp_path):
    return Study.create(tmp_path / ".sweep", [["limit=1"], ["limit=2"], ["limit=3"]])


def test_what_sbatch_is_told(pretend, study, tmp_path):
    pretend("sbatch", f'printf "%s\\n" "$@" > {tmp_path}/told; echo "77;cluster"')
    config = SlurmConfig(partition="gpu", time="2:00:00", at_once=2, options=["--exclusive"], cpus=4)
    assert submit(study, [1, 3], config, tmp_path / "run.py") == "77"
    told = (tmp_path / "told").read_text().splitlines()
    expected = {"--array=1,3%2", "--partition=gpu", "--time=2:00:00", "--cpus-per-task=4", "--exclusive"}
    assert expected <= set(told) and f"--output={study.folder}/%a.log" in told
    assert not [word for word in told if word.startswith("--account")]
    assert told[-2:] == [str(study.folder), str(tmp_path / "run.py")]


def test_every_job_has_a_status_when_all_have_ended(pretend, study, tmp_path):
    # Told twice: job 2 is queued again, job 3 forgotten by then.
    script = f"""if [ -e {tmp_path}/asked ]; then printf '1 FAILED\\n2 OUT_OF_MEMORY\\n'
else touch {tmp_path}/asked; printf '1 RUNNING\\n2 PENDING\\n3 RUNNING\\n'; fi"""
    pretend("squeue", script)
    study.tell(1, "finished", run=tmp_path)
    watch(study, study.numbers, "77")
    assert [study.status(number).state for number in study.numbers] == ["finished", "failed", "failed"]
    assert "SLURM says OUT_OF_MEMORY" in study.status(2).reason
    assert "SLURM says RUNNING" in study.status(3).reason and "3.log" in study.status(3).reason


def test_a_refusal_is_in_the_words_of_slurm(pretend, study, tmp_path):
    pretend("sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    with pytest.raises(RunError, match="invalid partition specified: gpu"):
        submit(study, [1], SlurmConfig(), tmp_path / "run.py")


def test_no_slurm_and_an_unknown_option_are_one_line(command, bench, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    asked = ["-m", "hydra/launcher=slurm", *bench.overrides()]
    status, out, err = command(*asked)
    assert (status, out) == (2, "") and err.startswith("error: there is no SLURM here (sbatch was not found)")
    status, out, err = command(*asked, "hydra.launcher.partitoin=gpu")
    assert (status, out, err.count("\n")) == (2, "", 1) and "partitoin" in err
