"""Tables in three formats, and what is said about results that are not whole."""

import io
import re

import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_study import write_run, write_study

from analysis import AnalysisError, load_metrics, load_samples
from analysis.__main__ import main
from analysis.frames import unfinished_runs
from analysis.latex import escaped, latex
from analysis.notes import notes
from analysis.report import write_report
from analysis.tables import HOLM, comparison, mark, markdown, point_label, settings, table
from analysis.tables import method as name_of
from runners.schema import samples_table


@pytest.fixture
def without_figures(monkeypatch):
    """Figures have tests of their own."""
    monkeypatch.setattr("analysis.report.draw_all", lambda *given: ([], []))


class TestFormats:
    @pytest.fixture
    def out(self, tmp_path, without_figures):
        write_study(tmp_path / "results")
        write_report(tmp_path / "results", tmp_path / "out")
        return tmp_path / "out"

    def test_csv_has_the_numbers(self, out):
        table = pd.read_csv(out / "tables.csv")
        assert list(table.columns[:2]) == ["setting", "run"] and len(table) == 10
        row = table[(table["method"] == "ffnskip") & table["run"].str.contains("0.5")].iloc[0]
        assert (row["quality"], row["full_quality"], row["quality_delta"]) == (0.25, 0.5, -0.25)
        assert row["speedup"] == pytest.approx(4 / 3) and row[HOLM] == 1
        categories = pd.read_csv(out / "categories.csv")
        assert len(categories) == 30 and categories["difference"].between(-1, 0).all()
        scores = pd.read_csv(out / "scores.csv")
        assert set(scores["score"]) == {"contains", "f1"}
        assert scores.loc[scores["score"] == "f1", "full"].tolist() == pytest.approx([0.6] * 10)

    def test_latex_has_the_rows_of_the_markdown(self, out):
        for name in ("tables", "categories", "scores"):
            rows = [line for line in (out / f"{name}.md").read_text().splitlines() if line.startswith("| ")]
            rows = [line for line in rows if not line.startswith("| ---")]
            tex = (out / f"{name}.tex").read_text()
            assert tex.count("\\\\\n") == len(rows)
            assert tex.count("\\begin{tabular}") == tex.count("\\end{tabular}") == 2
            assert tex.count("\\toprule") == 2
            # No command or column but ours: each row has the cells of its head.
            for part in tex.split("\\toprule")[1:]:
                cells = {
                    len(re.findall(r"(?<!\\)&", line)) for line in part.splitlines() if line.endswith("\\\\")
                }
                assert len(cells) == 1
            assert not re.search(r"(?<!\\)[%#_]", tex)


def test_latex_escapes_what_would_be_a_command():
    assert escaped(r"a_b & 5 % of $x \ {~^}") == (
        r"a\_b \& 5 \% of \$x \textbackslash{} \{\textasciitilde{}\textasciicircum{}\}"
    )
    assert escaped("a<b|c>") == r"a$<$b\textbar{}c$>$"
    assert escaped("0.01 ↓ – 2× ·") == r"0.01 $\downarrow$ -- 2$\times$ $\cdot$"
    assert "{[0.1, 0.2]} & 1 \\\\" in latex(pd.DataFrame([["[0.1, 0.2]", "1"]], columns=["a", "b"]), "c")


def test_marks():
    worse = {HOLM: 0.04, "quality_delta": -0.1}
    assert [mark(worse), mark(worse | {"quality_delta": 0.1})] == ["↓", "↑"]
    assert [mark(worse | {HOLM: p}) for p in (0.05, None)] == ["", ""]


def test_labels_are_what_tells_runs_of_a_method_apart():
    one = {
        "method": "m",
        "target_skip": 0.2,
        "solved_parameter": "t",
        "solved_value": 0.5,
        "method_params": '{"t": 0.5, "kv": "hole"}',
    }
    other = one | {"method_params": '{"t": 0.6, "kv": "copy"}', "solved_value": 0.6}
    assert point_label(one, [one, other]) == "asked 0.2 hole"
    assert point_label(one, [one, other | {"method": "n"}]) == "asked 0.2"
    # What was skipped comes first, in the unit that was asked in.
    realised = one | {"realised_skip_weighted": 0.371, "realised_skip_ffn": 0.46}
    assert point_label(realised, [one]) == "0.37 (asked 0.2)"
    assert point_label(realised | {"target_unit": "ffn"}, [one]) == "0.46 (asked 0.2)"
    # One solution of two targets.
    assert name_of(one, [one, one | {"target_skip": 0.3}]) == "m (t=0.5)"
    asked = one | {"method_params": '{"t": 0.5, "target_skip": 0.2}'}
    also = asked | {"method_params": '{"t": 0.5, "target_skip": 0.3}', "target_skip": 0.3}
    assert name_of(asked, [asked, also]) == "m (t=0.5, target_skip=0.2)"
    assert point_label({"method": "m", "method_params": "{}"}, [one]) == ""
    # A value that was given is what tells, and the seed where nothing else does.
    nothing = {"solved_value": None, "target_skip": None}
    given = [one | nothing | {"method_params": f'{{"t": {t}}}'} for t in (1, 2)]
    assert [point_label(run, given) for run in given] == ["1", "2"]
    assert name_of(given[0], given) == "m (t=1)" and name_of(one, [one, *given]) == "m (t=0.5, kv=hole)"
    seeds = [one | {"seed": seed} for seed in (0, 1)]
    assert [point_label(run, seeds) for run in seeds] == ["asked 0.2 seed 0", "asked 0.2 seed 1"]


