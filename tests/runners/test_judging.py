"""Finished runs before a judge: asked once, kept at once, paid once."""

import dataclasses
import json
import multiprocessing
import os
import re
import shutil
import signal
import threading
import time

import pyarrow.parquet as pq
import pytest
from bench import rows_of

from runners.errors import RunError
from runners.judging import judge_run
from runners.schema import JUDGEMENTS
from tasks.errors import DataError
from tasks.judges.config import JudgeConfig
from tasks.judges.endpoint import JudgeUnreachableError, Reply
from tasks.mtbench import TEMPERATURES

SIDES = re.compile(
    r"### Assistant A(?:'s conversation)?\n(.*)\n\n### Assistant B(?:'s conversation)?\n(.*)\n\n### End",
    re.DOTALL,
)
# A server of one's own, which needs no key.
OWN = {"name": "openai", "base_url": "http://127.0.0.1:9/v1"}
CONFIG = JudgeConfig(**OWN, model="judge-1", price_in=2.0, price_out=8.0, concurrency=2)


_FINISHED = {}


@pytest.fixture
def talks(bench, tmp_path, tmp_path_factory):
    """A finished run of conversations in which the method differs from the full model; made once, copied."""
    rows = [
        {
            "question_id": number,
            "category": name,
            "turns": [f"Say {name}.", "Again?"],
            "reference": ["r1", "r2"],
        }
        for number, name in enumerate(TEMPERATURES)
    ]
    other = [
        {**row, "question_id": f"c{row['question_id']}", "turns": ["Calibrate?", "Yes."]} for row in rows
    ]
    for name, content in (("talks", rows), ("other", other)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, content)))
    if "run" in _FINISHED:
        run, kept = _FINISHED["run"]
        folder = bench.results / run.folder.name
        shutil.copytree(kept, folder)
        return dataclasses.replace(run, folder=folder)
    run = bench.run(
        *("method=random_ffn", "method.share=0.5", "task=mtbench", "task.source=file", "limit=8"),
        *(f"task.path={tmp_path / 'talks.jsonl'}", f"task.calibration_path={tmp_path / 'other.jsonl'}"),
        *("task.names=rules", "max_new_tokens=4"),
    )
    kept = tmp_path_factory.mktemp("judged") / run.folder.name
    shutil.copytree(run.folder, kept)
    _FINISHED["run"] = (run, kept)
    return run


class Judge:
    """Grades by a rule, and remembers what it was asked."""

    def __init__(self, say):
        self.say, self.asked, self.lock = say, [], threading.Lock()

    def __call__(self, messages):
        with self.lock:
            self.asked.append(messages[-1]["content"])
            number = len(self.asked)
        said = self.say(messages[-1]["content"], number)
        if isinstance(said, Exception):
            raise said
        return Reply(said, 100, 10)


def verdicts(finished):
    (path,) = finished.folder.glob("judgements-*.parquet")
    table = pq.read_table(path)
    assert table.schema.equals(JUDGEMENTS)
    return table.to_pylist()


def test_grades(talks):
    judge = Judge(lambda text, number: f"Example [[1]]. Rating: [[{3 + len(text) % 5}]]")
    metrics = judge_run(talks.folder, CONFIG, judge)
    rows = verdicts(talks)
    assert len(rows) == 32 and {row["side"] for row in rows} == {"own", "full"}
    own = [row["rating"] for row in rows if row["side"] == "own"]
    full = [row["rating"] for row in rows if row["side"] == "full"]
    assert metrics["judge_score"] == pytest.approx(sum(own) / 16)
    assert metrics["full_judge_score"] == pytest.approx(sum(full) / 16)
    assert metrics["judge_delta"] == pytest.approx((sum(own) - sum(full)) / 16)
    assert metrics["judge_delta_lo"] <= metrics["judge_delta"] <= metrics["judge_delta_hi"]
    assert (metrics["judge_unparsed"], metrics["judge_failed"]) == (0, 0)
    assert metrics["judge"].startswith("openai judge-1 single prompts ")
    assert json.loads((talks.folder / "metrics.json").read_text()) == metrics
    # Whoever said the same is asked about once.
    assert len(judge.asked) == len(set(judge.asked)) <= 32
    by_place = {(row["example_id"], row["turn"]): row for row in rows_of(talks)}
    for row in rows:
        answered = by_place[row["example_id"], row["turn"]]
        beside = answered["category"] in ("math", "reasoning", "coding")
        assert ("math" in row["prompt_name"]) is beside
        assert ("multi-turn" in row["prompt_name"]) is (row["turn"] == 1)


