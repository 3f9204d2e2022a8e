"""Grades by turn and category, comparisons, and verdicts that cannot be read."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import AnalysisError, load_judgements
from analysis.grades import comparisons, grades, grades_markdown
from analysis.report import write_report
from runners.schema import JUDGEMENTS, metrics_json, samples_table
from runners.statistics import agreed_winner


def verdict(side, example="a", turn=0, category="math", run="r", judge="j single", **said):
    given = {"run_id": run, "judge": judge, "example_id": example, "turn": turn, "category": category}
    return {**given, "side": side, "parsed": True, **said}


def table_of(rows):
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in JUDGEMENTS.names} for row in rows], schema=JUDGEMENTS
    )


def frame(rows):
    return table_of(rows).to_pandas()


UNREADABLE, UNANSWERED = {"parsed": False, "reply": "Seven."}, {"parsed": None}
GRADES = [
    verdict("own", "a", 0, rating=4.0),
    verdict("full", "a", 0, rating=8.0),
    verdict("own", "a", 1, rating=6.0),
    verdict("full", "a", 1, rating=7.0),
    verdict("own", "b", 0, "coding", rating=9.0),
    verdict("full", "b", 0, "coding", **UNREADABLE),
    verdict("own", "b", 1, "coding", **UNANSWERED),
    verdict("full", "b", 1, "coding", rating=3.0),
]


def test_grades_by_turn_and_category():
    found = grades(frame(GRADES), {"r": "ffnskip"})
    assert list(found["of"]) == ["all", "turn 1", "turn 2", "coding", "math"]
    assert set(found.method) == {"ffnskip"}
    by = found.set_index("of")
    # Own grades 4, 6, 9; full 8, 7, 3; both have one in the two turns of a: -4 and -1.
    assert by.loc["all", ["answers", "grade", "full"]].tolist() == ["4", "6.33", "6.00"]
    assert by.loc["all", "difference"] == "-2.50"
    assert by.loc["all", ["unreadable", "no verdict"]].tolist() == ["1", "1"]
    assert by.loc["turn 1", ["answers", "grade", "full", "difference"]].tolist() == [
        "2",
        "6.50",
        "8.00",
        "-4.00",
    ]
    assert by.loc["coding", ["grade", "full", "difference"]].tolist() == ["9.00", "3.00", "–"]
    assert by.loc["math", ["grade", "full", "unreadable"]].tolist() == ["5.00", "7.50", "0"]


def test_a_difference_has_limits_where_there_are_conversations():
    rows = [
        verdict(side, example, rating=grade)
        for example in "abcdefgh"
        for side, grade in (("own", 5.0 + (example > "d")), ("full", 7.0))
    ]
    (found, *_) = grades(frame(rows), {"r": "x"}).to_dict("records")
    assert found["difference"].startswith("-1.50 [-")


def test_single_turns_have_no_part_of_their_own():
    assert list(grades(frame(GRADES[:2]), {"r": "x"})["of"]) == ["all", "math"]


def test_comparisons():
    def both(example, first, second, category="math", turn=0):
        for side, said in (("own_first", first), ("full_first", second)):
            yield verdict(
                side, example, turn, category, **(said if isinstance(said, dict) else {"winner": said})
            )

    rows = [
        *both("a", "own", "own"),
        *both("a", "full", "own", turn=1),
        *both("b", "full", "full", "coding"),
        *both("c", "tie", "tie", "coding"),
        *both("d", "own", UNREADABLE, "coding"),
        *both("e", UNANSWERED, UNANSWERED, "coding"),
    ]
    found = comparisons(frame(rows), {"r": "x"}).set_index("of")
    counts = ["comparisons", "won", "tie", "lost", "unreadable", "no verdict"]
    assert found.loc["all", counts].tolist() == ["6", "1", "2", "1", "1", "2"]
    assert found.loc["coding", counts].tolist() == ["4", "0", "1", "1", "1", "2"]
    assert found.loc["turn 2", counts].tolist() == ["1", "0", "1", "0", "0", "0"]


@pytest.mark.parametrize(
    ("verdicts", "winner"),
    [(["own", "own"], "own"), (["own", "full"], "tie"), (["tie", "own"], "tie"), (["own"], None), ([], None)],
)
def test_who_wins_in_both_orders_has_won(verdicts, winner):
    assert agreed_winner(verdicts) == winner


def test_every_judge_has_its_part_and_runs_without_a_name_none():
    rows = [
        *GRADES,
        *(one | {"judge": "k pairwise", "winner": "own", "side": "own_first"} for one in GRADES[:1]),
    ]
    text = grades_markdown(frame([*rows, verdict("own", run="other", rating=1.0)]), {"r": "x", "s": "y"})
    assert text.index("### j single") < text.index("### k pairwise") and "| y |" not in text
    assert text.count("| of |") == 2 and "| won |" in text
    assert grades_markdown(frame(rows), {"other": "x"}) == "" == grades_markdown(frame([]), {"r": "x"})


@pytest.fixture
def judged(tmp_path):
    """Two finished runs, one of which was judged, and one that is not finished."""
    for name in ("r", "s", "t"):
        folder = tmp_path / name
        folder.mkdir()
        record = {"run_id": name, "model": "m", "task": "mtbench", "method": name}
        if name != "s":
            record |= {"judge_win_rate": 0.5, "judge_tie_rate": 0.25, "judge_loss_rate": 0.25}
            rows = [one | {"run_id": name} for one in GRADES]
            pq.write_table(table_of(rows), folder / "judgements-j.parquet")
        (folder / "metrics.json").write_text(metrics_json(record))
        pq.write_table(
            samples_table([{"run_id": name, "example_id": "a", "turn": 0}]), folder / "samples.parquet"
        )
        if name != "t":
            (folder / "DONE").touch()
    return tmp_path


def test_the_report_has_the_grades(judged):
    frame = load_judgements(judged)
    assert list(frame.columns) == JUDGEMENTS.names and set(frame.run_id) == {"r"} and len(frame) == 8
    text = write_report(judged, judged / "out").text
    assert "| judge: won / tie / lost |" in text and "| 50 % / 25 % / 25 % |" in text
    said = (judged / "out" / "grades.md").read_text()
    assert said.startswith("## m · mtbench") and "| turn 2 | r |" in said


def test_damaged_judgements(judged):
    (judged / "r/judgements-j.parquet").write_bytes(b"PAR1")
    with pytest.raises(AnalysisError, match=r"judgements-j\.parquet cannot be read"):
        load_judgements(judged)
    for file in judged.glob("*/judgements-*"):
        file.unlink()
    assert load_judgements(judged).empty and list(load_judgements(judged).columns) == JUDGEMENTS.names
