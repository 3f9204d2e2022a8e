"""Results by category, and every score."""

import pandas as pd
import pytest

from analysis.breakdown import category_text, category_values, score_text, score_values
from analysis.report import write_report
from runners.schema import metrics_json, samples_table
from runners.storage import RunFolder


def row(example, category, quality, full, **more):
    return {
        "run_id": "r",
        "task": "summarization",
        "example_id": example,
        "turn": 0,
        "category": category,
        "quality": quality,
        "full_quality": full,
        "collapsed": False,
        "hallucinated": quality < 0.3,
        "full_hallucinated": False,
        "scores": {"rouge1": quality, "rouge2": quality / 2},
        "full_scores": {"rouge1": full, "rouge2": full / 2},
        **more,
    }


ROWS = [row("a", "short", 0.2, 0.4), row("b", "short", 0.4, 0.4), row("c", "long", 0.1, 0.5)]


def frame(rows):
    return samples_table(rows).to_pandas(maps_as_pydicts="strict")


def test_by_category():
    found = category_text(category_values(frame(ROWS), {"r": "ffnskip", "other": "x"})).set_index("category")
    assert list(found.index) == ["long", "short"] and set(found.method) == {"ffnskip"}
    short = found.loc["short"]
    assert (short.answers, short.quality, short.full) == ("2", "0.300", "0.400")
    assert (short.hallucinated, short["full hallucinated"], short.collapsed) == ("50 %", "0 %", "0 %")
    # Limits need six examples of such scores.
    assert (short.difference, found.loc["long"].difference) == ("-0.100", "-0.400")
    many = [row(str(n), "short", 0.3 + n / 100, 0.4) for n in range(8)]
    (of_many,) = category_text(category_values(frame(many), {"r": "x"})).to_dict("records")
    assert of_many["difference"].startswith("-0.065 [-0.0")
    # Rates have limits at once.
    rates = [row(str(n), "short", 0.0, 1.0) for n in range(2)]
    (of_rates,) = category_text(category_values(frame(rates), {"r": "x"})).to_dict("records")
    assert of_rates["difference"] == "-1.000 [-1.000, +0.193]"


def test_what_has_no_category_or_name_is_left_out():
    assert category_values(frame([row("a", None, 0.2, 0.4)]), {"r": "x"}).empty
    assert category_values(frame(ROWS), {"other": "x"}).empty and score_values(frame(ROWS), {}).empty
    assert score_values(frame([row("a", "short", 0.2, 0.4, scores=None)]), {"r": "x"}).empty


def test_what_is_unknown_is_a_dash():
    unknown = row("a", "math", 0.5, 0.5) | {"quality": None, "hallucinated": None, "full_hallucinated": None}
    (found,) = category_text(category_values(frame([unknown]), {"r": "x"})).to_dict("records")
    assert (found["quality"], found["difference"], found["hallucinated"]) == ("–", "–", "–")


def test_by_score():
    found = score_text(score_values(frame(ROWS), {"r": "ffnskip"})).set_index("score")
    assert found.loc["rouge1", "mean"] == "0.233" and found.loc["rouge1", "full"] == "0.433"
    assert found.loc["rouge2", "mean"] == "0.117"
    alone = [one | {"full_scores": None} for one in ROWS]
    assert score_text(score_values(frame(alone), {"r": "x"}))["full"].tolist() == ["–", "–"]


@pytest.mark.parametrize("tasks", [1, 2])
def test_the_report_has_a_part_for_every_setting(tmp_path, tasks):
    import pyarrow.parquet as pq

    for number in range(tasks):
        folder = tmp_path / f"r{number}"
        folder.mkdir()
        rows = [one | {"run_id": folder.name} for one in ROWS]
        record = {"run_id": folder.name, "model": f"m{number}", "task": "summarization", "method": "full"}
        (folder / "metrics.json").write_text(metrics_json(record))
        pq.write_table(samples_table(rows), folder / "samples.parquet")
        RunFolder(tmp_path, folder.name).path.joinpath("DONE").touch()
    write_report(tmp_path, tmp_path / "out")
    for name in ("categories.md", "scores.md"):
        text = (tmp_path / "out" / name).read_text()
        assert text.count("## m") == tasks and "| full |" in text
    assert isinstance(pd.read_csv(tmp_path / "out" / "metrics.csv"), pd.DataFrame)
