"""Intervals, tests and detectable differences for results that come in clusters.

The turns of one conversation, and the rows of one timed batch, are not independent of each other: they are
resampled together. Every quantity here is a function of column sums (a mean is Σx ÷ Σ1, a speedup is a ratio
of two ratios), so one bootstrap of sums serves them all. Nothing returns NaN; what cannot be known is None.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
CONFIDENCE = 0.95
_CHUNK = 2_000_000  # random cluster numbers drawn at a time, or kept, which bounds the memory

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate and its confidence limits; these are None where the data cannot tell (below 2 clusters)."""

    estimate: float | None
    lo: float | None
    hi: float | None


def bootstrap_of_sums(
    columns: ArrayLike,
    statistic: Callable[[Floats], Floats],
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return a statistic of column sums with its percentile bootstrap interval over clusters.

    Parameters
    ----------
    columns
        Shape (rows, k): the quantities to be summed.
    statistic
        Maps sums of shape (n, k) to n values; NaN where it is not defined.
    clusters
        One label a row; rows that share one are drawn together. None: every row on its own.
    seed, resamples, confidence
        Of the bootstrap. The same input, in the same order, and the same seed give the same interval.

    Notes
    -----
    Resamples in which the statistic is not defined are left out; where they are more than 1 in 20, there is
    no interval. Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentiles).
    """
    totals = _cluster_totals(np.asarray(columns, dtype=np.float64), clusters)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = float(statistic(totals.sum(axis=0, keepdims=True))[0]) if len(totals) else np.nan
        if not np.isfinite(estimate):
            return Interval(None, None, None)
        if len(totals) < 2:
            return Interval(estimate, None, None)
        draws = statistic(_resampled_sums(totals, seed, resamples))
    draws = draws[np.isfinite(draws)]
    if len(draws) < 0.95 * resamples:
        return Interval(estimate, None, None)
    lo, hi = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(lo), float(hi))


def ratio_of_sums_interval(
    numerator: ArrayLike, denominator: ArrayLike, clusters: Sequence[Hashable] | None = None, *, seed: int = 0
) -> Interval:
    """Return Σ numerator ÷ Σ denominator with its interval; both of shape (rows,)."""
    return bootstrap_of_sums(np.column_stack([numerator, denominator]), _ratio, clusters, seed=seed)


def speedup_interval(
    tokens: ArrayLike,
    seconds: ArrayLike,
    full_tokens: ArrayLike,
    full_seconds: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    again: ArrayLike | None = None,
    seed: int = 0,
) -> Interval:
    """Return (Σ tokens ÷ Σ seconds) ÷ (Σ full_tokens ÷ Σ full_seconds) with its interval over pairs.

    All of shape (pairs,). Tokens and seconds of one pair are drawn together, so the interval is that of this
    very ratio: not of a mean of ratios, which long and short answers would enter alike.

    Parameters
    ----------
    again
        Shape (pairs, 2): seconds of the full model beside the method, and at first, on the same tokens; 0 for
        pairs that were not timed again. Then the full model's seconds are times the ratio of these sums.
    """
    columns = np.column_stack([tokens, seconds, full_tokens, full_seconds])
    if again is None:
        return bootstrap_of_sums(columns, _speedup, clusters, seed=seed)
    columns = np.column_stack([columns, again])
    return bootstrap_of_sums(columns, lambda s: _speedup(s) * s[:, 4] / s[:, 5], clusters, seed=seed)


def _speedup(sums: Floats) -> Floats:
    return sums[:, 0] / sums[:, 1] / (sums[:, 2] / sums[:, 3])


def clustered_mean_interval(
    values: ArrayLike, clusters: Sequence[Hashable] | None = None, *, seed: int = 0
) -> Interval:
    """Return the mean of values (or of paired differences), shape (rows,), with its interval."""
    values = np.asarray(values, dtype=np.float64)
    return ratio_of_sums_interval(values, np.ones_like(values), clusters, seed=seed)


def rate_difference_interval(
    events: ArrayLike,
    trials: ArrayLike,
    full_events: ArrayLike,
    full_trials: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> Interval:
    """Return Σ events ÷ Σ trials − Σ full_events ÷ Σ full_trials with its interval; all of shape (pairs,)."""
    columns = np.column_stack([events, trials, full_events, full_trials])
    return bootstrap_of_sums(columns, lambda s: s[:, 0] / s[:, 1] - s[:, 2] / s[:, 3], clusters, seed=seed)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return McNemar's exact two-sided p-value from the counts of discordant pairs; 1 if there are none.

    The pairs must be independent of each other. McNemar, Psychometrika 12, 1947.
    """
    discordant = only_first + only_second
    from scipy import stats  # a second to import, and a run needs it only at its end

    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for there being several; None stays None and does not count.

    Holm, Scandinavian Journal of Statistics 6, 1979: the k-th smallest of n times n - k + 1, never below a
    smaller one's. Controls the chance of one false claim among all, however the tests depend on each other.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        corrected[place] = least
    return corrected


