"""Eight processes at once: over one results root, over one run, over one conversion."""

import os
import signal
import time

import pytest
from bench import untimed
from faults import RAN, REFUSED, ended, forked, the_run

from exactness import assert_rounded
from models import gguf
from models.gguf import converted
from runners.bars import Bar
from runners.errors import RunError
from runners.execute import Execution
from runners.pair import Pair
from runners.storage import RunFolder, find_runs
from runners.verdict_store import VerdictStore
from tasks.judges.config import JudgeConfig
from tasks.judges.endpoint import Reply
from tasks.judges.prompts import Asked
from tiny_files import logits_of, write_gguf

RUN = ("limit=3", "max_new_tokens=6", "runner.baseline=none")
EIGHT = range(8)


def test_eight_runs_into_one_results_folder(bench, tmp_path):
    # The model stays loaded for the children.
    alone = bench.rows(*RUN, "seed=3", f"results_dir={tmp_path / 'alone'}")
    children = [forked(lambda seed=seed: bench.run(*RUN, f"seed={seed}")) for seed in EIGHT]
    assert [ended(child) for child in children] == [RAN] * 8
    runs = find_runs(bench.results)
    assert len(runs) == 8
    assert all(len(run.read_rows()) == 3 for run in runs)
    assert [untimed(row) for row in bench.rows(*RUN, "seed=3")] == [untimed(row) for row in alone]
    assert not list(bench.results.rglob("*.partial")) and not list(bench.results.rglob("journal.jsonl"))


def test_eight_processes_on_one_run(bench, tmp_path, capfd, monkeypatch):
    alone = bench.rows(*RUN, f"results_dir={tmp_path / 'alone'}")
    capfd.readouterr()
    ask, log = Pair.rows, tmp_path / "answered"
    told, tell = os.pipe()

    def logged(pair, examples, number):
        with log.open("ab", buffering=0) as lines:
            lines.write(b"one\n" * len(examples))
        if number == 0:
            # Until another was refused.
            os.read(told, 1)
        return ask(pair, examples, number)

    def one():
        try:
            bench.run(*RUN)
        except RunError:
            os.write(tell, b"x")
            raise

    monkeypatch.setattr(Pair, "rows", logged)
    children = [forked(one) for _ in EIGHT]
    statuses = [ended(child) for child in children]
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert {RAN, REFUSED} == set(statuses)
    assert len(said) == statuses.count(REFUSED)
    assert all(line.endswith("is being written by another process") for line in said)
    assert [untimed(row) for row in the_run(bench).read_rows()] == [untimed(row) for row in alone]
    assert log.read_bytes() == b"one\n" * 3
    assert not list(bench.results.rglob("*.partial"))


def test_a_run_that_another_process_finishes_while_the_model_is_loading(bench, monkeypatch):
    begin, others = Execution.__init__, [lambda: bench.run(*RUN)]

    def slowly(execution, *given):
        begin(execution, *given)
        if others:
            assert ended(forked(others.pop())) == RAN

    monkeypatch.setattr(Execution, "__init__", slowly)
    assert not bench.run(*RUN).fresh


def test_a_run_whose_holder_was_killed_is_taken_over(bench, monkeypatch):
    bench.run(*RUN, "seed=1")

    def asleep(*_):
        time.sleep(60)

    with monkeypatch.context() as patched:
        patched.setattr(Pair, "rows", asleep)
        holder = forked(lambda: bench.run(*RUN))
    deadline = time.monotonic() + 60
    while not list(bench.results.glob("*/environment.json"))[1:]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert ended(forked(lambda: bench.run(*RUN))) == REFUSED
    os.kill(holder, signal.SIGKILL)
    ended(holder)
    assert len(bench.rows(*RUN)) == 3


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKIPBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_one_model_converted_by_eight_processes(tmp_path, own_cache, monkeypatch):
    file = tmp_path / "tiny.gguf"
    wanted = logits_of(write_gguf(file))
    convert, log = gguf._convert, tmp_path / "conversions"

    def counted(file, folder):
        with log.open("ab", buffering=0) as lines:
            lines.write(b"once\n")
        convert(file, folder)

    def check():
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(converted(file))
        assert_rounded(logits_of(model), wanted)

    monkeypatch.setattr(gguf, "_convert", counted)
    children = [forked(check) for _ in EIGHT]
    assert [ended(child) for child in children] == [RAN] * 8
    assert log.read_bytes() == b"once\n"


def test_a_conversion_that_was_killed_is_done_again(tmp_path, own_cache, monkeypatch):
    file = tmp_path / "tiny.gguf"
    write_gguf(file)
    move = gguf.shutil.move
    with monkeypatch.context() as patched:
        patched.setattr(gguf.shutil, "move", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert ended(forked(lambda: converted(file))) == -signal.SIGKILL
    assert gguf.shutil.move is move and list(own_cache.glob("models/.tiny*"))
    folder = converted(file)
    assert (folder / "config.json").is_file()
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, f"{folder.name}.lock"}


def test_eight_processes_that_add_to_one_verdict_file(own_cache):
    config = JudgeConfig("openai", "judge", "http://127.0.0.1:1/v1")

    def asked(number):
        return Asked("grade", [{"role": "user", "content": str(number)}], 1)

    def add(process):
        store = VerdictStore(config)
        for number in range(process * 20, process * 20 + 20):
            store.add(asked(number), Reply("x" * 9000 + str(number)))

    children = [forked(lambda process=process: add(process)) for process in EIGHT]
    assert [ended(child) for child in children] == [RAN] * 8
    store = VerdictStore(config)
    for number in range(160):
        reply = store.get(asked(number))
        assert reply is not None and reply.text == "x" * 9000 + str(number)


def test_a_process_killed_while_it_draws_holds_up_nobody(bench):
    bench.run(*RUN, "seed=1")

    def drawing():
        Bar.get_lock().acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    def running():
        signal.alarm(20)
        bench.run(*RUN)

    assert ended(forked(drawing)) == -signal.SIGKILL
    assert ended(forked(running)) == RAN


def test_locks_are_per_run(tmp_path):
    with RunFolder(tmp_path, "one").lock(), RunFolder(tmp_path, "other").lock():
        assert len(list((tmp_path / ".locks").iterdir())) == 2
