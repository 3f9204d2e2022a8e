"""Conversations, summaries and their scores through a whole run."""

import json

import pytest
from bench import rows_of, untimed

from runners.decoding import Decoding
from runners.errors import RunError
from runners.rescore import rescore
from runners.schema import samples_table
from tasks.mtbench import TEMPERATURES

SHORT = ("max_new_tokens=12",)


@pytest.fixture
def talks(tmp_path):
    """Eight short conversations, one a category."""
    rows = [
        {"question_id": number, "category": name, "turns": [f"Say {name}.", "Again?"]}
        for number, name in enumerate([*TEMPERATURES] * 2)
    ]
    (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, rows[:8])))
    other = [
        {**row, "question_id": f"c{row['question_id']}", "turns": ["Calibrate?", "Yes."]} for row in rows
    ]
    (tmp_path / "other.jsonl").write_text("\n".join(map(json.dumps, other)))
    return [
        *("task=mtbench", "task.source=file", f"task.path={tmp_path / 'talks.jsonl'}", "limit=8"),
        *(f"task.calibration_path={tmp_path / 'other.jsonl'}", "task.names=rules", *SHORT),
    ]


def test_two_turns(bench, talks):
    rows = bench.rows("method=random_ffn", "method.share=0.5", *talks)
    assert sorted((row["example_id"], row["turn"]) for row in rows) == [
        (str(number), turn) for number in range(8) for turn in (0, 1)
    ]
    by_turn = {(row["example_id"], row["turn"]): row for row in rows}
    for (name, turn), row in by_turn.items():
        assert row["question"] == ("Again?" if turn else f"Say {row['category']}.")
        assert row["hallucinated"] is None and row["outcome"] is None and row["full_quality"] == 1.0
        if turn:
            # Each side goes on from its own first answer.
            assert f"<assistant>{by_turn[name, 0]['output_text']}" in row["prompt"]
    assert sum(row["quality"] < 1 for row in rows) > 0


def test_the_metrics_of_conversations(bench, talks):
    metrics = bench.run("method=random_ffn", "method.share=0.5", *talks).metrics
    assert (metrics["quality_metric"], metrics["examples"], metrics["quality_n"]) == ("agreement", 8, 16)
    assert metrics["temperature"] is None and metrics["hallucination_metric"] is None
    assert metrics["hallucination_rate"] is None and metrics["new_hallucination_rate"] is None
    assert metrics["full_quality"] == 1.0
    assert metrics["quality_delta"] == pytest.approx(metrics["quality"] - 1)
    lossless = bench.run("method=full", *talks).metrics
    assert lossless["quality"] == 1.0 and lossless["quality_delta"] == 0
    # Eight conversations without a difference leave some possible.
    assert -0.4 <= lossless["quality_delta_lo"] < 0 < lossless["quality_delta_hi"] <= 0.4


def test_each_category_has_its_temperature(bench, talks):
    """Greedy answers do not depend on the seed, the others do, also in batches."""
    runs = {
        (seed, size): {
            (row["category"], row["turn"]): row["output_ids"]
            for row in bench.rows(*talks, f"seed={seed}", f"batch_size={size}")
        }
        for seed, size in ((0, 1), (1, 1), (0, 3))
    }
    assert runs[0, 1] == runs[0, 3], "a batch has one temperature"
    same = {key[0] for key, ids in runs[0, 1].items() if key[1] == 0 and runs[1, 1][key] == ids}
    assert {name for name, temperature in TEMPERATURES.items() if not temperature} <= same
    assert not same & {"writing", "roleplay"}
    shared = bench.rows(*talks, "task.temperatures=shared")
    assert all(row["output_ids"] for row in shared)
    with pytest.raises(RunError, match=r"temperature=0.5 has no effect.*task.temperatures=shared"):
        bench.run(*talks, "temperature=0.5")


def test_a_summary_is_scored_on_both_sides(bench, tmp_path):
    # One token a byte: the context of the tiny model holds no article of the embedded set.
    rows = [{"id": f"{n}", "article": f"Bob Hall ran {n} miles.", "highlights": "Bob ran."} for n in range(8)]
    (tmp_path / "articles.jsonl").write_text("\n".join(map(json.dumps, rows)))
    overrides = ["task=summarization", "task.source=file", f"task.path={tmp_path / 'articles.jsonl'}", *SHORT]
    finished = bench.run(*overrides, "method=random_ffn", "method.share=0.5", "task.names=rules")
    for row in rows_of(finished):
        for side in ("", "full_"):
            assert {"rouge1", "rouge2", "rougeL", "rougeLsum", "unsupported"} <= row[f"{side}scores"].keys()
            assert row[f"{side}hallucinated"] is (row[f"{side}outcome"] == "unsupported")
        assert row["category"] == "short"
    assert finished.metrics["hallucination_metric"] == "unsupported names and numbers (rules)"


def test_runs_of_all_tasks_are_one_table(bench, talks, tmp_path):
    rows = bench.rows(*talks) + bench.rows("limit=2", *SHORT)
    table = samples_table(rows)
    assert set(table["task"].to_pylist()) == {"mtbench", "factoidqa"}
    scores = [dict(row) for row in table["scores"].to_pylist()]
    assert any("agreement" in row for row in scores) and any("f1" in row for row in scores)


