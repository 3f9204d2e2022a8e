"""Metrics of runs small enough to be worked out by hand."""

import math
import random

import pytest

from runners.metrics import summarise
from runners.schema import METRICS, SAMPLES
from runners.speed_metrics import decode_tokens

FACTS = {
    "run_id": "r",
    "method": "ffnskip",
    "lossless": False,
    "batch_size": 1,
    "baseline": "paired",
    "wall_s": 9.0,
}


def row(example, **values):
    """A row in which the method decodes 10 tokens in 1 s and the full model 10 tokens in 2 s."""
    given = {
        "example_id": example,
        "turn": 0,
        "output_tokens": 11,
        "full_output_tokens": 11,
        "prefill_s": 0.5,
        "full_prefill_s": 0.5,
        "decode_s": 1.0,
        "full_decode_s": 2.0,
        "finish_reason": "eos",
    }
    return {**given, **values}


@pytest.mark.parametrize(
    "rows", [[], [{}], [dict.fromkeys(SAMPLES.names)], [dict.fromkeys(SAMPLES.names)] * 3]
)
def test_nothing_known_is_all_null(rows):
    record = summarise(rows, {})
    assert list(record) == METRICS.names
    known = {name: value for name, value in record.items() if value is not None}
    assert known == {"examples": min(len(rows), 1), "quality_n": 0}


def test_one_row_has_values_and_no_intervals():
    record = summarise(
        [row("a", quality=1.0, full_quality=0.0, outcome="correct", full_outcome="wrong")], FACTS
    )
    assert (record["speedup"], record["quality"], record["quality_delta"]) == (2.0, 1.0, 1.0)
    ends = [name for name in record if name.endswith(("_lo", "_hi"))]
    assert len(ends) == 10
    assert all(record[name] is None for name in [*ends, "quality_p", "quality_mde"])


def test_speedup_is_a_ratio_of_sums_with_its_companions():
    rows = [row("a"), row("b", output_tokens=31, decode_s=3.0, full_output_tokens=21, full_decode_s=8.0)]
    record = summarise(rows, FACTS)
    assert record["tokens_per_s"] == pytest.approx(40 / 4)
    assert record["full_tokens_per_s"] == pytest.approx(30 / 10)
    assert record["speedup"] == pytest.approx(10 / 3)
    assert record["speedup_ratio_of_means"] == pytest.approx(((10 + 10) / 2) / ((5 + 2.5) / 2))
    assert record["speedup_geomean"] == pytest.approx(math.sqrt(2 * 4))
    assert record["speedup_end_to_end"] == pytest.approx((42 / (4 + 1)) / (32 / (10 + 1)))
    assert record["speedup_lo"] is record["speedup_hi"] is None
    # Between the speedups of the pairs, 2 and 4.
    many = summarise(
        [dict(one, example_id=f"{n}{one['example_id']}") for n in range(10) for one in rows], FACTS
    )
    assert many["speedup"] == pytest.approx(10 / 3)
    assert 2 < many["speedup_lo"] < math.sqrt(2 * 4) and 10 / 3 < many["speedup_hi"] < 4
    assert (
        record["ttft_s"] == 0.5
        and record["output_tokens_mean"] == 21
        and record["full_output_tokens_mean"] == 16
    )


def test_an_answer_that_ends_in_prefill_has_no_decode_speed_but_an_end_to_end_one():
    short = row("b", output_tokens=1, decode_s=None, full_output_tokens=1, full_decode_s=0.0)
    alone = summarise([short], FACTS)
    assert alone["speedup"] is alone["tokens_per_s"] is alone["full_tokens_per_s"] is None
    assert alone["speedup_end_to_end"] == 1.0
    record = summarise([row("a"), short], FACTS)
    assert record["speedup"] == 2.0 and record["tokens_per_s"] == 10.0
    assert record["speedup_end_to_end"] == pytest.approx((12 / 2.0) / (12 / 3.0))


