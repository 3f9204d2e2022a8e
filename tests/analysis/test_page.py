"""The data of the HTML page, and that nothing in it can become markup."""

import base64
import hashlib
import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest

from analysis import load_metrics, load_samples
from analysis.__main__ import main
from analysis.page import write
from analysis.page.answers import COLUMNS, Texts, answer_rows, change, most_answers
from analysis.page.data import gather
from analysis.page.write import embedded, page
from analysis.tables import settings
from tiny_study import answer, write_run

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "</script><script>hit=1</script><!--<img src=x onerror=hit=1> & \u202eevil\u2066 \u2028\x00\x9b\ufeff"
)


def study_of(root):
    return gather(root, settings(load_metrics(root)), load_samples(root))


@pytest.mark.parametrize(
    ("outcome", "full", "collapsed", "expected"),
    [
        ("wrong", "correct", False, "new wrong"),
        ("unsupported", "supported", False, "new wrong"),
        ("wrong", "wrong", False, "wrong"),
        ("wrong", None, False, "wrong"),
        ("wrong", "abstained", False, "wrong"),
        ("correct", "wrong", False, "repaired"),
        ("correct", "correct", True, "right"),
        ("correct", None, False, "right"),
        ("collapsed", "correct", True, "collapsed"),
        (None, None, True, "collapsed"),
        ("abstained", "correct", False, "abstained"),
        (None, None, False, "not scored"),
        (None, None, None, "not scored"),
    ],
)
def test_what_became_of_an_answer(outcome, full, collapsed, expected):
    assert change(outcome, full, collapsed) == expected


class TestAnswers:
    def test_new_wrong_ones_first_then_by_what_was_lost(self, tmp_path):
        told = [
            answer("right"),
            answer("wrong", "wrong", "wrong"),
            answer("little", "wrong", quality=0.4, full_quality=0.5),
            answer("much", "wrong", quality=0.1, full_quality=0.9),
            answer("loop", "collapsed"),
        ]
        write_run(tmp_path, "r", told)
        rows, counts = answer_rows(load_samples(tmp_path), Texts())
        place = COLUMNS.index("example_id")
        assert [row[place] for row in rows] == ["much", "little", "loop", "wrong", "right"]
        assert counts["new wrong"] == 2 and counts["right"] == 1 and sum(counts.values()) == 5

    def test_a_page_of_many_runs_shows_fewer_of_each(self):
        assert [most_answers(runs) for runs in (0, 1, 100, 1000, 10**6)] == [200, 200, 200, 20, 10]

    def test_only_the_first_ones_are_kept_and_all_are_counted(self, tmp_path):
        write_run(tmp_path, "r", [answer("a"), answer("b"), answer("c", "wrong")])
        texts = Texts()
        rows, counts = answer_rows(load_samples(tmp_path), texts, most=2)
        assert [row[COLUMNS.index("change")] for row in rows] == ["new wrong", "right"]
        assert sum(counts.values()) == 3
        assert "What is b?" not in texts.all(), "a text that no row needs is not stored"

    def test_what_runs_share_is_stored_once(self, tmp_path):
        for name in ("r1", "r2"):
            write_run(tmp_path, name, [answer("a", output_text=name)])
        study = study_of(tmp_path)
        assert sorted(study.texts) == [
            "Answer.\nWhat is a?",
            "What is a?",
            "a is a small thing.",
            "a small thing",
            "r1",
            "r2",
        ]
        first = dict(zip(COLUMNS, study.answers[0][0], strict=True))
        assert study.texts[first["output_text"]] == "r1"
        assert [study.texts[number] for number in first["reference"]] == ["a small thing"]

    def test_what_is_unknown_is_none(self, tmp_path):
        write_run(tmp_path, "r", [{"example_id": "a"}])
        ((*cells,),) = study_of(tmp_path).answers[0]
        found = dict(zip(COLUMNS, cells, strict=True))
        assert found.pop("example_id") == "a" and found.pop("change") == "not scored"
        assert found.pop("reference") == [] and set(found.values()) == {None}


