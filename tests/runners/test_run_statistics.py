"""Intervals and tests against scipy, textbook formulas and simulated data whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from runners.statistics import (
    bootstrap_of_sums,
    clustered_mean_interval,
    clustered_standard_error,
    holm,
    mcnemar_exact,
    minimum_detectable_difference,
    rate_difference_interval,
    ratio_of_sums_interval,
    speedup_interval,
)


def simulated_pairs(generator, count, speedup):
    """Return tokens and seconds of both sides; lengths and speeds vary, the ratio of sums is `speedup`."""
    tokens, full_tokens = generator.integers(2, 120, (2, count))
    seconds = tokens / (50 * speedup) * generator.lognormal(-0.02, 0.2, count)
    full_seconds = full_tokens / 50 * generator.lognormal(-0.02, 0.2, count)
    return tokens, seconds, full_tokens, full_seconds


def test_speedup_agrees_with_scipys_bootstrap_of_the_same_ratio():
    data = simulated_pairs(np.random.default_rng(1), 80, 1.3)

    def ratio(tokens, seconds, full_tokens, full_seconds, axis):
        rate = tokens.sum(axis) / seconds.sum(axis)
        return rate / (full_tokens.sum(axis) / full_seconds.sum(axis))

    expected = stats.bootstrap(
        data, ratio, paired=True, method="percentile", n_resamples=9999, rng=np.random.default_rng(2)
    ).confidence_interval
    found = speedup_interval(*data)
    assert found.estimate == pytest.approx(ratio(*data, axis=0), rel=1e-12)
    width = expected.high - expected.low
    assert found.lo == pytest.approx(expected.low, abs=0.05 * width)
    assert found.hi == pytest.approx(expected.high, abs=0.05 * width)


def test_a_long_answer_weighs_more_than_a_short_one():
    found = speedup_interval([10, 1000], [1.0, 10.0], [10, 1000], [1.0, 20.0])
    assert found.estimate == pytest.approx((1010 / 11) / (1010 / 21))


def test_speedup_interval_covers_the_truth():
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        tokens, seconds, full_tokens, full_seconds = simulated_pairs(generator, 60, 1.2)
        columns = np.column_stack([tokens, seconds, full_tokens, full_seconds])
        found = bootstrap_of_sums(columns, lambda s: s[:, 0] / s[:, 1] / (s[:, 2] / s[:, 3]), resamples=1000)
        hits += found.lo <= 1.2 <= found.hi
    assert 0.91 <= hits / 300 <= 0.98


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


@pytest.mark.parametrize("clusters", [None, ["a"]])
def test_one_cluster_has_an_estimate_and_no_interval(clusters):
    assert clustered_mean_interval([2.0], clusters) == (2.0, None, None)
    assert clustered_mean_interval([1.0, 3.0], ["a", "a"]) == (2.0, None, None)
    assert clustered_standard_error([2.0], clusters) is None
    assert minimum_detectable_difference([2.0], clusters) is None


def test_nothing_gives_none_and_never_nan():
    assert clustered_mean_interval([]) == (None, None, None)
    assert speedup_interval([], [], [], []) == (None, None, None)
    assert ratio_of_sums_interval([1, 2], [0, 0]) == (None, None, None)
    assert clustered_mean_interval([1.0, np.nan]) == (None, None, None)
    assert minimum_detectable_difference([]) is None


def test_a_rate_that_is_mostly_undefined_has_no_interval():
    found = rate_difference_interval([1, 0, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1])
    assert found == (1.0, None, None)


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