def test_a_pair_with_one_silent_side_counts_on_neither_side():
    record = summarise([row("a"), row("b", output_tokens=1, decode_s=0.0, full_decode_s=100.0)], FACTS)
    assert (record["speedup"], record["full_tokens_per_s"]) == (2.0, 5.0)


@pytest.mark.parametrize(("tokens", "expected"), [(None, 0), (0, 0), (1, 0), (2, 1), (11, 10)])
def test_decode_tokens(tokens, expected):
    assert decode_tokens({"output_tokens": tokens}) == expected


def test_without_a_baseline_every_comparison_is_null_and_the_rest_is_not():
    rows = [
        {
            name: value
            for name, value in row(example, quality=1.0, outcome="wrong").items()
            if "full" not in name
        }
        for example in "ab"
    ]
    record = summarise(rows, {**FACTS, "baseline": "none"})
    absent = [n for n in record if n.startswith(("full_", "speedup", "quality_delta", "hallucination_delta"))]
    assert len(absent) > 15
    assert all(
        record[name] is None for name in [*absent, "new_hallucination_rate", "repaired_rate", "efficiency"]
    )
    assert (record["tokens_per_s"], record["quality"], record["hallucination_rate"]) == (10.0, 1.0, 1.0)


def test_ideal_and_efficiency_are_never_clipped():
    rows = [
        row("a", method_bytes=1e9, full_bytes=1.5e9, decision_bytes=1e8),
        row("b", method_bytes=3e9, full_bytes=3.5e9, decision_bytes=1e8),
    ]
    record = summarise(rows, FACTS)
    assert record["ideal_speedup"] == pytest.approx(5 / 4)
    assert record["efficiency"] == pytest.approx(2 / 1.25) and record["efficiency"] > 1
    assert record["decision_bytes_share"] == pytest.approx(0.05)
    assert record["gb_per_s"] == pytest.approx(2.0)
    assert record["full_gb_per_s"] == pytest.approx(5 / 4)


def test_drift_is_of_what_was_replayed():
    replayed = {"replay_tokens": 10, "replay_agreed": 5, "replay_s": 1.5, "full_replay_s": 2.4}
    rows = [row("a", **replayed), row("b", **replayed), row("c", full_decode_s=100.0)]
    record = summarise(rows, FACTS)
    assert record["baseline_drift"] == pytest.approx(1.2)
    # Timed side by side, the full model's times are what they are.
    assert record["full_tokens_per_s"] == pytest.approx(30 / 104)
    assert record["replay_speedup"] == pytest.approx(1.6)
    # A batch's time is shared by its rows, and an answer is replayed alone.
    assert summarise(rows, {**FACTS, "batch_size": 8})["baseline_drift"] is None


def test_a_reused_baseline_is_corrected_by_what_was_replayed():
    """Against the ratio with the full model's times multiplied by hand."""
    generator = random.Random(5)
    rows = []
    for number in range(40):
        seconds = generator.uniform(0.5, 1.5)
        values = {"decode_s": seconds, "full_decode_s": 2 * seconds, "full_step_s": [0.2 * seconds] * 10}
        if number % 4 == 0:
            noise = generator.uniform(1.1, 1.3)
            times = {"replay_s": seconds, "full_replay_s": 2 * seconds * noise}
            values |= {"replay_tokens": 10, "replay_agreed": 5, **times}
        rows.append(row(f"e{number:02}", **values))
    reused, paired = (summarise(rows, {**FACTS, "baseline": how}) for how in ("reuse", "paired"))
    drift = reused["baseline_drift"]
    assert 1.1 < drift < 1.3 and paired["speedup"] == pytest.approx(2)
    for name in ("speedup", "speedup_ratio_of_means", "speedup_geomean", "speedup_end_to_end"):
        own = [
            r | {"full_prefill_s": r["full_prefill_s"] * drift, "full_decode_s": r["full_decode_s"] * drift}
            for r in rows
        ]
        by_hand = summarise(own, {**FACTS, "baseline": "paired"})
        assert reused[name] == pytest.approx(by_hand[name])
    assert reused["full_tokens_per_s"] == pytest.approx(paired["full_tokens_per_s"] / drift)
    assert reused["tokens_per_s"] / reused["full_tokens_per_s"] == pytest.approx(reused["speedup"])
    # Method and full model vary together here, and the correction alone is uncertain.
    assert paired["speedup_hi"] - paired["speedup_lo"] < 1e-9
    assert 0.02 < reused["speedup_hi"] - reused["speedup_lo"] < 0.3
    assert reused["speedup_lo"] < reused["speedup"] < reused["speedup_hi"]