class TestSummary:
    def test_what_was_measured(self, tmp_path):
        write_run(tmp_path, "a", [answer("x")], day="2026-11-20")
        write_run(tmp_path, "b", [answer("x")], day="2026-11-22", device="cuda", code_revision="def5678")
        write_run(tmp_path, "c")
        (tmp_path / "c/environment.json").write_text("[")
        unfinished = tmp_path / "d"
        unfinished.mkdir()
        (unfinished / "config.yaml").touch()
        about = study_of(tmp_path).summary["about"]
        assert about["Date"] == ["2026-11-20 to 2026-11-22"]
        assert about["Device"] == ["cpu", "cuda"] and about["Processor"] == ["Some Processor"]
        assert about["Code"] == ["abc1234", "def5678"]
        assert (about["Runs"], about["Answers"], about["Not finished"]) == (["3"], ["2"], ["1"])

    def test_runs_of_different_settings_stand_apart(self, tmp_path):
        write_run(tmp_path, "a")
        write_run(tmp_path, "b", dtype="bfloat16", full_quality=0.7)
        summary = study_of(tmp_path).summary
        of_run = {run["run_id"]: summary["settings"][run["setting"]] for run in summary["runs"]}
        assert of_run["a"]["full_quality"] == 0.5 and of_run["b"]["full_quality"] == 0.7

    def test_runs_are_told_apart_by_what_differs(self, tmp_path):
        write_run(tmp_path, "a", realised_skip_weighted=0.3)
        write_run(tmp_path, "b", solved_value=0.97, untrained_ablation=True)
        runs = study_of(tmp_path).summary["runs"]
        assert [(run["run_id"], run["telling"]) for run in runs] == [
            ("b", "threshold=0.97"),
            ("a", "threshold=0.94"),
        ]
        assert runs[0]["parameters"] == "cold_start=0.15, threshold=0.94"

    def test_p_values_are_corrected_within_a_setting(self, tmp_path):
        values = {"quality_p": 0.04, "quality_delta_hi": -0.01}
        write_run(tmp_path, "a", **values)
        assert study_of(tmp_path).summary["runs"][0]["difference"] == "lower"
        write_run(tmp_path, "b", **values)
        runs = study_of(tmp_path).summary["runs"]
        assert [(run["p_holm"], run["difference"]) for run in runs] == [(0.08, None)] * 2


class TestPage:
    def test_hostile_text_stays_json(self, tmp_path):
        write_run(
            tmp_path, "r", [answer("x", output_text=HOSTILE, question=HOSTILE)], method=HOSTILE, model=HOSTILE
        )
        html = page(study_of(tmp_path))
        assert "hit=1" in html
        # One pair of tags for each block: summary, texts, one run, and the page's own script.
        assert html.count("<script") == html.count("</script>") == 4
        assert "<img" not in html and "<!--" not in html
        assert not re.search("[\u202e\u2066\u2028\x00\x9b\ufeff]", html)
        texts = json.loads(re.search(r'id="texts">(.*?)</script>', html).group(1))
        assert HOSTILE in texts

    def test_halves_of_surrogates_can_be_written(self):
        assert json.loads(embedded(["\ud800"])) == ["\ud800"]
        embedded(["\ud800"]).encode()

    def test_it_asks_for_nothing_and_runs_only_its_own_script(self, tmp_path):
        write_run(tmp_path, "r", [answer("x")])
        html = page(study_of(tmp_path))
        # An XML namespace is a name, not an address.
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\b(src|href)=|@import|url\(", html)
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1)
        assert "default-src 'none'" in policy and "unsafe" not in policy
        for tag, name in (("style", "style"), ('script type="module"', "script")):
            content = re.search(f"<{tag}>(.*?)</{name}>", html, re.DOTALL).group(1)
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"{name}-src 'sha256-{digest}'" in policy

    def test_every_file_of_the_page_is_used_and_packaged(self):
        folder = Path(write.__file__).parent
        files = {file.name for file in folder.iterdir() if file.suffix in (".js", ".css", ".html")}
        assert files == {*write.SCRIPTS, *write.STYLES, "template.html"}
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
        assert "analysis.page" in project["packages"]
        patterns = project["package-data"]["analysis.page"]
        assert all(any(Path(file).match(pattern) for pattern in patterns) for file in files)
        assert all(len((folder / file).read_text().splitlines()) <= 400 for file in files)

    def test_the_benchmark_runs_without_a_browser(self, monkeypatch, capsys):
        monkeypatch.setattr("sys.argv", ["bench_page.py", "--runs", "3", "--examples", "2"])
        monkeypatch.setattr("shutil.which", lambda name: None)
        runpy.run_path(str(ROOT / "scripts/bench_page.py"), run_name="__main__")
        said = capsys.readouterr().out
        assert "3 runs x 2 examples" in said and "opening was not timed" in said

    def test_the_command_writes_it(self, tmp_path, capsys):
        write_run(tmp_path / "results", "r", [answer("x")])
        main(["report", str(tmp_path / "results"), "--out", str(tmp_path / "out")])
        assert (tmp_path / "out/report.html").read_text().startswith("<!doctype html>")
        assert "report.html" in capsys.readouterr().out