def test_a_second_time_nobody_is_asked(talks):
    first = judge_run(talks.folder, CONFIG, Judge(lambda text, number: "[[5]]"))
    silent = Judge(lambda text, number: AssertionError("asked again"))
    assert judge_run(talks.folder, CONFIG, silent) == first and not silent.asked
    other = Judge(lambda text, number: "[[6]]")
    judge_run(talks.folder, JudgeConfig(**OWN, model="judge-2"), other)
    assert other.asked, "another judge is another opinion"
    assert len(list(talks.folder.glob("judgements-*.parquet"))) == 2


def test_both_orders_count(talks):
    """A judge that always takes the first says nothing; one that takes a text says what it prefers."""
    pairwise = JudgeConfig(**OWN, model="biased", mode="pairwise")
    biased = judge_run(talks.folder, pairwise, Judge(lambda text, number: "[[A]]"))
    assert (biased["judge_win_rate"], biased["judge_loss_rate"], biased["judge_tie_rate"]) == (0, 0, 1)
    assert biased["judge_score"] is None
    answers = {(row["example_id"], row["turn"]): row for row in rows_of(talks)}
    differ = sum(
        any(
            answers[name, before]["output_text"] != answers[name, before]["full_output_text"]
            for before in range(turn + 1)
        )
        for name, turn in answers
    )
    assert differ > 0

    def firm(text, number):
        """Prefers a text wherever it stands."""
        found = SIDES.search(text)
        if found is None:
            return "[[5]]"
        one, other = (
            part.replace(f"Assistant {name}", "") for name, part in zip("AB", found.groups(), strict=True)
        )
        return "[[A]]" if one > other else "[[B]]" if one < other else "[[C]]"

    both = JudgeConfig(**OWN, model="firm", mode="both")
    metrics = judge_run(talks.folder, both, Judge(firm))
    assert metrics["judge_win_rate"] + metrics["judge_loss_rate"] == pytest.approx(differ / 16)
    assert metrics["judge_tie_rate"] == pytest.approx(1 - differ / 16)
    assert metrics["judge_score"] == 5
    assert {row["side"] for row in _all(talks, "firm")} == {"own", "full", "own_first", "full_first"}


def _all(finished, name):
    (path,) = finished.folder.glob(f"judgements-*{name}*.parquet")
    return pq.read_table(path).to_pylist()


def test_a_judge_that_thinks_first(talks):
    metrics = judge_run(talks.folder, CONFIG, Judge(lambda *_: "<think>[[2]]? [[9]]?</think>Rating: [[7]]"))
    assert metrics["judge_score"] == 7 and metrics["judge_unparsed"] == 0


def test_a_judge_that_never_stops_thinking(talks):
    metrics = judge_run(talks.folder, CONFIG, Judge(lambda *_: "<think>Perhaps [[2]]"))
    assert metrics["judge_score"] is None and metrics["judge_unparsed"] == 32


def test_what_cannot_be_read_is_counted(talks):
    judge = Judge(lambda text, number: "Seven, I think." if "Say math" in text else "[[7]]")
    metrics = judge_run(talks.folder, CONFIG, judge)
    rows = verdicts(talks)
    unread = [row for row in rows if row["parsed"] is False]
    assert metrics["judge_unparsed"] == len(unread) == 4
    assert all(row["reply"] == "Seven, I think." and row["rating"] is None for row in unread)
    assert metrics["judge_score"] == 7


def test_cost(talks):
    judge = Judge(lambda text, number: "[[7]]")
    metrics = judge_run(talks.folder, CONFIG, judge)
    assert metrics["judge_calls"] == len(judge.asked)
    assert metrics["judge_cost"] == pytest.approx(len(judge.asked) * (100 * 2 + 10 * 8) / 1e6)
    unknown = JudgeConfig(**OWN, model="judge-1")
    assert judge_run(talks.folder, unknown)["judge_cost"] is None


