"""Runs that differ in their seed alone are one row: the mean, and the lowest and highest value."""

import json

import pandas as pd
import pytest

from analysis.seeds import pooled
from analysis.tables import HOLM, comparison, markdown, run_names, settings
from runners.schema import METRICS


def run(seed, **values):
    given = dict.fromkeys(METRICS.names) | {
        "run_id": f"r{seed}",
        "model": "smol",
        "task": "factoidqa",
        "examples": 40,
        "method": "random_ffn",
        "method_params": json.dumps({"share": 0.4, "target_skip": None}),
        "untrained_ablation": False,
        "seed": seed,
        "quality": 0.5,
        "full_quality": 0.6,
    }
    return {**given, **values}


MEASURED = {
    "quality": (0.25, 0.35, 0.60),
    "quality_delta": (-0.35, -0.25, 0.0),
    "new_hallucination_rate": (0.1, 0.1, 0.4),
    "speedup": (1.0, 1.5, 1.1),
    "realised_skip_weighted": (0.20, 0.18, 0.22),
}


def three(**more):
    return [
        run(seed, **{name: values[seed] for name, values in MEASURED.items()}, **more) for seed in range(3)
    ]


def test_mean_and_limits():
    (one,) = pooled(three(quality_delta_lo=-0.5, quality_p=0.01, quality_mde=0.2, speedup_hi=2.0))
    assert one["seeds"] == 3
    expected = {
        "quality": (0.4, 0.25, 0.6),
        "quality_delta": (-0.2, -0.35, 0.0),
        "new_hallucination_rate": (0.2, 0.1, 0.4),
        "speedup": (1.2, 1.0, 1.5),
        "realised_skip_weighted": (0.2, 0.18, 0.22),
    }
    for name, (mean, lowest, highest) in expected.items():
        found = [one[name], one[f"{name}_lowest"], one[f"{name}_highest"]]
        assert found == pytest.approx([mean, lowest, highest]), name
    # What they agree in stays, and has no limits; what belongs to one run's examples goes.
    assert (one["full_quality"], one["method"], one["examples"]) == (0.6, "random_ffn", 40)
    assert "full_quality_lowest" not in one
    assert {one[name] for name in ("quality_delta_lo", "quality_p", "quality_mde", "speedup_hi", "seed")} == {
        None
    }


def test_what_one_seed_does_not_know_is_unknown():
    runs = three()
    runs[1]["speedup"] = None
    (one,) = pooled(runs)
    assert one["speedup"] is None and "speedup_lowest" not in one and one["quality"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "change",
    [
        {"method_params": json.dumps({"share": 0.5, "target_skip": None})},
        {"method": "random_layer"},
        {"model_revision": "x"},
        {"batch_size": 4},
        {"temperature": 0.7},
        {"baseline": "reuse"},
        {"limit": 7},
        {"target_skip": 0.2},
        {"seed": None},
        # Twice the same seed: they differ in something that nobody says.
        {"seed": 0},
    ],
)
def test_what_differs_otherwise_stays_apart(change):
    runs = [run(0, quality=0.1), {**run(1, quality=0.9), **change}]
    assert pooled(runs) == runs


def test_a_share_that_every_seed_solves_for_itself():
    def solved(seed, value):
        params = json.dumps({"share": value, "target_skip": 0.2})
        return run(seed, method_params=params, solved_parameter="share", solved_value=value, target_skip=0.2)

    (one,) = pooled([solved(0, 0.38), solved(1, 0.40)])
    assert (one["seeds"], one["solved_parameter"], one["solved_value"]) == (2, "target_skip", 0.2)
    other = run(0, method_params=json.dumps({"share": 0.9, "target_skip": None}))
    table = comparison([solved(0, 0.38), solved(1, 0.40), other])
    assert list(table.method)[1:] == ["random_ffn (target_skip=0.2)", "random_ffn (share=0.9)"]
    # The same answer for all is said.
    (same,) = pooled([solved(0, 0.38), solved(1, 0.38)])
    assert (same["solved_parameter"], same["solved_value"]) == ("share", 0.38)


def test_the_table():
    single = run(
        0, method="ffnskip", quality=0.5, quality_delta=-0.1, quality_p=0.04, realised_skip_weighted=0.2
    )
    runs = [*three(quality_p=0.01), single]
    ((_, found),) = settings(pd.DataFrame(runs))
    table = comparison(found).set_index("method")
    assert list(table.index) == ["full", "ffnskip", "random_ffn"]
    assert list(table["seeds"]) == ["", "1", "3"]
    random = table.loc["random_ffn"]
    assert random["quality"] == "0.40 (0.25 to 0.60)"
    assert random["difference to full"] == "-0.20 (-0.35 to +0.00)"
    assert random["new hallucinations"] == "20 % (10 % to 40 %)"
    assert random["speedup"] == "1.20 (1.00 to 1.50)"
    assert random["realised skip"] == "0.20 (0.18 to 0.22)"
    assert random["p (Holm)"] == "–"
    # A row of one seed is what it was, and its p-value is corrected for the tests that are shown.
    ((_, by_itself),) = settings(pd.DataFrame([single]))
    alone = comparison(by_itself).set_index("method")
    # Figures and numbers mark what the table marks.
    assert {one["method"]: one[HOLM] for one in found} == {"random_ffn": None, "ffnskip": 0.04}
    assert "seeds" not in alone and table.loc["ffnskip", alone.columns].equals(alone.loc["ffnskip"])
    assert table.loc["full", "quality"] == "0.60"
    text = markdown(settings(pd.DataFrame(runs)))
    assert "Several seeds: the mean (lowest to highest" in text
    assert "Several seeds" not in markdown(settings(pd.DataFrame([single])))


def test_other_tables_tell_seeds_apart():
    names = run_names([*three(), run(0, run_id="f", method="full", method_params="{}")])
    assert names == {
        "r0": "random_ffn, seed 0",
        "r1": "random_ffn, seed 1",
        "r2": "random_ffn, seed 2",
        "f": "full",
    }