def corrected_p_values(records: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Return Holm's correction of the `quality_p` of metrics records that stand in one table.

    A lossless method has nothing to be tested for, and does not count.
    """
    return holm([None if record.get("lossless") else record.get("quality_p") for record in records])


def agreed_winner(verdicts: Sequence[str]) -> str | None:
    """Return who won a comparison that a judge made in both orders; None until there are both verdicts.

    Who wins in both has won, and all else is a tie: a judge that prefers a place has said nothing. Zheng et
    al., Judging LLM-as-a-Judge, 2023, section 3.4.
    """
    if len(verdicts) != 2:
        return None
    return verdicts[0] if verdicts[0] == verdicts[1] else "tie"


def clustered_standard_error(values: ArrayLike, clusters: Sequence[Hashable] | None = None) -> float | None:
    """Return the cluster-robust standard error of the mean of values, shape (rows,); None below 2 clusters.

    √(G ÷ (G−1) · Σ_g (Σ_{i∈g} (x_i − x̄))²) ÷ n, with G clusters and n values. Without clusters: s ÷ √n.
    """
    values = np.asarray(values, dtype=np.float64)
    residuals = _cluster_totals((values - values.mean() if len(values) else values)[:, None], clusters)[:, 0]
    count = len(residuals)
    if count < 2:
        return None
    return float(np.sqrt(count / (count - 1) * np.square(residuals).sum()) / len(values))


def minimum_detectable_difference(
    differences: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float | None:
    """Return the true mean difference that pairs like these would reveal with the given power.

    (t_{1−α/2} + t_{power}) times the cluster-robust standard error of the mean difference, with Student's t
    on G − 1 degrees of freedom for G clusters (2.8 standard errors when G is large), for a two-sided test at
    level α. Where no pair differs from another there is no spread to go by, and the rule of three stands in:
    3 ÷ G, the share of conversations that could differ unseen with 95 % confidence, which assumes scores
    between 0 and 1.

    Parameters
    ----------
    differences
        Method minus full model, shape (pairs,).
    clusters
        One label a pair; None: every pair on its own.

    Returns
    -------
    float or None
        In units of the differences; None with fewer than 2 clusters.
    """
    error = clustered_standard_error(differences, clusters)
    if error is None:
        return None
    count = len(set(clusters)) if clusters is not None else np.size(differences)
    if error <= 1e-12 * np.abs(differences).max():  # equal values leave a trace of rounding
        return 3 / count
    from scipy import stats

    return float(error * stats.t.ppf([1 - alpha / 2, power], df=count - 1).sum())


def _ratio(sums: Floats) -> Floats:
    return sums[:, 0] / sums[:, 1]


def _cluster_totals(columns: Floats, clusters: Sequence[Hashable] | None) -> Floats:
    """Sum the rows of each cluster: (rows, k) to (clusters, k), clusters in order of first appearance."""
    if clusters is None:
        return columns
    number: dict[Hashable, int] = {}
    labels = [number.setdefault(label, len(number)) for label in clusters]
    totals = np.zeros((len(number), columns.shape[1]))
    np.add.at(totals, labels, columns)
    return totals


def _resampled_sums(totals: Floats, seed: int, resamples: int) -> Floats:
    """Draw as many clusters as there are, with replacement, and sum them: (resamples, k)."""
    count = len(totals)
    if resamples * count <= _CHUNK:
        return _times_drawn(count, seed, resamples) @ totals
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // count)
    sums = np.empty((resamples, totals.shape[1]))
    for start in range(0, resamples, rows):
        drawn = generator.integers(count, size=(min(rows, resamples - start), count))
        for column in range(totals.shape[1]):
            sums[start : start + rows, column] = totals[drawn, column].sum(axis=1)
    return sums


@lru_cache(maxsize=4)
def _times_drawn(count: int, seed: int, resamples: int) -> Floats:
    """How often each resample draws each cluster: (resamples, count).

    A report takes thousands of intervals over as many answers each, and drawing is what takes the time.
    """
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    places = drawn + count * np.arange(resamples)[:, None]
    times = np.bincount(places.ravel(), minlength=resamples * count).reshape(resamples, count)
    return times.astype(np.float64)
