"""Time is taken where it is spent, and divided among those who spent it."""

import functools
import itertools
import json
import shutil

import pytest
import torch
from bench import rows_of

from runners.decoding import Decoding
from runners.stopwatch import Stopwatch, synchroniser


class Clock:
    """Moves on by what it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_prefill_and_decode_are_apart():
    clock, waits = Clock(), []
    watch = Stopwatch(lambda: waits.append(clock.now), clock)
    clock.now += 5
    watch.prefilled()
    for seconds in (1, 2):
        clock.now += seconds
        watch.decoded([1], [0])
    assert (watch.prefill_s, watch.decode_s) == (5, 3)
    assert watch.row(0) == ([1, 2], [1, 1])
    # The device is waited for before every look at the clock.
    assert waits == [100, 105, 106, 108]


def test_a_row_has_the_calls_in_which_it_was_running():
    clock = Clock()
    watch = Stopwatch(lambda: None, clock)
    watch.prefilled()
    for live in ([0, 1, 2], [0, 2], [2]):
        clock.now += len(live)
        watch.decoded([1] * len(live), live)
    assert [watch.row(row) for row in range(4)] == [
        ([3, 2], [1, 1]),
        ([3], [1]),
        ([3, 2, 1], [1, 1, 1]),
        ([], []),
    ]


def test_a_call_can_give_several_tokens():
    watch = Stopwatch(lambda: None, Clock())
    watch.decoded([3], [0])
    watch.decoded([2], [0])
    assert watch.row(0)[1] == [3, 2]


def test_the_host_is_not_waited_for():
    assert synchroniser(torch.device("cpu"))() is None


@pytest.fixture
def ticking(monkeypatch):
    """Every look at the clock is one second after the one before."""
    ticks = itertools.count()
    monkeypatch.setattr("runners.decoding.Stopwatch", functools.partial(Stopwatch, clock=lambda: next(ticks)))


def test_one_second_a_call(bench, ticking):
    finished = bench.run("limit=6")
    for row in rows_of(finished):
        assert row["prefill_s"] == row["full_prefill_s"] == 1
        assert row["decode_s"] == row["full_decode_s"] == row["output_tokens"] - 1
        assert row["step_s"] == [1] * (row["output_tokens"] - 1)
    for name in ("speedup", "speedup_lo", "speedup_hi", "tokens_per_s", "full_tokens_per_s", "ttft_s"):
        assert finished.metrics[name] == pytest.approx(1)
    assert finished.metrics["token_ms_p50"] == finished.metrics["token_ms_p99"] == 1000


def test_rows_of_a_batch_share_its_time(bench, ticking):
    finished = bench.run("limit=10", "batch_size=5")
    rows = rows_of(finished)
    for number in (0, 1):
        batch = [row for row in rows if row["batch"] == number]
        calls = max(row["output_tokens"] for row in batch) - 1
        assert [row["prefill_s"] for row in batch] == [1 / 5] * 5
        assert [row["decode_s"] for row in batch] == [calls / 5] * 5
        # Each row waits for the whole of the calls in which it runs, and a finished row for none.
        assert [row["step_s"] for row in batch] == [[1] * (row["output_tokens"] - 1) for row in batch]
    tokens, seconds = sum(row["output_tokens"] - 1 for row in rows), sum(row["decode_s"] for row in rows)
    assert finished.metrics["tokens_per_s"] == pytest.approx(tokens / seconds)


def test_two_tokens_are_one_of_decode(bench, ticking):
    (row,) = bench.rows("limit=1", "max_new_tokens=2")
    assert (row["output_tokens"], row["decode_s"], row["step_tokens"]) == (2, 1, [1])
    assert (row["attention_total"], row["ffn_total"]) == (3, 3)


def ending_at_once(bench, row):
    """The overrides of a model to which the first token of this row's answer means the end."""
    folder = bench.folder / "ending"
    shutil.copytree(bench.model, folder)
    path = folder / "generation_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "eos_token_id": [config["eos_token_id"], row["output_ids"][0]]}))
    return f"model.path={folder}"


def test_an_answer_of_prefill_alone_has_no_decode_speed(bench):
    first = bench.rows("limit=1")[0]
    finished = bench.run("limit=1", ending_at_once(bench, first))
    (row,) = rows_of(finished)
    assert (row["output_ids"], row["finish_reason"], row["output_text"]) == (
        first["output_ids"][:1],
        "eos",
        "",
    )
    assert (row["decode_s"], row["full_decode_s"], row["step_s"]) == (None, None, [])
    assert row["prefill_s"] > 0 and row["full_logprob"] < 0 and row["ffn_total"] == 0
    for name in (
        "speedup",
        "tokens_per_s",
        "full_tokens_per_s",
        "token_ms_p50",
        "ideal_speedup",
        "efficiency",
    ):
        assert finished.metrics[name] is None
    assert finished.metrics["ttft_s"] > 0 and finished.metrics["speedup_end_to_end"] > 0


def test_the_time_of_a_batch_is_not_lost_with_a_row_that_did_not_decode(bench, ticking):
    first = bench.rows("limit=1")[0]
    rows = bench.rows("limit=3", "batch_size=3", ending_at_once(bench, first))
    alone = [row for row in rows if row["output_tokens"] == 1]
    assert 1 <= len(alone) <= 2 and all(row["decode_s"] is None for row in alone)
    calls = max(row["output_tokens"] for row in rows) - 1
    assert sum(row["decode_s"] or 0 for row in rows) == pytest.approx(calls)


def test_sides_take_turns_in_going_first(bench, monkeypatch):
    went = []
    decode = Decoding.run

    def watched(self, method, prompts, keys, *temperature):
        went.append((keys[0][0], type(method).__name__))
        return decode(self, method, prompts, keys, *temperature)

    monkeypatch.setattr(Decoding, "run", watched)
    rows = bench.rows("limit=4", "method=random_ffn", "method.share=0.5")
    answered = [side for key, side in went if key != "warm-up"]
    assert [side for key, side in went if key == "warm-up"] == ["Full", "RandomFFN"]
    assert answered == ["Full", "RandomFFN", "RandomFFN", "Full"] * 2
    assert [row["order"] for row in rows] == ["full", "method"] * 2