def test_latency_is_by_token_and_shares_a_calls_time():
    rows = [
        row("a", step_s=[0.1] * 98 + [0.4], step_tokens=[1] * 98 + [2]),
        row("b", step_s=[9.0], step_tokens=[1]),
    ]
    record = summarise(rows, FACTS)
    assert record["token_ms_p50"] == pytest.approx(100) and record["token_ms_p90"] == pytest.approx(100)
    assert record["token_ms_p99"] == pytest.approx(200)


def test_rows_of_a_batch_are_drawn_together():
    generator = random.Random(0)
    rows = []
    for batch in range(20):
        seconds = generator.uniform(0.5, 1.5)
        rows += [row(f"{batch}-{n}", batch=batch, decode_s=seconds) for n in range(8)]
    single = summarise(rows, FACTS)
    batched = summarise(rows, {**FACTS, "batch_size": 8})
    assert single["speedup"] == pytest.approx(batched["speedup"])
    widths = [record["speedup_hi"] - record["speedup_lo"] for record in (single, batched)]
    assert widths[1] == pytest.approx(math.sqrt(8) * widths[0], rel=0.25)


def test_realised_skip_by_kind_and_weighted():
    rows = [
        row(
            "a",
            attention_run=30,
            attention_total=30,
            ffn_run=15,
            ffn_total=30,
            attention_weight=1.0,
            ffn_weight=2.0,
        ),
        row(
            "b",
            attention_run=9,
            attention_total=10,
            ffn_run=10,
            ffn_total=10,
            attention_weight=1.0,
            ffn_weight=2.0,
        ),
    ]
    record = summarise(rows, FACTS)
    assert record["realised_skip_attention"] == pytest.approx(1 / 40)
    assert record["realised_skip_ffn"] == pytest.approx(15 / 40)
    assert record["realised_skip_weighted"] == pytest.approx((1 + 2 * 15) / (40 + 2 * 40))
    assert record["draft_skip"] is None


def test_a_lossless_method_reports_what_its_drafts_left_out():
    work = {"attention_run": 20, "attention_total": 10, "ffn_run": 20, "ffn_total": 10, "skipped_steps": 0}
    drafts = {"draft_attention_run": 40, "draft_ffn_run": 30, "draft_total": 100, "verify_steps": 3}
    rows = [
        row(
            "a",
            **work,
            **drafts,
            drafted=8,
            accepted=6,
            accepted_lengths=[3, 2],
            attention_weight=1,
            ffn_weight=3,
        ),
        row("b", **work, drafted=2, accepted=0, accepted_lengths=[1], search_s=0.25),
    ]
    record = summarise(rows, {**FACTS, "method": "swift", "lossless": True})
    assert record["draft_skip"] == pytest.approx(1 - (40 + 3 * 30) / (50 + 3 * 50))
    assert all(record[f"realised_skip_{kind}"] is None for kind in ("attention", "ffn", "weighted"))
    assert record["skip_step_share"] is None and record["speed_note"] is None
    assert (record["acceptance"], record["mean_accepted"], record["search_s"]) == (0.6, 2.0, 0.25)