def test_some_requests_fail(talks):
    """The others count; the next time only these are asked."""
    judge = Judge(lambda text, number: JudgeUnreachableError("busy") if number == 5 else "[[7]]")
    metrics = judge_run(talks.folder, JudgeConfig(**OWN, model="j", concurrency=1), judge)
    assert metrics["judge_failed"] == 1 and metrics["judge_score"] == 7
    never = Judge(lambda text, number: JudgeUnreachableError("filtered"))
    assert judge_run(talks.folder, JudgeConfig(**OWN, model="j"), never)["judge_failed"] == 1
    assert len(never.asked) == 1, "one that is always refused does not make the others unreadable"
    again = Judge(lambda text, number: "[[7]]")
    assert judge_run(talks.folder, JudgeConfig(**OWN, model="j"), again)["judge_failed"] == 0
    assert len(again.asked) == 1


def test_what_is_paid_is_kept_when_another_fails(talks):
    """A refusal ends the judging while other answers are on their way."""
    gate = threading.Event()

    def say(text, number):
        if number == 1:
            gate.wait(10)
            return "[[7]]"
        gate.set()
        return DataError("the judge refuses: 401")

    judge = Judge(say)
    with pytest.raises(DataError, match="refuses"):
        judge_run(talks.folder, CONFIG, judge)
    again = Judge(lambda text, number: "[[7]]")
    judge_run(talks.folder, CONFIG, again)
    assert judge.asked[0] not in again.asked


def test_a_judge_that_dies_is_not_asked_to_the_end(talks):
    judge = Judge(lambda text, number: "[[7]]" if number <= 5 else JudgeUnreachableError("gone"))
    with pytest.raises(RunError, match="cannot be reached: gone"):
        judge_run(talks.folder, CONFIG, judge)
    assert len(judge.asked) < 16


@pytest.mark.parametrize(
    "trouble", [JudgeUnreachableError("nobody there"), DataError("the judge refuses: 401")]
)
def test_nobody_answers(bench, talks, trouble):
    before = bench.files()
    judge = Judge(lambda text, number: trouble)
    with pytest.raises((RunError, DataError), match=r"nobody there|refuses") as error:
        judge_run(talks.folder, JudgeConfig(**OWN, model="j", concurrency=1), judge)
    assert "\n" not in str(error.value) and len(judge.asked) <= 6
    after = bench.files()
    assert {name: after[name] for name in before} == before


def _judge_slowly(folder, path):
    def slow(messages):
        with open(path, "a") as file:
            file.write("x")
        time.sleep(0.05)
        return Reply("[[7]]", 1, 1)

    judge_run(folder, CONFIG, slow)


def test_killed_and_resumed_nothing_is_paid_twice(talks, tmp_path):
    log = tmp_path / "asked"
    log.write_text("")
    process = multiprocessing.get_context("fork").Process(target=_judge_slowly, args=(talks.folder, log))
    process.start()
    deadline = time.monotonic() + 60
    while len(log.read_text()) < 8 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    paid = len(log.read_text())
    assert 8 <= paid < 30
    judge = Judge(lambda text, number: "[[7]]")
    metrics = judge_run(talks.folder, CONFIG, judge)
    assert metrics["judge_score"] == metrics["full_judge_score"] == 7
    # Those that were under way when it was killed may have to be asked again.
    whole = len({row["prompt_name"] and row["example_id"] for row in verdicts(talks)})
    assert whole == 8 and len(judge.asked) >= 1
    fresh = Judge(lambda text, number: "[[7]]")
    judge_run(talks.folder, JudgeConfig(**OWN, model="another"), fresh)
    assert paid + len(judge.asked) - len(fresh.asked) <= CONFIG.concurrency


def test_a_verdict_cut_short_is_asked_again(talks, bench):
    judge_run(talks.folder, CONFIG, Judge(lambda text, number: "[[7]]"))
    (path,) = (bench.folder / "cache" / "verdicts").glob("*.jsonl")
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    judge = Judge(lambda text, number: "[[7]]")
    judge_run(talks.folder, CONFIG, judge)
    assert len(judge.asked) == 1
    silent = Judge(lambda text, number: AssertionError("asked again"))
    judge_run(talks.folder, CONFIG, silent)


def test_the_command(bench, talks, command, monkeypatch):
    monkeypatch.setattr("runners.judging.endpoint", lambda config: Judge(lambda text, number: "[[6]]"))
    own = "judge.base_url=http://127.0.0.1:9/v1"
    status, out, err = command("judge", str(talks.folder), "judge=openai", "judge.model=m", own)
    assert (status, err) == (0, "") and "judge's grade" in out and "6.00" in out


