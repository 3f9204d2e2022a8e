"""What judges said of each run: grades by turn and category, and who won the comparisons."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from analysis import cells
from analysis.tables import table
from runners.schema import GRADE_SPAN
from runners.statistics import agreed_winner, paired_difference_interval

_PLACE = ["example_id", "turn"]


def grades_markdown(judgements: pd.DataFrame, names: dict[str, str]) -> str:
    """Every judge's grades and comparisons of some runs, each under the judge's name; empty if there is none.

    Parameters
    ----------
    judgements
        A frame of `load_judgements`.
    names
        What each run is called, by run_id; others are left out.
    """
    parts = []
    for judge, rows in judgements[judgements["run_id"].isin(names.keys())].groupby("judge", sort=True):
        frames = [frame for frame in (grades(rows, names), comparisons(rows, names)) if not frame.empty]
        parts += [f"### {judge}", *map(table, frames)]
    return "\n\n".join(parts)


def grades(judgements: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Grades from 1 to 10 by run: of all answers, of each turn and of each category, as text.

    The difference to the full model is over the turns in which both have a grade, its limits clustered by
    conversation. `unreadable` counts verdicts of either side without a grade in them, `no verdict` questions
    that the judge did not answer; neither is in a mean.
    """
    return _by_part(judgements[judgements["side"].isin(["own", "full"])], names, _graded)


def comparisons(judgements: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """How often a judge preferred the run's answer to the full model's, as text; parts as in `grades`.

    One comparison is two questions, one for each order. A comparison with an order that has no readable
    verdict is neither won nor lost nor a tie; `unreadable` and `no verdict` count such questions.
    """
    return _by_part(judgements[judgements["side"].isin(["own_first", "full_first"])], names, _compared)


def _by_part(
    rows: pd.DataFrame, names: dict[str, str], described: Callable[[pd.DataFrame], dict[str, str]]
) -> pd.DataFrame:
    found = []
    for part, those in _parts(rows):
        for run_id, name in names.items():
            group = those[those["run_id"] == run_id]
            if group.empty:
                continue
            missing = {
                "unreadable": str(int((group["parsed"] == False).sum())),  # noqa: E712 - null is neither
                "no verdict": str(int(group["parsed"].isna().sum())),
            }
            found.append({"of": part, "method": name, **described(group), **missing})
    return pd.DataFrame(found)


def _parts(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    if rows.empty:
        return
    yield "all", rows
    if rows["turn"].nunique() > 1:
        for turn, group in rows.groupby("turn", sort=True):
            yield f"turn {int(str(turn)) + 1}", group
    for category, group in rows.groupby("category", sort=True):
        yield str(category), group


def _graded(group: pd.DataFrame) -> dict[str, str]:
    own, full = (
        group[group["side"] == side].set_index(_PLACE)["rating"].dropna().astype(float)
        for side in ("own", "full")
    )
    pairs = pd.concat([own, full], axis=1, join="inner")
    examples = pairs.index.get_level_values(0).tolist()
    delta = paired_difference_interval(pairs.iloc[:, 0], pairs.iloc[:, 1], examples, span=GRADE_SPAN)
    return {
        "answers": str(len(group[_PLACE].drop_duplicates())),
        "grade": cells.mean(own, "{:.2f}"),
        "full": cells.mean(full, "{:.2f}"),
        "difference": cells.interval(*delta, form="{:+.2f}"),
    }


def _compared(group: pd.DataFrame) -> dict[str, str]:
    verdicts: Any = group.dropna(subset=["winner"]).groupby(_PLACE)["winner"].agg(list)
    outcomes = [agreed_winner(said) for said in verdicts]
    return {
        "comparisons": str(len(group[_PLACE].drop_duplicates())),
        "won": str(outcomes.count("own")),
        "tie": str(outcomes.count("tie")),
        "lost": str(outcomes.count("full")),
    }
