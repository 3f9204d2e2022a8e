"""Lossless drafting through a whole run: the same answers, honest counts, a search that goes on."""

import json

import pytest

from runners.errors import RunError
from runners.storage import RunFolder

# Searches from the sixth token on, and drafts although a random model is never sure.
SWIFT = (
    "method=swift",
    "method.skip_ratio=0.5",
    "method.context_window=4",
    "method.draft_threshold=0.0",
    "method.max_draft=4",
)
LOOKUP = ("method=prompt_lookup",)


@pytest.mark.parametrize("sampling", [(), ("temperature=0.9", "top_p=0.9")], ids=["greedy", "sampled"])
@pytest.mark.parametrize("method", [SWIFT, LOOKUP], ids=["swift", "prompt_lookup"])
def test_answers_are_the_full_models(bench, method, sampling):
    finished = bench.run(*method, *sampling, "limit=8")
    rows = RunFolder(finished.folder.parent, finished.folder.name).read_rows()
    for row in rows:
        assert (
            row["output_ids"] == row["full_output_ids"] and row["finish_reason"] == row["full_finish_reason"]
        )
        assert sum(row["step_tokens"]) == sum(row["accepted_lengths"]) == row["output_tokens"] - 1
        assert row["verify_steps"] == len(row["accepted_lengths"]) == len(row["step_s"])
        assert row["accepted"] == row["output_tokens"] - 1 - row["verify_steps"] <= row["drafted"]
    metrics = finished.metrics
    assert metrics["lossless"] and metrics["quality_delta"] == 0 and metrics["new_hallucination_rate"] == 0
    assert metrics["realised_skip_weighted"] is None and metrics["untrained_ablation"] is False
    accepted, drafted = (sum(row[name] for row in rows) for name in ("accepted", "drafted"))
    assert metrics["acceptance"] == pytest.approx(accepted / drafted)
    lengths = [length for row in rows for length in row["accepted_lengths"]]
    assert metrics["mean_accepted"] == pytest.approx(sum(lengths) / len(lengths))
    # A random model's sampled text does not repeat itself: nothing to look up.
    assert max(lengths) > 1 or (method, bool(sampling)) == (LOOKUP, True)
    assert metrics["ideal_speedup"] > 0 and metrics["speedup"] > 0


def test_what_swift_reports_of_its_drafts(bench):
    """Of three layers the middle one is odd: both its sub-layers are skipped, a third of all weights."""
    metrics = bench.run(*SWIFT, "method.search=off", "limit=4").metrics
    assert metrics["draft_skip"] == pytest.approx(1 / 3) and metrics["search_s"] == 0
    searching = bench.run(*SWIFT, "limit=4").metrics
    assert searching["search_s"] > 0


@pytest.mark.parametrize("method", [SWIFT, LOOKUP], ids=["swift", "prompt_lookup"])
def test_one_at_a_time(bench, method):
    with pytest.raises(RunError, match="decodes at most 1 at a time"):
        bench.run(*method, "batch_size=2")


def test_an_interrupted_search_goes_on_where_it_was(bench, monkeypatch, tmp_path):
    settings = (*SWIFT, "method.bayes_interval=5", "limit=6")
    states, append = [], RunFolder.append
    monkeypatch.setattr(
        RunFolder, "append", lambda self, record: states.append(record) or append(self, record)
    )
    whole = bench.run(*settings, f"results_dir={tmp_path / 'whole'}")
    undisturbed = states[-1]["state"]
    bench.interrupted(monkeypatch, 3, *settings)
    resumed = bench.run(*settings)
    assert resumed.folder.name == whole.folder.name
    assert states[-1]["state"] == undisturbed and undisturbed["iteration"] > 0
    found = []
    for run in (whole, resumed):
        folder = RunFolder(run.folder.parent, run.folder.name)
        found.append(
            [(row["output_ids"], row["accepted_lengths"], row["drafted"]) for row in folder.read_rows()]
        )
    assert found[0] == found[1]


def test_lists_reach_a_method_as_lists(bench):
    finished = bench.run("method=swift", "method.search=frozen", "method.skipped=[1]", "limit=1")
    assert json.loads(finished.metrics["method_params"])["skipped"] == [1]
    assert finished.metrics["draft_skip"] > 0
