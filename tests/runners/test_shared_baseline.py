"""Which jobs of a study share a run of the full model, and which run that is."""

from bench import ROOT

from runners.configure import job_from
from runners.judging import check_judge
from runners.shared_baseline import Line, composed, with_shared_baselines

CONF = ROOT / "conf"


def shared(*jobs):
    lines = []
    for job in jobs:
        words = ["model=hub", "model.path=anyone/model", "logger=none", *job.split()]
        lines.append(Line(words, job_from(composed(CONF, words))))
    return with_shared_baselines(lines, CONF)


def full(lines):
    return [line.job for line in lines if line.job.method_name == "full"]


def test_each_moment_has_a_full_model_of_its_own():
    """Prompts of two dates cannot be set against each other."""
    methods = ("method=random_ffn", "method=static_ffn")
    dated = [
        f"{method} runner.now={now}"
        for method, now in zip(methods, ("2031-01-01", "2031-01-01T00:00"), strict=True)
    ]
    found = full(shared(*dated, *methods))
    assert [job.runner.now for job in found] == ["2031-01-01", None]


def test_the_shared_full_model_is_not_judged():
    """With nothing to be compared with it would be refused, and every job that waits for it fail."""
    judge = "task=mtbench judge=hf judge.model=anyone/judge judge.mode=both"
    lines = shared(f"method=random_ffn {judge}", f"method=static_ffn {judge}")
    (job,) = full(lines)
    check_judge(job.judge, job.task_name, job.runner.baseline, 2)
    assert all(line.job.judge.mode == "both" for line in lines if line.job is not job)