def test_a_run_is_judged_at_its_end(bench, talks, monkeypatch, tmp_path):
    judge = Judge(lambda text, number: "[[6]]")
    monkeypatch.setattr("runners.judging.endpoint", lambda config: judge)
    overrides = [
        *("method=full", "task=mtbench", "task.source=file", "limit=2", "max_new_tokens=4"),
        *(f"task.path={tmp_path / 'talks.jsonl'}", f"task.calibration_path={tmp_path / 'other.jsonl'}"),
    ]
    named = ["judge=openai", "judge.model=m", "judge.base_url=http://127.0.0.1:9/v1"]
    first = bench.run(*overrides)
    again = bench.run(*overrides, *named)
    assert again.folder == first.folder and not again.fresh, "a judge is no part of what a run is"
    assert again.metrics["judge_score"] == 6 and judge.asked
    assert bench.run(*overrides, *named, "force=true").metrics["judge_score"] == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no judge is named"),
        (["judge=openai"], "judge=openai needs judge.model"),
        (["judge=openai", "judge.model=m", "seed=3"], "not seed=3"),
        (["judge=openai", "judge.modl=m"], "judge.mod"),
        (["judge=oracle"], "oracle"),
        (["judge=openai", "judge.model=m"], "needs a key in the environment variable OPENAI_API_KEY"),
        (["judge=hf", "judge.model=/nowhere/model"], "/nowhere/model"),
        (["judge=openai", "judge.model=m", "judge.prompts=/nowhere.jsonl"], "there is no such file"),
    ],
)
def test_what_is_refused(bench, talks, command, arguments, said, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    before = bench.files()
    status, _, err = command("judge", str(talks.folder), *arguments)
    assert status == 2 and said in err and err.count("\n") == 1
    assert {name: data for name, data in bench.files().items() if name in before} == before


def test_what_a_judge_lacks_is_told_before_anything_runs(bench, command, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("runners.execute.load_model", None)
    mtbench = bench.overrides("task=mtbench", "judge=openai", "judge.model=m")
    for overrides, said in (
        (mtbench, "needs a key in the environment variable OPENAI_API_KEY"),
        ([*mtbench, "judge.prompts=/nowhere.jsonl"], "there is no such file"),
        ([*mtbench, "judge.mode=both", "runner.baseline=none"], "needs the full model's answers"),
        (bench.overrides("judge=openai", "judge.model=m"), "is not judged"),
    ):
        status, _, err = command(*overrides)
        assert status == 2 and said in err and err.count("\n") == 1
    assert not bench.results.exists() or not bench.files()


def test_what_is_not_judged(bench, command):
    finished = bench.run("max_new_tokens=4")
    status, _, err = command("judge", str(finished.folder), "judge=openai", "judge.model=m")
    assert status == 2 and "task=factoidqa has right answers and is not judged" in err
    status, _, err = command("judge", str(bench.folder / "nothing"), "judge=openai", "judge.model=m")
    assert status == 2 and "is not a folder" in err
    status, _, err = command("judge", "judge=openai", "judge.model=m")
    assert status == 2 and "needs the folder of a finished run" in err


def test_a_local_judge(bench, talks, tiny_model):
    """The tiny model grades nothing sensible, which is counted."""
    config = JudgeConfig(name="hf", model=str(tiny_model), max_tokens=800)
    with pytest.raises(RunError, match=r"a question has .* tokens; the context is 1024"):
        judge_run(talks.folder, config)
    short = bench.folder / "short.jsonl"
    names = [f"single-{kind}-v1{end}" for kind in ("", "math") for end in ("", "-multi-turn")]
    names = [name.replace("--", "-") for name in names]
    rows = [{"name": name, "type": "single", "prompt_template": "{answer}?"} for name in names]
    short.write_text("\n".join(map(json.dumps, rows)))
    metrics = judge_run(
        talks.folder, JudgeConfig(name="hf", model=str(tiny_model), max_tokens=4, prompts=str(short))
    )
    assert metrics["judge_unparsed"] == 32 and metrics["judge_score"] is None
    assert all(row["completion_tokens"] <= 4 for row in verdicts(talks))