def test_the_realised_skip_stands_beside_the_one_asked_for():
    one = {"method": "a", "quality": 0.4, "target_skip": 0.1, "realised_skip_weighted": 0.125}
    other = one | {"method": "b", "realised_skip_ffn": 0.14, "target_unit": "ffn"}
    table_of = comparison([one, other, {"method": "c", "quality": 0.3}])
    assert table_of["realised skip"].tolist() == ["0.12", "0.12", "–"]
    assert table_of["asked skip"].tolist() == ["0.10", "0.14 (asked 0.1), ffn", "–"]
    assert "asked skip" not in comparison([{"method": "c", "realised_skip_weighted": 0.2}])


def test_marks_in_the_table_have_their_legend():
    runs = [{"method": name, "run_id": name, "quality": 0.4, "quality_delta": -0.1} for name in "ab"]
    both = [run | {HOLM: p} for run, p in zip(runs, (0.0004, 0.2), strict=True)]
    assert comparison(both)["p (Holm)"].tolist() == ["< 0.001 ↓", "0.200"]
    assert "McNemar" in markdown([("t", both)]) and "McNemar" not in markdown([("t", both[1:])])


def test_names_that_look_like_markup_are_text_in_a_table():
    text = table(pd.DataFrame([["<img src=x>\nb|c", "p < 0.1"]], columns=["a", "b"]))
    assert text.splitlines()[2:] == ["| &lt;img src=x> b&#124;c | p < 0.1 |"]


