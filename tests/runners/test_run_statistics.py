"""Intervals and tests against scipy, published formulas and simulated data whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from runners.significance import (
    holm,
    mcnemar_detectable,
    mcnemar_exact,
    minimum_detectable_difference,
    quality_verdict,
)
from runners.statistics import (
    bootstrap_of_sums,
    clustered_mean_interval,
    clustered_standard_error,
    paired_difference_interval,
    rate_difference_interval,
    speedup_interval,
)


def simulated_pairs(generator, count, speedup):
    """Return tokens and seconds of both sides; lengths and speeds vary, the ratio of sums is `speedup`."""
    tokens, full_tokens = generator.integers(2, 120, (2, count))
    seconds = tokens / (50 * speedup) * generator.lognormal(-0.02, 0.2, count)
    full_seconds = full_tokens / 50 * generator.lognormal(-0.02, 0.2, count)
    return tokens, seconds, full_tokens, full_seconds


def test_speedup_is_a_ratio_of_sums_within_two_intervals_of_student():
    data = simulated_pairs(np.random.default_rng(1), 80, 1.3)
    tokens, seconds, full_tokens, full_seconds = data
    found = speedup_interval(*data)
    ratio = (tokens.sum() / seconds.sum()) / (full_tokens.sum() / full_seconds.sum())
    assert found.estimate == pytest.approx(ratio, rel=1e-12)
    # Widened by the square root of 2 for pairs side by side.
    each = np.log(tokens / seconds / (full_tokens / full_seconds))
    half = stats.sem(each) * np.sqrt(2) * stats.t.ppf(0.975, 79)
    assert found.lo <= np.exp(each.mean() - half) * (1 + 1e-9)
    assert found.hi >= np.exp(each.mean() + half) * (1 - 1e-9)
    bootstrap = stats.bootstrap(
        data,
        lambda a, b, c, d, axis: np.log(a.sum(axis) / b.sum(axis) / (c.sum(axis) / d.sum(axis))),
        paired=True,
        rng=np.random.default_rng(2),
    )
    half = bootstrap.standard_error * np.sqrt(2) * stats.t.ppf(0.975, 79)
    limits = np.log(ratio) + np.array([-half, half])
    expected = [min(limits[0], np.log(found.lo)), max(limits[1], np.log(found.hi))]
    assert np.log([found.lo, found.hi]) == pytest.approx(expected, abs=0.15 * half)


def test_a_long_answer_weighs_more_than_a_short_one():
    found = speedup_interval([10, 1000], [1.0, 10.0], [10, 1000], [1.0, 20.0])
    assert found.estimate == pytest.approx((1010 / 11) / (1010 / 21))


def test_speedup_interval_covers_the_truth():
    generator = np.random.default_rng(3)
    found = [speedup_interval(*simulated_pairs(generator, 60, 1.2)) for _ in range(1000)]
    assert sum(one.lo <= 1.2 <= one.hi for one in found) / 1000 >= 0.95


def test_one_disturbed_pair_makes_no_claim():
    """A process beside the method takes three quarters of the time of one of eight pairs."""
    tokens, seconds = np.full(8, 20.0), np.array([0.41, 0.39, 0.4, 0.4, 0.42, 0.4, 0.39, 0.4])
    disturbed = seconds[::-1] * np.array([1, 1, 4, 1, 1, 1, 1, 1])
    assert (found := speedup_interval(tokens, disturbed, tokens, seconds)).lo < 1 < found.hi
    assert (found := speedup_interval(tokens, seconds, tokens, disturbed)).lo < 1 < found.hi


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_pairs_have_a_speedup_and_no_limits(count):
    times = np.linspace(1, 1.1, count)
    assert speedup_interval(times, times, times, times * 2) == (pytest.approx(2), None, None)
    rows = [np.repeat(times, 4)] * 4
    assert speedup_interval(*rows, clusters=np.repeat(range(count), 4).tolist()).lo is None


def test_clustered_interval_covers_where_an_unclustered_one_does_not():
    generator = np.random.default_rng(4)
    clusters = np.repeat(np.arange(40), 5)
    hits = {"clustered": 0, "rows": 0}
    for _ in range(300):
        values = np.repeat(generator.normal(0, 1, 40), 5) + generator.normal(0, 0.3, 200)
        for name, labels in (("clustered", clusters), ("rows", None)):
            columns = np.column_stack([values, np.ones_like(values)])
            found = bootstrap_of_sums(columns, lambda s: s[:, 0] / s[:, 1], labels, resamples=800)
            hits[name] += found.lo <= 0 <= found.hi
    assert 0.90 <= hits["clustered"] / 300 <= 0.98
    assert hits["rows"] / 300 < 0.75


def test_mean_interval_agrees_with_scipy_and_is_deterministic():
    values = np.random.default_rng(5).exponential(size=100)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(6)
    ).confidence_interval
    found = clustered_mean_interval(values)
    assert found == clustered_mean_interval(values) == clustered_mean_interval(values, range(100))
    assert found != clustered_mean_interval(values, seed=1)
    assert found.estimate == pytest.approx(values.mean())
    assert (found.lo, found.hi) == pytest.approx(expected, abs=0.02)


def test_many_rows_are_resampled_in_pieces_alike():
    values = np.random.default_rng(7).normal(size=5000)
    found = clustered_mean_interval(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(5000)
    assert (found.lo, found.hi) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.002)


@pytest.mark.parametrize("count", [6, 8, 16])
def test_a_mean_of_few_scores_is_covered(count):
    """Plain percentiles cover it in 85 of 100 cases at 6 and 88 at 8."""
    generator = np.random.default_rng(10)
    found = [clustered_mean_interval(generator.normal(size=count)) for _ in range(300)]
    assert 0.92 <= sum(one.lo <= 0 <= one.hi for one in found) / 300 <= 0.99


def test_fewer_than_six_scores_have_a_mean_and_no_limits():
    assert clustered_mean_interval([0.1, 0.2, 0.3, 0.4, 0.5]) == (pytest.approx(0.3), None, None)
    assert clustered_mean_interval([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).lo is not None


@pytest.mark.parametrize(("events", "trials"), [(0, 8), (8, 8), (4, 24), (12, 24), (3, 2000)])
def test_a_rate_has_wilsons_interval(events, trials):
    expected = stats.binomtest(events, trials).proportion_ci(method="wilson")
    found = clustered_mean_interval([1.0] * events + [0.0] * (trials - events))
    assert found == pytest.approx((events / trials, expected.low, expected.high))


def test_a_rate_of_clusters_counts_what_they_tell():
    """Four turns that always agree are one answer; nothing in ten conversations is nothing in ten answers."""
    values = np.array([1, 0, 0, 1, 1, 0, 1, 1, 0, 1.0])
    clusters = np.repeat(np.arange(10), 4).tolist()
    found = clustered_mean_interval(np.repeat(values, 4), clusters)
    alone = clustered_mean_interval(values)
    assert found.hi - found.lo == pytest.approx(alone.hi - alone.lo, rel=0.06)
    assert clustered_mean_interval(np.zeros(40), clusters) == clustered_mean_interval(np.zeros(10))


@pytest.mark.parametrize("cells", [(8, 0, 4, 12), (0, 0, 4, 4), (0, 0, 0, 4), (5, 3, 10, 2), (1, 40, 3, 6)])
def test_a_difference_of_paired_rates_has_the_interval_of_agresti_and_min(cells):
    only, full_only, both, neither = cells
    own = [1] * only + [0] * full_only + [1] * both + [0] * neither
    full = [0] * only + [1] * full_only + [1] * both + [0] * neither
    # Half a pair more in each cell, then Wald.
    b, c, n = only + 0.5, full_only + 0.5, len(own) + 2
    half = 1.959964 * np.sqrt(b + c - (b - c) ** 2 / n) / n
    found = paired_difference_interval(own, full)
    assert found.estimate == pytest.approx((only - full_only) / len(own))
    assert found.lo == pytest.approx(max(-1, (b - c) / n - half), abs=1e-6)
    assert found.hi == pytest.approx(min(1, (b - c) / n + half), abs=1e-6)
    # Four turns that agree are no more than one.
    clusters = np.repeat(np.arange(len(own)), 4).tolist()
    again = paired_difference_interval(np.repeat(own, 4), np.repeat(full, 4), clusters)
    assert again == pytest.approx(found)


@pytest.mark.parametrize(("count", "shift"), [(4, 0.0), (8, 0.0), (24, 0.3), (100, 0.1)])
def test_a_difference_of_paired_rates_is_covered(count, shift):
    generator = np.random.default_rng(11)
    hits = 0
    for _ in range(1000):
        full, draw = generator.random(count) < 0.5, generator.random((2, count))
        own = np.where(full, draw[0] > 0.1 + 2 * shift, draw[1] < 0.1)
        found = paired_difference_interval(own, full)
        hits += found.lo <= -shift <= found.hi
    assert hits / 1000 >= 0.94


def test_scores_that_never_differ_follow_the_rule_of_three_on_a_known_scale():
    same = [0.3, 0.5] * 6
    assert paired_difference_interval(same, same) == (0, -0.25, 0.25)
    grades = [8.0, 5.0] * 6
    assert paired_difference_interval(grades, grades) == (0, None, None)
    assert paired_difference_interval(same, same, span=9.0) == (0, -2.25, 2.25)
    assert paired_difference_interval(same[:2], same[:2], span=1.0) == (0, -1, 1)
    assert paired_difference_interval(same[:1], same[:1], span=1.0) == (0, None, None)


@pytest.mark.parametrize("clusters", [None, ["a"]])
def test_one_cluster_has_an_estimate_and_no_interval(clusters):
    assert clustered_mean_interval([2.0], clusters) == (2.0, None, None)
    assert clustered_mean_interval([1.0, 3.0], ["a", "a"]) == (2.0, None, None)
    assert clustered_standard_error([2.0], clusters) is None
    assert minimum_detectable_difference([2.0], clusters) is None


def test_nothing_gives_none_and_never_nan():
    assert clustered_mean_interval([]) == (None, None, None)
    assert speedup_interval([], [], [], []) == (None, None, None)
    assert speedup_interval([1, 2], [0, 0], [1, 2], [1, 2]) == (None, None, None)
    assert rate_difference_interval([], [], [], []) == (None, None, None)
    assert rate_difference_interval([0, 0], [0, 0], [1, 1], [1, 1]) == (None, None, None)
    assert mcnemar_detectable(0, 0, 0) is None
    assert clustered_mean_interval([1.0, np.nan]) == (None, None, None)
    assert minimum_detectable_difference([]) is None


def test_a_rate_of_hardly_any_attempts_is_hardly_known():
    found = rate_difference_interval([1, 0, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1])
    assert found.estimate == 1.0 and found.lo < 0 and found.hi == 1


def test_rate_difference_counts_only_attempts():
    found = rate_difference_interval(
        [1, 0, 1, 0] * 20, [1, 1, 1, 0] * 20, [1, 0, 0, 0] * 20, [1, 1, 1, 1] * 20
    )
    assert found.estimate == pytest.approx(2 / 3 - 1 / 4)
    assert 0.2 < found.lo < found.estimate < found.hi < 0.6


@pytest.mark.parametrize(("b", "c"), [(1, 9), (12, 5), (0, 6), (30, 30)])
def test_mcnemar_is_the_exact_binomial_tail(b, c):
    below = sum(stats.binom.pmf(k, b + c, 0.5) for k in range(min(b, c) + 1))
    assert mcnemar_exact(b, c) == pytest.approx(min(1.0, 2 * below))


def test_mcnemar_without_discordant_pairs_has_no_evidence():
    assert mcnemar_exact(0, 0) == 1.0


def test_standard_error_formulas():
    values = np.random.default_rng(8).normal(size=30)
    assert clustered_standard_error(values) == pytest.approx(stats.sem(values))
    # Repeating every row adds rows but no information.
    doubled = np.repeat(values, 2)
    assert clustered_standard_error(doubled, np.repeat(np.arange(30), 2)) == pytest.approx(stats.sem(values))


def test_detectable_difference_has_the_promised_power():
    generator = np.random.default_rng(9)
    detectable = 2.8 * 1 / np.sqrt(40)
    found = np.mean([minimum_detectable_difference(generator.normal(size=40)) for _ in range(200)])
    assert found == pytest.approx(detectable, rel=0.05)
    detected = sum(stats.ttest_1samp(generator.normal(found, 1, 40), 0).pvalue < 0.05 for _ in range(1000))
    assert 0.76 <= detected / 1000 <= 0.86


@pytest.mark.parametrize(("only", "full_only", "pairs"), [(0, 0, 24), (1, 9, 100), (8, 12, 60)])
def test_what_mcnemars_test_detects_it_finds_in_four_of_five_runs(only, full_only, pairs):
    background = min(only, full_only) / pairs
    difference = mcnemar_detectable(only, full_only, pairs)
    generator = np.random.default_rng(12)
    shares = [background, background + difference, 1 - 2 * background - difference]
    drawn = generator.multinomial(pairs, shares, 2000)
    found = sum(mcnemar_exact(int(b), int(c)) < 0.05 for b, c, _ in drawn)
    assert found / 2000 == pytest.approx(0.8, abs=0.03)


def test_five_pairs_show_no_difference_whatever_it_is():
    assert mcnemar_detectable(0, 0, 5) is None and mcnemar_detectable(0, 0, 6) > 0.9
    assert mcnemar_detectable(12, 12, 24) is None


def test_no_difference_is_detectable_beyond_the_scale():
    assert minimum_detectable_difference([0.0, 0.9]) is None
    assert minimum_detectable_difference([0.0, 0.9], span=None) > 1
    assert minimum_detectable_difference([0.0] * 2) is None
    assert minimum_detectable_difference([0.0] * 4, span=9.0) == pytest.approx(27 / 4)


@pytest.mark.parametrize(
    ("corrected", "delta", "limits", "verdict"),
    [
        (0.01, -0.1, (-0.2, 0.01), "lower"),
        (0.01, 0.1, (0.02, 0.2), "higher"),
        (0.25, -0.1, (-0.2, -0.01), None),
        (0.05, -0.1, (-0.2, -0.01), None),
        (None, -0.1, (-0.2, -0.01), "perhaps lower"),
        (None, 0.1, (0.01, 0.2), "perhaps higher"),
        (None, -0.1, (-0.2, 0.01), None),
        (None, -0.1, (None, None), None),
        (0.01, None, (None, None), None),
        (1.0, 0.0, (-0.1, 0.1), None),
    ],
)
def test_the_test_outranks_the_limits(corrected, delta, limits, verdict):
    record = dict(
        zip(("quality_delta", "quality_delta_lo", "quality_delta_hi"), (delta, *limits), strict=True)
    )
    assert quality_verdict(record, corrected) == verdict
    assert quality_verdict({**record, "lossless": True}, corrected) is None


def test_detectable_difference_without_discordance_is_the_rule_of_three():
    assert minimum_detectable_difference(np.zeros(60)) == pytest.approx(0.05)
    assert minimum_detectable_difference(np.zeros(60), np.repeat(np.arange(30), 2)) == pytest.approx(0.1)
    assert minimum_detectable_difference([0.1] * 30) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("given", "corrected"),
    [
        ([], []),
        ([None], [None]),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, None, 0.6], [1.0, None, 1.0]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
    ],
)
def test_holm(given, corrected):
    """The second is the example of R's p.adjust(method="holm")."""
    found = holm(given)
    assert [p is None for p in found] == [p is None for p in corrected]
    assert [p for p in found if p is not None] == pytest.approx([p for p in corrected if p is not None])
