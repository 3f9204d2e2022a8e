"""A search asks for what may be on the front, learns from what came of it, and goes on where it was."""

import sys
from types import SimpleNamespace

import pytest

from runners.errors import RunError
from runners.launch import report_of
from runners.search import Search, SearchConfig

SPACE = ["method=ffnskip", "method.threshold=interval(0.9,0.99)", "method.cold_start=range(0.0,0.3,step=0.1)"]


class Pretended:
    """In the place of runs: the metrics of a job are a function of its overrides."""

    def __init__(self, root, objectives):
        self.root, self.objectives, self.ran = root, objectives, []
        self.before = lambda number: None

    def run(self, study, numbers):
        for number in numbers:
            self.before(len(self.ran))
            job = dict(word.split("=") for word in study.jobs[number - 1])
            self.ran.append(job)
            folder = self.root / str(number)
            folder.mkdir(exist_ok=True)
            metrics = self.objectives(job)
            if metrics is None:
                study.tell(number, "failed", "it does not run")
            else:
                self.known[str(folder)] = metrics
                study.tell(number, "finished", run=folder)


def trade(job):
    threshold = float(job["method.threshold"])
    return {"quality": threshold, "speedup": 2 - threshold + float(job["method.cold_start"])}


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """A function that makes a launcher of such jobs."""
    known = {}
    monkeypatch.setattr(
        "runners.search.finished_run", lambda folder: SimpleNamespace(read_metrics=lambda: known[str(folder)])
    )

    def make(objectives=trade):
        launcher = Pretended(tmp_path, objectives)
        launcher.known = known
        return launcher

    return make


@pytest.fixture
def search(tmp_path):
    """A function that begins a search, or goes on with it."""

    def begin(*arguments, **config):
        return Search(tmp_path / ".sweep", arguments or SPACE, SearchConfig(**{"n_trials": 6, **config}))

    return begin


def test_trials_stay_in_the_space(search, pretended):
    launcher = pretended(lambda job: {"quality": 0.5, "speedup": 1.0})
    space = (
        "e=range(0.5,1.5,0.5)",
        "limit=3",
        "a=int(interval(2,5))",
        "b=tag(log,interval(0.001,1))",
        "c=choice(x,y)",
        "d=range(1,8,3)",
    )
    found = search(*space, n_trials=12)
    found.run(launcher.run)
    assert len(launcher.ran) == 12
    for job in launcher.ran:
        assert job["limit"] == "3" and job["a"] in "2345" and 0.001 <= float(job["b"]) <= 1
        assert job["c"] in ("x", "y") and job["d"] in ("1", "4", "7")
    assert {job["e"] for job in launcher.ran} == {"0.5", "1.0"}
    assert len({job["b"] for job in launcher.ran}) == 12
    assert sum(float(job["b"]) < 0.1 for job in launcher.ran) >= 4


def test_the_front_is_that_of_all_trials(search, pretended):
    launcher = pretended()
    found = search()
    assert found.front() is None
    found.run(launcher.run)
    values = [trade(job) for job in launcher.ran]
    best = [
        one
        for one in values
        if not any(
            other != one and other["quality"] >= one["quality"] and other["speedup"] >= one["speedup"]
            for other in values
        )
    ]
    told = found.front()
    assert told.startswith("Front of quality, speedup: method.threshold=0.9")
    assert told.count("(") == len({one["quality"] for one in best})
    assert all(f"({one['quality']:.3g}, {one['speedup']:.3g})" in told for one in best)


def test_a_stopped_search_goes_on(search, pretended):
    launcher = pretended()

    def stop(done):
        if done == 3:
            raise KeyboardInterrupt

    launcher.before = stop
    with pytest.raises(KeyboardInterrupt):
        search().run(launcher.run)
    first = search()
    interrupted = first.study.jobs[3]
    assert len(launcher.ran) == 3 and len(first.study.jobs) == 4

    launcher.before = lambda number: None
    first.run(launcher.run)
    assert [f"{key}={value}" for key, value in launcher.ran[3].items()] == interrupted
    assert len(launcher.ran) == 6 and len(first.study.jobs) == 6
    assert [one.state for one in first.study.standing().statuses] == ["finished"] * 6
    # Enough; and more when more is asked for.
    search().run(launcher.run)
    assert len(launcher.ran) == 6
    search(n_trials=8).run(launcher.run)
    assert len(launcher.ran) == 8 and len({str(job) for job in launcher.ran}) == 8


def test_several_at_a_time(search, pretended):
    launcher, together = pretended(), []
    run = launcher.run

    def counted(study, numbers):
        together.append(len(numbers))
        run(study, numbers)

    launcher.run = counted
    search(n_jobs=4).run(launcher.run)
    assert together == [4, 2]


def test_a_trial_that_fails_is_told_and_tried_again_by_the_next_command(search, pretended):
    launcher = pretended(lambda job: trade(job) if len(launcher.ran) != 2 else None)
    found = search()
    found.run(launcher.run)
    report = report_of_states(found)
    assert (len(launcher.ran), report.count("finished"), report.count("failed")) == (6, 5, 1)
    again = search()
    again.run(launcher.run)
    assert launcher.ran[6] == launcher.ran[1] and report_of_states(again) == ["finished"] * 6


def report_of_states(search):
    return [one.state for one in search.study.standing().statuses]


def test_a_search_of_which_nothing_runs_ends(search, pretended):
    launcher = pretended(lambda job: None)
    found = search()
    found.run(launcher.run)
    assert len(launcher.ran) == 1 and found.front() is None
    assert report_of(found.study).status == 1