class TestNotWhole:
    def test_a_run_that_tells_nothing(self, tmp_path):
        write_run(tmp_path, "ffnskip", 0.25)
        (tmp_path / "bare").mkdir()
        (tmp_path / "bare/metrics.json").write_text("{}")
        (tmp_path / "bare/DONE").touch()
        samples = samples_table([{"example_id": "x"}])
        pq.write_table(samples, tmp_path / "bare/samples.parquet")
        report = write_report(tmp_path, tmp_path / "out")
        assert "unnamed method" in report.text and (tmp_path / "out/report.html").exists()

    def test_nothing_is_left_of_a_report_of_other_runs(self, tmp_path):
        out = tmp_path / "out"
        write_run(tmp_path / "results", "ffnskip", 0.25)
        before = write_report(tmp_path / "results", out)
        own = out / "pareto-of-mine.svg"
        own.touch()
        write_run(tmp_path / "results", "ffnskip", 0.5, model="other")
        after = write_report(tmp_path / "results", out)
        assert set(before.files) - set(after.files), "with two models figures have other names"
        assert set(out.iterdir()) == {*after.files, own}

    def test_what_is_not_drawn_stands_in_every_form(self, tmp_path, monkeypatch):
        monkeypatch.setattr("analysis.report.draw_all", lambda *given: ([], ["Not drawn: a map; no <rows>"]))
        write_run(tmp_path, "ffnskip", 0.25)
        assert "- Not drawn: a map" in write_report(tmp_path, tmp_path / "out").text
        assert "Not drawn: a map; no \\u003crows" in (tmp_path / "out/report.html").read_text()

    def test_no_run_at_all(self, tmp_path):
        with pytest.raises(AnalysisError, match=r"holds no finished run$"):
            write_report(tmp_path, tmp_path / "out")

    def test_only_a_run_that_has_begun(self, tmp_path, capsys):
        (tmp_path / "half").mkdir()
        (tmp_path / "half/config.yaml").touch()
        with pytest.raises(SystemExit):
            main(["report", str(tmp_path)])
        assert "holds no finished run; begun and not ended: half" in capsys.readouterr().err

    def test_a_run_that_is_not_finished_is_named(self, tmp_path, without_figures):
        write_run(tmp_path, "ffnskip", 0.25)
        for name in ("half", "empty"):
            (tmp_path / name).mkdir()
        (tmp_path / "half/config.yaml").touch()
        assert [run.name for run in unfinished_runs(tmp_path)] == ["half"]
        text = write_report(tmp_path, tmp_path / "out").text
        assert text.startswith("- 1 run is not finished and left out: half. ")
        assert (tmp_path / "out/tables.md").read_text() == text

    def test_a_run_of_two_scorings_is_named(self, tmp_path, without_figures):
        run = write_run(tmp_path, "ffnskip", 0.25)
        (tmp_path / run / "RESCORING").touch()
        assert f"- 1 run is only half rescored: {run}. " in write_report(tmp_path, tmp_path / "out").text

    def test_revisions_of_the_code_are_not_mixed_in_silence(self, tmp_path, without_figures):
        write_run(tmp_path, "ffnskip", 0.25, code_revision="abc")
        write_run(tmp_path, "unified", 0.25, code_revision="def+dirty")
        assert (
            "from 2 revisions of the code (abc, def+dirty)" in write_report(tmp_path, tmp_path / "out").text
        )

    def test_one_method_is_said_to_be_alone(self, tmp_path, without_figures):
        for skip in (0.25, 0.5):
            write_run(tmp_path, "ffnskip", skip)
        assert "only one method, ffnskip: " in write_report(tmp_path, tmp_path / "out").text

    def test_two_methods_of_one_revision_need_no_word(self, tmp_path):
        write_run(tmp_path, "ffnskip", 0.25)
        write_run(tmp_path, "unified", 0.25)
        assert notes(settings(load_metrics(tmp_path)), []) == []

    def test_what_disturbed_the_clocks_is_said(self):
        known = {"quality": 0.5, "speedup": 1.2, "new_hallucination_rate": 0.1, "baseline": "reuse"}
        runs = [
            {**known, "method": "ffnskip", "baseline_drift": 1.2},
            {**known, "method": "unified", "baseline_drift": 0.9, "jobs_at_once": 1},
            {**known, "method": "shortgpt", "baseline_drift": 1.04, "jobs_at_once": 3},
            {**known, "method": "drop_last", "baseline_drift": 2.0, "baseline": "paired"},
        ]
        beside, drifted = notes([("a table", runs)], [])
        assert beside == ("a table: 1 run is not alone on the processor: no speed of theirs is to be quoted.")
        assert drifted.startswith(
            "a table: 2 runs are timed while the full model would have taken 0.90 to 1.20"
        )

    def test_without_a_baseline_the_reason_is_said(self, tmp_path, without_figures):
        no_full = [name for name in load_samples(tmp_path).columns if name.startswith("full_")]
        write_run(tmp_path, "ffnskip", 0.25, without=no_full, baseline="none")
        text = write_report(tmp_path, tmp_path / "out").text
        assert "no run has a decode speedup (runner.baseline=none compares with nothing)" in text

    def test_some_runs_lack_what_others_have(self, tmp_path, without_figures):
        write_run(tmp_path, "ffnskip", 0.25)
        write_run(tmp_path, "unified", 0.25, without=("full_decode_s",))
        assert (
            "1 of 2 runs have no decode speedup, and are not" in write_report(tmp_path, tmp_path / "out").text
        )

    def test_answers_without_categories_have_no_table_of_them(self, tmp_path, without_figures):
        write_run(tmp_path, "ffnskip", 0.25, without=("category",))
        write_report(tmp_path, tmp_path / "out")
        assert (tmp_path / "out/categories.md").read_text() == "No answer has categories.\n"
        assert not (tmp_path / "out/categories.csv").exists()


class TestLoading:
    def test_some_columns(self, tmp_path):
        write_run(tmp_path, "ffnskip", 0.25)
        assert list(load_samples(tmp_path, ["quality", "run_id"]).columns) == ["quality", "run_id"]
        (tmp_path / "nothing").mkdir()
        assert list(load_samples(tmp_path / "nothing", ["quality"]).columns) == ["quality"]

    def test_columns_that_an_earlier_version_did_not_write(self, tmp_path):
        for method in ("ffnskip", "unified"):
            run = write_run(tmp_path, method, 0.25)
        path = tmp_path / run / "samples.parquet"
        table = pq.read_table(path, partitioning=None)
        pq.write_table(table.drop_columns(["draft_s", "scores"]), path)
        found = load_samples(tmp_path)
        assert found["scores"].isna().sum() == 12 and found["draft_s"].dtype == float
        assert io.StringIO(found.to_csv()).readline().count(",") == len(load_samples(tmp_path).columns)
