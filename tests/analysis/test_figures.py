"""What the figures show, and that a report draws them."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_study import CATEGORIES, STEPS, answers, write_run, write_study

from analysis import load_metrics, load_samples
from analysis.figures import FIGURES, KINDS
from analysis.figures.points import FRONTS, points, with_new_hallucination_limits
from analysis.figures.shares import Row, difference_by, rows_of, shares_of, skipped_by_layer, thirds
from analysis.page.data import gather
from analysis.report import write_report
from analysis.tables import HOLM, settings
from methods.shared.registry import method_class, names
from runners.schema import samples_table

pytest.importorskip("matplotlib")
from analysis.figures import maps, planes
from analysis.figures.placement import place
from analysis.figures.study import studies
from analysis.figures.style import save
from analysis.looks import COLOURS, FULL, MARKERS, Look, looks

BY_SPEED, HALLUCINATION, BY_SKIP = FRONTS
ALWAYS = {
    *(plane.name for plane in FRONTS),
    *("speed-ideal", "skip-by-layer", "quality-by-category", "quality-by-length"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("study") / "results"
    write_study(root)
    return root


@pytest.fixture(scope="module")
def drawn(results):
    out = results.parent / "report"
    return write_report(results, out), out


def words(path):
    """The texts of an SVG, of which none is empty."""
    return {
        "".join(text.itertext()).strip()
        for text in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    }


class TestReport:
    def test_every_figure_is_there_in_three_formats(self, drawn):
        report, out = drawn
        names = ALWAYS | {"exit-layers", "accepted-lengths"}
        assert names == set(FIGURES) - {"pareto-score-"}
        assert len({path for path in report.files if path.suffix in KINDS}) == len(KINDS) * len(names)
        for name in names:
            assert (out / f"{name}.png").read_bytes()[:4] == b"\x89PNG" and words(out / f"{name}.svg")
            assert (out / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"
        assert "Not drawn" not in report.text

    def test_fronts_name_their_points_tasks_and_axes(self, drawn):
        found = words(drawn[1] / "pareto-quality-speedup.svg")
        assert {"factoidqa (contains), 12 examples", "summarization (contains), 12 examples"} <= found
        assert {"decode speedup", "quality", "full model", "swift (lossless)", "early_exit*"} <= found
        # On the front with the method's name, behind it without.
        labels = {"ffnskip 0.25 (0.08)", "ffnskip 0.5 (0.17)", "0.25 (0.08)", "0.5 (0.17)"}
        assert labels <= found and "early_exit 0.25 (0.08)" not in found
        assert any("In parentheses: realised skip." in text for text in found)
        assert any(text.startswith("Faded: ") for text in found)

    def test_maps_name_methods_layers_and_categories(self, drawn):
        assert {"ffnskip 0.25", "early_exit 0.5", "attention, by layer", "FFN, by layer", "3"} <= words(
            drawn[1] / "skip-by-layer.svg"
        )
        found = words(drawn[1] / "quality-by-category.svg")
        assert {*CATEGORIES, "n = 4", "In brackets: 95 % limits. n: answers."} <= found
        assert any(text.startswith("[") for text in found)
        assert {"tokens of the prompt", "≤ 43"} <= words(drawn[1] / "quality-by-length.svg")
        assert "swift" not in " ".join(words(drawn[1] / "skip-by-layer.svg"))

    def test_without_matplotlib_there_are_tables_and_one_line(self, results, tmp_path, monkeypatch):
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            monkeypatch.setitem(sys.modules, name, None)
        report = write_report(results, tmp_path)
        assert "- No figures: they need matplotlib; pip install -e '.[plots]'\n" in report.text
        assert {path.suffix for path in report.files} == {".md", ".tex", ".csv", ".html"}

    def test_lengths_rise_from_left_to_right_in_every_panel(self, drawn):
        """Each task has thirds of its own."""
        text = ElementTree.parse(drawn[1] / "quality-by-length.svg")
        said = ["".join(one.itertext()).strip() for one in text.iter("{http://www.w3.org/2000/svg}text")]
        asked = ["≤ 43", "44 to 47", "> 47", "≤ 143", "144 to 147", "> 147"]
        assert [one for one in said if one in asked] == asked

    def test_what_no_run_knows_is_not_drawn_and_said(self, tmp_path):
        unknown = (
            "outcome",
            "full_decode_s",
            "category",
            "attention_run_by_layer",
            "ffn_run_by_layer",
            "prompt_tokens",
            "full_output_tokens",
        )
        write_run(tmp_path / "results", "ffnskip", 0.25, without=unknown)
        report = write_report(tmp_path / "results", tmp_path)
        assert {path.stem for path in report.files if path.suffix == ".svg"} == {"pareto-quality-skip"}
        lines = report.text.splitlines()
        remarks = [line.partition(";")[0] for line in lines if line.startswith("- Not drawn")]
        assert sorted(remarks) == [
            f"- Not drawn: {name}" for name in sorted(ALWAYS - {"pareto-quality-skip"})
        ]
        assert "- Not drawn: pareto-quality-speedup; no run has both decode speedup and quality" in lines
        assert "no run has a decode speedup" in report.text

    def test_a_kind_of_layer_that_nobody_counted_leaves_the_other(self, tmp_path):
        write_run(tmp_path / "results", "ffnskip", 0.25, without=("ffn_run_by_layer",))
        write_report(tmp_path / "results", tmp_path)
        said = words(tmp_path / "skip-by-layer.svg")
        assert "attention, by layer" in said and "FFN, by layer" not in said

    @pytest.mark.parametrize("method", ["ffnskip", "full"])
    @pytest.mark.slow
    def test_many_runs_are_drawn_by_several_processes(self, tmp_path, monkeypatch, method):
        """To the same files, and to none where there is nothing to draw."""
        write_run(tmp_path / "results", method, 0.25)
        alone = write_report(tmp_path / "results", tmp_path / "out")
        before = {path: path.read_bytes() for path in alone.files}
        monkeypatch.setattr("analysis.figures.study._MANY", 0)
        assert write_report(tmp_path / "results", tmp_path / "out") == alone
        assert {path: path.read_bytes() for path in alone.files} == before

    def test_only_the_full_model(self, tmp_path):
        write_run(tmp_path / "results", "full")
        report = write_report(tmp_path / "results", tmp_path)
        assert "only the full model has run" in report.text
        assert not [path for path in report.files if path.suffix == ".svg"]
        assert "- Not drawn: speed-ideal" in report.text

    def test_models_have_files_of_their_own(self, tmp_path):
        write_run(tmp_path, "ffnskip", 0.25)
        metrics = pd.concat(
            [load_metrics(tmp_path).assign(model=name) for name in ("org/small", "org small")]
        )
        (first, second) = studies(settings(metrics))
        assert (first.suffix, second.suffix) == ("-org_small", "-org_small-2")

    def test_names_of_files_say_no_more_than_tells_them_apart(self, tmp_path):
        write_run(tmp_path, "ffnskip", 0.25)

        def suffixes(*facts):
            frames = [load_metrics(tmp_path).assign(**one) for one in facts]
            return sorted(study.suffix for study in studies(settings(pd.concat(frames))))

        small = {"model": "small", "model_revision": "sha256:1"}
        large = {"model": "large", "model_revision": "sha256:2", "engine_layer": "hf"}
        assert suffixes(small | {"engine_layer": "native"}, large) == ["-large", "-small"]
        assert suffixes(small, small | {"model_revision": "sha256:3"}) == ["-sha256_1", "-sha256_3"]
        assert suffixes(small | {"engine_layer": "hf"}) == [""]


def runs_of(root):
    ((_, runs), *_) = settings(load_metrics(root))
    return runs


class TestPoints:
    def test_the_front_knows_the_full_model(self, results):
        frame = points(runs_of(results), BY_SPEED).set_index(["method", "label"])
        assert frame.loc[("full", ""), ["x", "y"]].tolist() == [1.0, 0.5]
        ahead = frame.index[frame["front"]].tolist()
        assert ahead == [("full", ""), ("ffnskip", "0.25"), ("ffnskip", "0.5"), ("swift", "")]
        assert (
            frame["lossless"].to_dict()[("swift", "")] and not frame["lossless"].to_dict()[("ffnskip", "0.5")]
        )

    def test_lossless_runs_have_no_realised_skip(self, results):
        assert "swift" not in set(points(runs_of(results), BY_SKIP)["method"])

    def test_limits_of_new_hallucinations_come_from_the_answers(self, results):
        samples = load_samples(results)
        ((_, limited),) = with_new_hallucination_limits([("t", runs_of(results))], samples)
        frame = points(limited, HALLUCINATION).set_index(["method", "label"])
        row = frame.loc[("ffnskip", "0.5")]
        assert row["y"] == 0.25 and 0 <= row["y_lo"] < 0.25 < row["y_hi"] <= 1
        # Fewer new hallucinations are better, so the full model is never behind by them.
        assert frame.loc[("full", ""), "front"] and not frame.loc[("early_exit", "0.5"), "front"]

    def test_marks_come_from_the_corrected_test(self, results):
        runs = [run | {HOLM: 0.01 if run["method"] == "ffnskip" else None} for run in runs_of(results)]
        assert points(runs, BY_SPEED).groupby("method")["mark"].first().to_dict()["ffnskip"] == "↓"
        runs = [run | {HOLM: 0.06} for run in runs]
        assert set(points(runs, BY_SPEED)["mark"]) == {""}

    def test_nothing_known_is_no_point(self):
        assert points([{"method": "ffnskip", "run_id": "a", "quality": 0.5}], BY_SPEED).empty


class TestDrawing:
    def test_what_is_behind_the_front_is_faded_and_the_front_is_a_staircase(self, results):
        runs = runs_of(results)
        frame = points(runs, BY_SPEED)
        figure = planes.fronts("t", BY_SPEED, {"p": frame}, looks(runs_of(results)))
        (axes,) = figure.axes
        alpha = {x: bars[0].get_alpha() for bars in axes.containers for x in bars[0].get_xdata()}
        assert alpha == {row.x: 1 if row.front else planes._FADED for row in frame.itertuples()}
        assert set(alpha.values()) == {1, planes._FADED}
        (line,) = [one for one in axes.lines if one.get_drawstyle() == "steps-pre"]
        assert sorted(line.get_xdata()) == sorted(frame.loc[frame["front"], "x"])

    def test_the_same_results_give_the_same_files(self, results, tmp_path):
        frame = points(runs_of(results), BY_SPEED)
        saved = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            figure = planes.fronts("t", BY_SPEED, {"p": frame}, looks(runs_of(results)))
            saved.append([path.read_bytes() for path in save(figure, tmp_path / name, "front")])
        assert saved[0] == saved[1]

    def test_error_bars_reach_their_limits(self):
        one = pd.DataFrame([{"x": 1.2, "x_lo": 1.1, "x_hi": 1.3, "y": 0.5, "y_lo": None, "y_hi": None}])
        lengths = planes._bars(one["x"], one["x_lo"], one["x_hi"])
        assert lengths.ravel().tolist() == pytest.approx([0.1, 0.1])
        assert not planes._bars(one["y"], one["y_lo"].astype(float), one["y_hi"].astype(float)).any()

    def test_rates_end_at_0_and_1_and_ticks_are_told_apart(self, results):
        rows = [{"x": 1.0 + n / 100, "y": y, "method": "a", "label": ""} for n, y in enumerate((0, 0.5, 1))]
        frame = pd.DataFrame(rows).assign(skip=None, mark="", lossless=False, untrained=False, front=True)
        frame = frame.assign(**{f"{axis}_{end}": None for axis in "xy" for end in ("lo", "hi")})
        for plane, scale in ((BY_SPEED, 1.0), (HALLUCINATION, 1.0), (HALLUCINATION, 0.01), (BY_SPEED, 9.0)):
            figure = planes.fronts("t", plane, {"p": frame.assign(y=scale * frame["y"])}, looks(rows))
            (axes,) = figure.axes
            figure.canvas.draw()
            lo, hi = axes.get_ylim()
            # A quality that is a grade is no rate.
            assert (lo >= 0 and hi <= 1) == (scale <= 1)
            said = [label.get_text() for label in axes.get_yticklabels()]
            assert len(set(said)) == len(said)

    def test_a_crowd_is_labelled_on_its_front_only(self, results):
        frame = points(runs_of(results), BY_SPEED)
        behind = frame[~frame["front"]].head(1)
        crowd = pd.concat([frame, *[behind] * planes.MOST_LABELS], ignore_index=True)
        figure = planes.fronts("t", BY_SPEED, {"p": crowd}, looks(runs_of(results)))
        said = [text.get_text() for text in figure.axes[0].texts]
        assert not any(text.startswith("0.25") for text in said)
        assert "ffnskip 0.25 (0.08)" in said and "full model" in said
        assert any("labels on the front only" in text.get_text() for text in figure.texts)

    def test_methods_are_told_apart_by_marker_and_colour(self):
        runs = [{"method": f"m{number:02}"} for number in range(80)]
        found = looks(reversed(runs))
        assert found == looks(runs) and len(set(found.values())) == 81 and found["full"] == FULL
        assert len(set(COLOURS)) == len(COLOURS) and len(set(MARKERS)) == len(MARKERS)
        assert len(looks([{"method": f"m{number}"} for number in range(200)])) == 201

    def test_what_a_method_declares_stays_whatever_else_is_drawn(self):
        one = {"method": "b", "drawn": "#0072b2 o"}
        alone = looks([one])["b"]
        assert alone == Look("#0072B2", "o")
        others = [{"method": f"m{number}"} for number in range(60)]
        # An earlier run did not know; another method declares the same and comes first.
        again = looks([{"method": "b", "drawn": None}, *others, one, {"method": "z", "drawn": "#0072B2 o"}])
        assert again["b"] == alone != again["z"]

    def test_what_a_method_does_not_declare_follows_from_its_name(self):
        (own,) = {
            looks([{"method": "mine", "drawn": drawn}])["mine"] for drawn in (None, "", "red o", "#000000 ,")
        }
        assert looks([{"method": "mine"}, {"method": "ffnskip", "drawn": "#009E73 ^"}])["mine"] == own

    def test_the_methods_of_this_project_are_told_apart(self):
        declared = {name: method_class(name).drawn for name in names() if name != "full"}
        found = looks([{"method": name, "drawn": drawn} for name, drawn in declared.items()])
        assert {name: f"{found[name].colour} {found[name].marker}" for name in declared} == declared
        # More methods than markers: the pair of both is a method's own.
        assert len({(look.colour, look.marker) for look in found.values()}) == len(found)

    def test_the_page_draws_as_the_figures_do(self, results):
        found = settings(load_metrics(results))
        expected = looks(run for _, runs in found for run in runs)
        page = gather(results, found, load_samples(results)).summary["runs"]
        assert {run["method"]: Look(*run["look"]) for run in page}.items() <= expected.items()
        script = (Path(planes.__file__).parents[1] / "page" / "plot.js").read_text()
        shapes = set(re.findall(r'^  "?([a-zA-Z^<>*])"?: \(r\) =>', script, re.MULTILINE))
        assert shapes == {*MARKERS, FULL.marker}

    def test_labels_keep_off_each_other_and_inside(self):
        drawn = np.random.default_rng(0)
        anchors = drawn.uniform(50, 350, size=(20, 2))
        sizes = np.full((20, 2), (40.0, 9.0))
        corners = place(anchors, sizes, (0, 0, 400, 400))
        boxes = np.hstack([corners, corners + sizes])
        for number, box in enumerate(boxes):
            others = np.delete(boxes, number, axis=0)
            apart = (others[:, :2] >= box[2:]).any(axis=1) | (others[:, 2:] <= box[:2]).any(axis=1)
            assert apart.all()
        assert (corners >= 0).all() and (corners + sizes <= 400).all()
        nearest = np.clip(anchors, corners, corners + sizes)
        assert np.hypot(*(nearest - anchors).T).max() < 60


def sample_frame(method, skip, run_id="r"):
    rows = [row | {"run_id": run_id} for row in answers("factoidqa", method, skip)]
    return samples_table(rows).to_pandas(maps_as_pydicts="strict")


class TestShares:
    def test_skips_by_layer(self):
        samples = pd.concat([sample_frame("ffnskip", 0.25, "a"), sample_frame("ffnskip", 0.5, "b")])
        one, both = Row("one", "ffnskip", ("a",)), Row("both", "ffnskip", ("a", "b"))
        found = skipped_by_layer(samples, [one, both, Row("none", "x", ("c",))], "ffn")
        assert found.loc["one"].tolist() == [0, 0.25, 0.25, 0]
        assert found.loc["both"].tolist() == [0, 0.375, 0.375, 0] and list(found.index) == ["one", "both"]
        assert not skipped_by_layer(samples, [one], "attention").to_numpy().any()
        assert skipped_by_layer(samples.assign(ffn_run_by_layer=None), [one], "ffn").empty

    def test_too_many_runs_stand_together_by_method(self):
        runs = [
            {"method": method, "run_id": f"{method}{number}", "method_params": f'{{"n": {number}}}'}
            for method in ("b", "a", "full")
            for number in range(3)
        ]
        assert [row.name for row in rows_of(runs)] == ["a 0", "a 1", "a 2", "b 0", "b 1", "b 2"]
        assert rows_of(runs, most=5) == [
            Row("a (3 runs)", "a", ("a0", "a1", "a2")),
            Row("b (3 runs)", "b", ("b0", "b1", "b2")),
        ]

    def test_names_of_rows_are_never_alike(self):
        runs = [{"method": "a", "run_id": f"{number}", "method_params": "{}"} for number in range(3)]
        assert [row.name for row in rows_of(runs)] == ["a", "a (2)", "a (3)"]
        samples = pd.concat([sample_frame("a", skip, f"{n}") for n, skip in enumerate((0.25, 0.5, 0.5))])
        found = skipped_by_layer(samples, rows_of(runs), "ffn")
        assert found.loc["a", 1] == 0.25 and found.loc["a (2)", 1] == 0.5
        assert len(difference_by(samples, rows_of(runs), "category").values) == 3

    def test_maps_of_a_panel_have_the_same_rows(self):
        one = pd.DataFrame([[0.1], [0.2]], index=["a", "b"])
        other = pd.DataFrame([[0.3], [0.4]], index=["c", "b"])
        panel = maps.Panel("p", [("x", maps.Cells(one)), ("y", maps.Cells(other))])
        aligned = [cells.values for _, cells in panel.aligned()]
        assert [list(frame.index) for frame in aligned] == [["a", "b", "c"]] * 2
        assert aligned[1].loc["b", 0] == 0.4 and aligned[1].loc["a"].isna().all()
        figure = maps.draw("t", [panel], maps.skip_scale())
        assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]

    def test_difference_by_category(self):
        samples = sample_frame("ffnskip", 0.5)
        found = difference_by(samples, [Row("x", "ffnskip", ("r",)), Row("y", "z", ("s",))], "category")
        # Of the right answers 0, 2, 4, ... the first three are lost: music, sport, science.
        assert found.values.loc["x"].to_dict() == {"music": -0.25, "science": -0.25, "sport": -0.25}
        assert list(found.values.index) == ["x"]
        assert found.n.loc["x"].to_dict() == {"music": 4, "science": 4, "sport": 4}
        known = found.lo.notna() & found.hi.notna()
        assert ((found.lo <= found.values) & (found.values <= found.hi) | ~known).all().all()

    def test_limits_and_numbers_of_a_map(self):
        samples = pd.concat([sample_frame("ffnskip", 0.5)] * 4, ignore_index=True)
        samples = samples.assign(example_id=[f"{n}" for n in range(len(samples))])
        rows = [Row("x", "ffnskip", ("r",)), Row("y", "ffnskip", ("s",))]
        part = samples.iloc[:20].assign(run_id="s")
        found = difference_by(pd.concat([samples, part]), rows, "category")
        assert (found.lo.loc["x"] < -0.25).all() and (found.hi.loc["x"] > -0.25).all()
        cells = maps.Cells(found.values, found.lo, found.hi, found.n)
        assert cells.heads() == ["music\nn = 7 to 16", "science\nn = 7 to 16", "sport\nn = 6 to 16"]

    def test_thirds(self):
        found = thirds(pd.Series([1, 2, 3, 4, 5, 6, None]))
        assert found.tolist()[:6] == ["≤ 2", "≤ 2", "3 to 4", "3 to 4", "> 4", "> 4"] and pd.isna(found[6])
        assert thirds(pd.Series([5, 5, 5, 9])).tolist() == ["≤ 5", "≤ 5", "≤ 5", "> 5"]
        assert thirds(pd.Series([5, 5])).isna().all() and thirds(pd.Series([], dtype=float)).empty

    def test_exits_and_accepted_tokens(self):
        exits = shares_of(sample_frame("early_exit", 0.5), Row("x", "early_exit", ("r",)), "exit_layers")
        assert exits.to_dict() == {2: 0.75, 3: 0.25} and STEPS == 8
        assert shares_of(sample_frame("ffnskip", 0.5), Row("x", "ffnskip", ("r",)), "exit_layers").empty
