"""A score that a task declares is a metric: in the results, in the report, on a front, in a search."""

import json

import pandas as pd
import pytest

from analysis import load_metrics
from analysis.report import write_report
from runners.errors import RunError
from runners.own_metrics import own_metrics
from runners.rescore import rescore
from runners.search import SearchConfig
from tasks.factoidqa import FactoidQA

RUN = ("method=random_ffn", "method.share=0.5", "limit=6", "max_new_tokens=8")


@pytest.fixture
def declared(monkeypatch):
    monkeypatch.setattr(FactoidQA, "metrics", ("f1", "exact_match", "typo"))
    monkeypatch.setattr(FactoidQA, "lower_is_better", ("exact_match",))


def test_means_with_limits():
    rows = [
        {"example_id": f"{n}", "scores": {"a": n % 2}, "full_scores": None if n else {"a": 0.5}}
        for n in range(20)
    ]
    found = own_metrics(rows, ["a", "b"])
    own = found["score_means"]
    assert own["a"] == 0.5 and own["a_lo"] < 0.5 < own["a_hi"] and own["b"] is None
    assert found["full_score_means"] == {"a": 0.5, "b": None}
    assert own_metrics(rows, []) == {"score_means": None, "full_score_means": None}


def test_from_the_task_to_the_report(bench, declared, tmp_path):
    finished = bench.run(*RUN)
    stored = json.loads((finished.folder / "metrics.json").read_text())
    rows = [row["scores"]["f1"] for row in bench.rows(*RUN)]
    assert stored["score_means"]["f1"] == pytest.approx(sum(rows) / len(rows))
    assert stored["score_means"]["typo"] is None and stored["lower_is_better"] == ["exact_match"]
    assert set(stored["full_score_means"]) == {"f1", "exact_match", "typo"}

    report = write_report(bench.results, tmp_path / "report")
    assert "the task's own metrics" in report.text and "| f1 |" in report.text
    csv = pd.read_csv(tmp_path / "report" / "metrics.csv")
    assert csv["score_f1"].tolist() == pytest.approx([stored["score_means"]["f1"]])
    assert csv["lower_is_better"].tolist() == ["exact_match"] and "full_score_exact_match" in csv
    names = {path.name for path in report.files}
    assert {"pareto-score-f1-speedup.svg", "pareto-score-exact_match-speedup.pdf"} <= names
    assert "Not drawn: pareto-score-typo-speedup" in report.text
    # What a later report does not draw goes.
    again = write_report(bench.results, tmp_path / "report")
    assert {path.name for path in again.files} == names


def test_rescoring_takes_what_the_task_declares_now(bench, monkeypatch):
    finished = bench.run(*RUN)
    assert finished.metrics["score_means"] is None and load_metrics(bench.results)["score_means"].isna().all()
    monkeypatch.setattr(FactoidQA, "metrics", ("f1",))
    assert set(rescore(finished.folder)["score_means"]) == {"f1", "f1_lo", "f1_hi"}
    monkeypatch.setattr(FactoidQA, "metrics", ())
    assert rescore(finished.folder)["score_means"] is None


def test_a_search_can_aim_at_it():
    assert SearchConfig(objectives=["score_means.f1", "speedup"]).objectives[0] == "score_means.f1"
    with pytest.raises(RunError, match="score is no metric"):
        SearchConfig(objectives=["score", "speedup"])