def test_one_process_at_a_time(search, pretended):
    launcher, found = pretended(), search()

    def another(done):
        with pytest.raises(RunError, match="another process is searching in"):
            search().run(pretended().run)

    launcher.before = another
    found.run(launcher.run)
    assert len(launcher.ran) == 6


def test_queued_again_once(search, pretended):
    launcher = pretended(lambda job: None)
    search(n_jobs=3).run(launcher.run)
    failed = len(launcher.ran)
    for _ in range(3):
        search().run(launcher.run)
    # Each command tries one; what is left in the queue is not queued anew.
    assert failed == 3 and len(launcher.ran) == 6
    assert len({str(job) for job in launcher.ran}) == 3


def test_what_it_knows_is_damaged(search, pretended):
    launcher = pretended()
    search().run(launcher.run)
    log = search().study.folder / "search.log"
    log.write_text(log.read_text() + '{"half')
    with pytest.raises(RunError, match=r"search.log cannot be read \(.*\); remove it to begin anew$"):
        search(n_trials=8).run(launcher.run)
    log.unlink()
    search().run(launcher.run)


def test_a_holder_that_was_killed_holds_nothing(search, pretended):
    """Beside the log then lies the link that Optuna makes for an append."""
    search(n_trials=1).run(pretended().run)
    log = search().study.folder / "search.log"
    log.with_name("search.log.lock").symlink_to(log.name)
    launcher = pretended()
    search(n_trials=2).run(launcher.run)
    assert len(launcher.ran) == 1


def test_a_run_without_the_objective_has_failed(search, pretended):
    launcher = pretended(lambda job: {"quality": 0.5, "speedup": None})
    found = search()
    found.run(launcher.run)
    (error,) = found.study.standing().errors()
    assert error.endswith("the run has no speedup")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"objectives": ["qualty", "speedup"]}, "objectives: qualty is no metric that is a number"),
        ({"objectives": ["method", "speedup"]}, "objectives: method is no metric"),
        ({"objectives": []}, "must name a direction for each objective"),
        ({"direction": ["maximize"]}, "must name a direction for each objective"),
        ({"direction": ["maximize", "up"]}, "direction=up must be one of: maximize, minimize"),
        ({"n_trials": 0}, "n_trials=0 is out of range"),
        ({"n_jobs": 0}, "n_jobs=0 is out of range"),
    ],
)
def test_what_is_no_search(config, says):
    with pytest.raises(RunError, match=says):
        SearchConfig(**config)


def test_one_objective_and_words_as_they_are_written(search, pretended):
    launcher = pretended(lambda job: {"quality": 0.9 if job["method"] == "full" else 0.1, "speedup": 1.0})
    space = ("method=choice(full,unified)", "+task.note=choice('a b','c')")
    found = search(*space, objectives=["quality"], direction=["maximize"], n_trials=8)
    found.run(launcher.run)
    assert {job["method"] for job in launcher.ran} == {"full", "unified"}
    assert {job["+task.note"] for job in launcher.ran} == {"a\\ b", "c"}
    assert found.front().startswith("Front of quality: method=full ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["method=full"], "nothing to search"),
        (["method=glob(*)"], "method: a search takes interval"),
        (["limit=range(5,1)"], "limit: the range is empty"),
        (["method.share=interval(0.5,0.1)"], "method.share"),
        (["method.share=tag(log,range(1,3))"], "only an interval can be tagged"),
    ],
)
def test_what_cannot_be_searched(search, arguments, says):
    with pytest.raises(RunError, match=says):
        search(*arguments)


def test_without_optuna(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        RunError, match=r'needs Optuna, which is not installed: pip install -e "\.\[search\]"'
    ):
        search()


@pytest.mark.slow
def test_from_the_command_line(command, bench):
    settings = bench.overrides("method=random_layer", "limit=2", "max_new_tokens=8")
    asked = [
        "-m",
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=2",
        "method.share=interval(0.2,0.8)",
        *settings,
    ]
    asked += ["hydra.sweeper.objectives=[realised_skip_weighted,replay_kl]"]
    asked += ["hydra.sweeper.direction=[maximize,minimize]", "runner.replay=true"]
    status, out, err = command(*asked)
    assert (status, err) == (0, "")
    assert "2 jobs, 2 finished\nFront of realised_skip_weighted, replay_kl: method.share=0." in out
    status, out, err = command(*asked)
    assert (status, err) == (0, "") and "2 jobs, 2 finished\n" in out


def test_what_is_wrong_with_a_search_is_one_line(command, bench):
    settings = bench.overrides("method=random_layer", "limit=2", "max_new_tokens=8")
    asked = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2"]
    status, out, err = command(*asked, "method.shre=interval(0.2,0.8)", *settings)
    assert status == 1 and err.count("\n") == 1 and "did you mean" in err
    status, out, err = command(*asked, *settings)
    assert (status, out, err.count("\n")) == (2, "", 1) and "nothing to search" in err
    queued = ("hydra/launcher=slurm", "hydra.launcher.wait=false")
    status, out, err = command(*asked, "method.share=interval(0.2,0.8)", *settings, *queued)
    assert (status, out) == (2, "") and err.endswith("leave hydra.launcher.wait=true\n")
    status, out, err = command("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trial=2", *settings)
    assert (status, out, err.count("\n")) == (2, "", 1) and "n_trial" in err
