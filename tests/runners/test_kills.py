"""A run killed again and again, at any moment, and resumed: nothing lost, twice or left over."""

import os
import random
import signal
import time
from functools import partial

import pytest
from bench import untimed
from faults import RAN, dies_at, dies_writing_past, ended, forked, killed_after, the_run, whole

from runners.journal import Journal

RUN = ("limit=6", "max_new_tokens=8", "method=ffnskip", "method.threshold=0.5")
FILES = {"DONE", "config.yaml", "environment.json", "metrics.json", "samples.parquet"}


@pytest.fixture
def reference(bench, tmp_path):
    """The rows of the run that nothing happened to; the model stays loaded for the children."""
    return [untimed(row) for row in bench.rows(*RUN, f"results_dir={tmp_path / 'undisturbed'}")]


def survived(bench, reference, faults):
    """Suffer every fault on one run, resuming each time; then finish it. How many found it at work."""
    suffered = 0
    finished = []
    for fault in faults:
        suffered += fault(lambda: bench.run(*RUN))
        if not bench.results.exists() or not any(bench.results.glob("[!.]*")):
            continue
        run = the_run(bench)
        before, finished = finished, whole(run)
        # What was told to be safe stays, in its order; nothing is answered twice.
        assert finished[: len(before)] == before
        assert len(set(finished)) == len(finished)
        if run.is_done():
            check(bench, reference)
            finished = []
            run.reset()
    bench.run(*RUN)
    check(bench, reference)
    return suffered


def check(bench, reference):
    """A resumed run is the undisturbed one, file by file and row by row."""
    rows = bench.rows(*RUN)
    assert [untimed(row) for row in rows] == reference
    assert {path.name for path in the_run(bench).path.iterdir()} == FILES


def at_random(seed, count, longest):
    noise = random.Random(seed)
    moments = [noise.uniform(0, longest) for _ in range(count)]
    return [partial(killed_after, seconds) for seconds in moments]


def at_points(points):
    """A kill at each of these points of writing."""

    def fault(work, point):
        status = ended(forked(lambda: (dies_at(point), work())))
        assert status in (RAN, -signal.SIGKILL)
        return status != RAN

    return [lambda work, point=point: fault(work, point) for point in points]


def mid_write(sizes):
    """A kill by the system in the middle of a write, when a file reaches these sizes."""

    def fault(work, size):
        status = ended(forked(lambda: (dies_writing_past(size), work())))
        assert status in (RAN, -signal.SIGXFSZ)
        return status != RAN

    return [lambda work, size=size: fault(work, size) for size in sizes]


def test_killed_at_any_moment_a_run_goes_on_where_it_was(bench, reference):
    began = time.monotonic()
    assert ended(forked(lambda: bench.run(*RUN))) == RAN
    whole_run = time.monotonic() - began
    the_run(bench).reset()
    assert survived(bench, reference, at_random(1, 6, whole_run)) >= 2


def test_killed_at_points_of_writing(bench, reference):
    assert survived(bench, reference, at_points(range(20, 150, 26))) >= 4


def test_killed_in_the_middle_of_a_write(bench, reference):
    assert survived(bench, reference, mid_write([100, 900, 3_000, 9_000, 14_000])) >= 4


def test_killed_between_done_and_the_end_of_the_journal(bench, reference, monkeypatch):
    def dying(journal):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(Journal, "remove", dying)
    assert ended(forked(lambda: bench.run(*RUN))) == -signal.SIGKILL
    monkeypatch.undo()
    run = the_run(bench)
    assert run.is_done() and run.journal.path.exists()
    with run.lock():
        bench.rows(*RUN)
        # Not while another process holds the run: it may have begun anew.
        assert run.journal.path.exists()
    check(bench, reference)


@pytest.mark.slow
def test_a_hundred_kills_at_random_moments(bench, reference):
    began = time.monotonic()
    assert ended(forked(lambda: bench.run(*RUN))) == RAN
    whole_run = time.monotonic() - began
    the_run(bench).reset()
    suffered = survived(bench, reference, at_random(2, 100, whole_run))
    print(f"killed at work: {suffered} of 100")
    assert suffered >= 50


@pytest.mark.slow
def test_killed_at_every_point_of_writing(bench, reference):
    suffered = survived(bench, reference, at_points(range(1, 180)))
    print(f"killed at points of writing: {suffered}")
    assert suffered >= 100


@pytest.mark.slow
def test_killed_in_the_middle_of_many_writes(bench, reference):
    suffered = survived(bench, reference, mid_write(range(50, 20_000, 397)))
    print(f"killed in the middle of a write: {suffered}")
    assert suffered >= 25
