"""What a run says of records that were left out; conversations of more than two turns."""

import json

import pytest
import yaml
from bench import rows_of

from runners.execute import finished_before
from runners.judging import judge_run
from tasks.errors import DataError
from tasks.judges.config import JudgeConfig
from tasks.judges.endpoint import Reply

QUESTIONS = [{"id": f"q{n}", "question": f"What is {n}?", "answers": [str(n)]} for n in range(12)]


def write(path, records):
    path.write_text("\n".join(map(json.dumps, records)))
    return ("task.source=file", f"task.path={path}", "runner.baseline=none", "max_new_tokens=4")


def test_records_left_out_are_counted_and_named(bench, tmp_path, capfd):
    given = write(tmp_path / "q.jsonl", [*QUESTIONS[:5], {"id": "bad", "question": " "}, *QUESTIONS[5:]])
    finished = bench.run(*given)
    assert finished.metrics["skipped_records"] == 1
    told = [line for line in capfd.readouterr().err.splitlines() if "Left out" in line]
    assert len(told) == 1 and "q.jsonl, line 6: field 'question' is empty" in told[0]
    named = yaml.safe_load((finished.folder / "config.yaml").read_text())["skipped_records"]
    assert len(named) == 1 and named[0] in told[0]
    # The same examples are the same run.
    whole = bench.job(*write(tmp_path / "whole.jsonl", QUESTIONS))
    assert finished_before(whole) == finished.folder
    with pytest.raises(DataError, match="line 6"):
        bench.run(*given, "task.on_bad_record=error")


def test_a_set_that_comes_with_the_project_has_none(bench):
    assert bench.run("limit=1", "max_new_tokens=2", "runner.baseline=none").metrics["skipped_records"] == 0


@pytest.fixture
def conversations(tmp_path):
    """Conversations of one to four turns."""
    records = [
        {"question_id": n, "category": "qa", "turns": [f"{n} and {turn}?" for turn in range(n % 4 + 1)]}
        for n in range(8)
    ]
    return ("task=mtbench", *write(tmp_path / "c.jsonl", records), "limit=null")


def test_conversations_of_any_length(bench, conversations, monkeypatch):
    rows = rows_of(bench.run(*conversations, "method=drop_last", "method.layers=1", "runner.baseline=paired"))
    turns = {row["example_id"]: 0 for row in rows}
    for row in rows:
        turns[row["example_id"]] += 1
    assert turns and all(count == int(name) % 4 + 1 for name, count in turns.items())
    for row in rows:
        assert row["question"] == f"{row['example_id']} and {row['turn']}?"
        assert row["question"] in row["prompt"]
    # Interrupted and taken up again, they are the same.
    bench.interrupted(monkeypatch, 1, *conversations, "seed=0", "batch_size=2")
    resumed = bench.rows(*conversations, "seed=0", "batch_size=2")
    undisturbed = bench.rows(
        *conversations, "seed=0", "batch_size=2", f"results_dir={bench.folder / 'undisturbed'}"
    )
    assert [(row["example_id"], row["turn"], row["output_ids"]) for row in resumed] == [
        (row["example_id"], row["turn"], row["output_ids"]) for row in undisturbed
    ]


def test_judges_know_two_turns(bench, conversations):
    """Refused before anything is answered, and before anybody is asked of what is."""
    with pytest.raises(DataError, match=r"at most 2 turns, and one has [34]; leave the longer ones out"):
        bench.run(*conversations, "judge=hf", "judge.model=x")
    assert not bench.results.exists()
    folder = bench.run(*conversations).folder
    asked = []

    def say(messages):
        asked.append(messages)
        return Reply("Rating: [[7]]", 1, 1)

    with pytest.raises(DataError, match="at most 2 turns"):
        judge_run(folder, JudgeConfig(name="openai", model="x"), say)
    assert not asked