def test_a_run_that_hardly_skipped_says_so():
    few = [row("a", skipped_steps=1, step_tokens=[1] * 10, step_s=[0.1] * 10)]
    record = summarise(few, FACTS)
    assert record["skip_step_share"] == pytest.approx(0.1) and "10%" in record["speed_note"]
    enough = summarise([row("a", skipped_steps=2)], FACTS)
    assert enough["skip_step_share"] == pytest.approx(0.2) and enough["speed_note"] is None
    assert summarise(few, {**FACTS, "method": "full"})["speed_note"] is None


def test_quality_is_paired_and_tested():
    pairs = [(1, 1)] * 50 + [(0, 1)] * 9 + [(1, 0)] * 1 + [(0, 0)] * 40
    rows = [row(str(n), quality=float(own), full_quality=float(full)) for n, (own, full) in enumerate(pairs)]
    rows.append(row("unscored", quality=None, full_quality=1.0))
    record = summarise(rows, FACTS)
    assert (record["quality"], record["quality_n"], record["examples"]) == (pytest.approx(0.51), 100, 101)
    assert record["full_quality"] == pytest.approx(60 / 101)
    assert record["quality_delta"] == pytest.approx(-0.08)
    assert record["quality_delta_lo"] < -0.08 < record["quality_delta_hi"] < 0
    assert record["quality_p"] == pytest.approx(22 / 1024)
    # A little more than 2.8 standard errors, 0.087: the test is exact.
    assert record["quality_mde"] == pytest.approx(0.0957, abs=1e-3)
    assert record["quality_lo"] == pytest.approx(0.51 - 0.098, abs=0.01)


def test_mcnemar_is_left_out_where_it_does_not_hold():
    graded = [row(str(n), quality=n / 10, full_quality=1.0) for n in range(10)]
    turns = [row(str(n), turn=turn, quality=1.0, full_quality=0.0) for n in range(5) for turn in (0, 1)]
    assert summarise(graded, FACTS)["quality_p"] is None
    assert summarise(turns, FACTS)["quality_p"] is None
    assert summarise(turns[::2], FACTS)["quality_p"] == pytest.approx(2 / 32)


def test_turns_of_a_conversation_are_one_cluster():
    generator = random.Random(1)
    rows = []
    for n in range(30):
        score = generator.random()
        rows += [row(str(n), turn=turn, quality=score) for turn in range(4)]
    record = summarise(rows, FACTS)
    alone = summarise(rows[::4], FACTS)
    width, alone_width = (r["quality_hi"] - r["quality_lo"] for r in (record, alone))
    assert width == pytest.approx(alone_width) and record["examples"] == 30


def test_without_discordance_the_detectable_difference_needs_a_scale():
    same = [row(str(n), quality=1.0, full_quality=1.0) for n in range(60)]
    # Where 7.7 of 60 are expected to have become worse, 6 have in four of five runs.
    assert summarise(same, FACTS)["quality_mde"] == pytest.approx(0.1286, abs=1e-3)
    # No number of pairs below 6 is significant.
    assert summarise(same[:5], FACTS)["quality_mde"] is None
    graded = [row(str(n), quality=0.7, full_quality=0.7) for n in range(60)]
    assert summarise(graded, FACTS)["quality_mde"] == pytest.approx(0.05)
    assert (summarise(graded[:2], FACTS)["quality_mde"], summarise(graded[:4], FACTS)["quality_mde"]) == (
        None,
        pytest.approx(0.75),
    )
    judged = [row(str(n), quality=8.0, full_quality=8.0) for n in range(60)]
    assert summarise(judged, FACTS)["quality_mde"] is None


def test_hallucination_is_wrong_of_attempted_and_new_wrong_of_all():
    pairs = [
        *[("wrong", "correct")] * 2,
        *[("correct", "wrong")] * 1,
        *[("wrong", "wrong")] * 3,
        *[("correct", "correct")] * 2,
        ("abstained", "correct"),
        ("collapsed", "wrong"),
    ]
    rows = [row(str(n), outcome=own, full_outcome=full) for n, (own, full) in enumerate(pairs)]
    record = summarise(rows, FACTS)
    assert record["hallucination_rate"] == pytest.approx(5 / 8)
    assert record["full_hallucination_rate"] == pytest.approx(5 / 10)
    assert record["new_hallucination_rate"] == pytest.approx(0.2)
    assert record["repaired_rate"] == pytest.approx(0.1)
    assert record["hallucination_delta"] == pytest.approx(1 / 8)
    assert record["hallucination_delta_lo"] < 1 / 8 < record["hallucination_delta_hi"]