def test_other_scoring_gives_what_a_new_run_gives(bench, command, tmp_path):
    finished = bench.run("task.scoring=contains", *SHORT)
    before = rows_of(finished)
    status, out, err = command("rescore", str(finished.folder), "task.scoring=legacy_leaky")
    assert (status, err) == (0, "") and "legacy_leaky" in out
    rescored = [untimed(row) for row in rows_of(finished)]
    new = bench.run("task.scoring=legacy_leaky", "force=true", *SHORT)
    assert new.folder == finished.folder, "scoring is no part of what a run is"
    assert [untimed(row) for row in rows_of(new)] == rescored
    assert new.metrics["quality_metric"] == "legacy_leaky"
    # Asked for the first scoring again, the finished run is scored again and not run again.
    again = bench.run("task.scoring=contains", *SHORT)
    assert not again.fresh and again.metrics["quality_metric"] == "contains"
    assert [row["quality"] for row in rows_of(again)] == [row["quality"] for row in before]


def test_legacy_scoring_sees_the_prompt(bench, tmp_path):
    rows = [{"question": f"Is {n} the name of Bob?", "answers": ["BOB"]} for n in range(8)]
    (tmp_path / "leaky.jsonl").write_text("\n".join(map(json.dumps, rows)))
    overrides = ["task.source=file", f"task.path={tmp_path / 'leaky.jsonl'}", *SHORT]
    metrics = bench.run(*overrides, "task.scoring=legacy_leaky").metrics
    assert metrics["quality"] == metrics["full_quality"] == 1.0
    assert rescore(bench.results / metrics["run_id"], {"scoring": "contains"})["quality"] == 0.0


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("task.shots=3", "task.shots may change the answers"),
        ("task.scorin=contains", "task.scorin may change the answers"),
        ("task.scoring=fair", "task.scoring is 'fair'; it must be one of contains, legacy_leaky"),
        ("seed=3", "rescore takes folders and task.<option>=<value>, not seed=3"),
        ("task.scoring=[", "task.scoring is '['; it must be one of"),
    ],
)
def test_what_rescore_refuses(bench, command, argument, said):
    finished = bench.run(*SHORT)
    before = bench.files()
    status, _, err = command("rescore", str(finished.folder), argument)
    assert status == 2 and said in err and err.count("\n") == 1
    assert {name: data for name, data in bench.files().items() if "lock" not in name} == {
        name: data for name, data in before.items() if "lock" not in name
    }


def test_a_chat_that_does_not_fit_loses_the_end_of_its_longest_message(bench, tmp_path):
    rows = [{"id": f"{n}", "article": f"{n} " + "Bob ran. " * 60, "highlights": "x"} for n in range(8)]
    (tmp_path / "articles.jsonl").write_text("\n".join(map(json.dumps, rows)))
    overrides = ["task=summarization", "task.source=file", f"task.path={tmp_path / 'articles.jsonl'}", *SHORT]
    with pytest.raises(RunError, match="200 fit; on_overflow=truncate cuts it"):
        bench.run(*overrides, "max_prompt_tokens=200")
    for row in bench.rows(*overrides, "max_prompt_tokens=200", "on_overflow=truncate"):
        assert row["truncated"] and row["prompt_tokens"] <= 200
        assert row["prompt"].startswith("<user>Summarize the following") and row["prompt"].endswith(
            "<assistant>"
        )


def test_a_resumed_run_has_one_scoring(bench, monkeypatch, tmp_path):
    """What was written before an interruption is scored like the rest, whatever scoring it was begun with."""
    rows = [{"question": f"Is {n} the name of Bob?", "answers": ["BOB"]} for n in range(8)]
    (tmp_path / "leaky.jsonl").write_text("\n".join(map(json.dumps, rows)))
    overrides = ["task.source=file", f"task.path={tmp_path / 'leaky.jsonl'}", *SHORT]
    bench.interrupted(monkeypatch, 2, *overrides, "task.scoring=legacy_leaky")
    finished = bench.run(*overrides, "task.scoring=contains")
    assert {row["quality"] for row in rows_of(finished)} == {0.0}
    assert finished.metrics["quality_metric"] == "contains"


def test_a_later_turn_that_may_not_fit_is_told_at_once(bench, talks):
    with pytest.raises(RunError, match=r"turn 1 of example .* may have .* tokens, 45 fit"):
        bench.run(*talks, "max_prompt_tokens=45")
    for row in bench.rows(*talks, "max_prompt_tokens=45", "on_overflow=truncate"):
        assert row["prompt_tokens"] <= 45


def test_calibration_decodes_at_the_temperatures_of_the_task(bench, talks, monkeypatch):
    seen, run = [], Decoding.run

    def noting(self, method, prompts, keys, temperature=None, **more):
        seen.append((keys[0][0], temperature))
        return run(self, method, prompts, keys, temperature, **more)

    monkeypatch.setattr(Decoding, "run", noting)
    bench.run(*talks, "method=random_ffn", "method.target_skip=0.2", "runner.calibration_prompts=16")
    solving = [temperature for name, temperature in seen if name.startswith("c")]
    assert {0.0, 0.1, 0.7} == set(solving)