def test_without_outcomes_or_attempts_there_is_no_hallucination_rate():
    names = ("hallucination_rate", "full_hallucination_rate", "new_hallucination_rate", "hallucination_delta")
    unjudged = summarise([row(str(n), hallucinated=False, full_hallucinated=False) for n in range(4)], FACTS)
    assert [unjudged[name] for name in names] == [None] * 4
    silent = summarise([row(str(n), outcome="abstained", full_outcome="correct") for n in range(4)], FACTS)
    assert [silent[name] for name in names] == [None, 0.0, 0.0, None]


def test_how_answers_end():
    rows = [
        row("a", collapsed=True, full_collapsed=False, finish_reason="length"),
        row("b", collapsed=False, full_collapsed=False),
        row("c", collapsed=None, finish_reason=None),
    ]
    record = summarise(rows, FACTS)
    assert (record["collapse_rate"], record["full_collapse_rate"], record["length_stop_rate"]) == (
        0.5,
        0.0,
        0.5,
    )


def test_answers_too_short_to_loop_have_no_collapse_rate():
    rows = [row("a", collapsed=False, full_collapsed=False)]
    for limit, rate in ((16, None), (18, None), (19, 0.0), (None, 0.0)):
        record = summarise(rows, {**FACTS, "max_new_tokens": limit})
        assert record["collapse_rate"] == record["full_collapse_rate"] == rate


def test_nothing_seen_is_no_interval_of_width_nothing():
    """0 of 8, and no difference in 4 pairs, leave much possible."""
    answer = {"quality": 0.0, "full_quality": 0.0, "outcome": "wrong", "full_outcome": "wrong"}
    record = summarise([row(str(n), **answer) for n in range(8)], FACTS)
    assert (record["quality_lo"], record["quality_hi"]) == (0, pytest.approx(0.3244, abs=1e-4))
    few = summarise([row(str(n), **answer) for n in range(4)], FACTS)
    for name in ("quality_delta", "hallucination_delta"):
        assert (few[name], few[f"{name}_lo"], few[f"{name}_hi"]) == (
            0,
            pytest.approx(-0.3267, abs=1e-4),
            pytest.approx(0.3267, abs=1e-4),
        )


def test_facts_pass_through_and_derived_values_replace_stale_ones():
    rows = [row("a", quality=1.0)]
    first = summarise(rows, {**FACTS, "energy_j": 3.5, "solved_parameter": "threshold", "solved_value": 0.1})
    assert (first["energy_j"], first["solved_parameter"], first["solved_value"], first["wall_s"]) == (
        3.5,
        "threshold",
        0.1,
        9.0,
    )
    again = summarise([row("a", quality=0.0)], first)
    assert again["quality"] == 0.0 and again["energy_j"] == 3.5
    with pytest.raises(ValueError, match="enrgy_j"):
        summarise(rows, {"enrgy_j": 1.0})


def test_the_order_of_rows_changes_nothing():
    generator = random.Random(2)
    rows = [
        row(str(n), decode_s=generator.random(), quality=generator.random(), full_quality=0.5)
        for n in range(40)
    ]
    expected = summarise(rows, FACTS)
    generator.shuffle(rows)
    assert summarise(rows, FACTS) == expected
    assert summarise(rows, FACTS, seed=1)["quality_lo"] != expected["quality_lo"]


def test_nan_in_a_row_is_unknown():
    record = summarise([row("a", quality=math.nan), row("b", quality=1.0)], FACTS)
    assert record["quality"] == 1.0 and record["quality_n"] == 1
