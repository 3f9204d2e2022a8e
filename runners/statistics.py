"""Intervals for results that come in clusters; tests are in `runners.significance`.

The turns of one conversation, and the rows of one timed batch, are not independent of each other: they count
together. Limits hold for few clusters too, or there are none: rates have limits that do not shrink to nothing
where nothing happened, scores need six clusters and speeds four. Nothing returns NaN; what cannot be known is
None.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
CONFIDENCE = 0.95
# Of 2 to 5 clusters all lie on one side of the truth in more than 1 of 20 cases, and so does all that is
# drawn from them.
LEAST_DRAWN = 6
LEAST_TIMED = 4
# Pairs side by side are alike: they are timed full, method, method, full, so that what disturbs two answers
# in a row pushes two pairs the same way. Measured, means over 4 to 16 pairs in a row of the full model beside
# itself vary about twice as much as those of independent pairs.
_NEIGHBOURS = 2.0
_NORMAL = 1.959963984540054
_CHUNK = 2_000_000  # random cluster numbers drawn at a time, or kept, which bounds the memory

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate and its confidence limits; these are None where the data cannot tell."""

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
    """Return a statistic of column sums with its bootstrap interval over clusters.

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
    Percentiles, moved outwards so that the interval of a mean is as wide as Student's: those of plain
    percentiles are too narrow by √((G−1) ÷ G), and by the normal quantile in place of t. Hesterberg, The
    American Statistician 69, 2015, section 4 (expanded percentiles). Resamples in which the statistic is not
    defined are left out; there is no interval where they are more than 1 in 20, below `LEAST_DRAWN` clusters,
    and where all draws are one value: no spread is no knowledge.
    """
    totals = _cluster_totals(np.asarray(columns, dtype=np.float64), clusters)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = float(statistic(totals.sum(axis=0, keepdims=True))[0]) if len(totals) else np.nan
        if not np.isfinite(estimate):
            return Interval(None, None, None)
        if len(totals) < LEAST_DRAWN:
            return Interval(estimate, None, None)
        draws = statistic(_resampled_sums(totals, seed, resamples))
    draws = draws[np.isfinite(draws)]
    if len(draws) < 0.95 * resamples or np.ptp(draws) <= 1e-12 * np.abs(draws).max():
        return Interval(estimate, None, None)
    from scipy import stats  # a second to import, and a run needs it only at its end

    count = len(totals)
    least = stats.norm.sf(student(count, confidence) * np.sqrt(count / (count - 1)))
    lo, hi = np.quantile(draws, [least, 1 - least])
    return Interval(estimate, float(lo), float(hi))


def speedup_interval(
    tokens: ArrayLike,
    seconds: ArrayLike,
    full_tokens: ArrayLike,
    full_seconds: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    again: ArrayLike | None = None,
) -> Interval:
    """Return (Σ tokens ÷ Σ seconds) ÷ (Σ full_tokens ÷ Σ full_seconds) with its interval over pairs.

    All of shape (pairs,), and above 0.

    Parameters
    ----------
    again
        Shape (pairs, 2): seconds of the full model beside the method, and at first, on the same tokens; 0 for
        pairs that were not timed again. Then the full model's seconds are times the ratio of these sums.

    Notes
    -----
    The limits are the outer ones of two intervals by Student's t on logarithms: of this ratio of sums, by its
    linear approximation, and of the mean over pairs. One pair during which the machine was busy with
    something else rules the first and hardly moves the second, so a claim needs both. Standard errors are
    widened for pairs side by side being alike. No limits below `LEAST_TIMED` clusters. `docs/metrics.md` has
    the rates of false claims, which `scripts/bench_verdicts.py` measures.
    """
    columns = np.column_stack([tokens, seconds, full_tokens, full_seconds])
    signs = [1, -1, -1, 1]
    if again is not None:
        columns, signs = np.column_stack([columns, again]), [*signs, 1, -1]
    totals = _cluster_totals(np.asarray(columns, dtype=np.float64), clusters)
    sums, count = totals.sum(axis=0), len(totals)
    if not (np.isfinite(sums) & (sums > 0)).all():
        return Interval(None, None, None)
    estimate = float(np.exp(np.log(sums) @ signs))
    if count < LEAST_TIMED:
        return Interval(estimate, None, None)
    own = np.log(totals[:, :4]) @ signs[:4]
    means = [np.log(estimate), own.mean() + np.log(sums[4:]) @ signs[4:]]
    spreads = [np.std(totals / sums @ signs, ddof=1) * count, np.std(own, ddof=1)]
    half = student(count) * np.sqrt(_NEIGHBOURS / count) * np.array(spreads)
    return Interval(estimate, float(np.exp(min(means - half))), float(np.exp(max(means + half))))


def clustered_mean_interval(
    values: ArrayLike, clusters: Sequence[Hashable] | None = None, *, seed: int = 0
) -> Interval:
    """Return the mean of values, shape (rows,), with its interval.

    Of values that are all 0 or 1: Wilson's for a rate, with as many answers as independent ones would tell as
    much as these clusters. Else by bootstrap. Wilson, Journal of the American Statistical Association 22,
    1927.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isin(values, (0, 1)).all():
        return bootstrap_of_sums(
            np.column_stack([values, np.ones_like(values)]), lambda s: s[:, 0] / s[:, 1], clusters, seed=seed
        )
    if len(values) == 0:
        return Interval(None, None, None)
    rate, error = float(values.mean()), clustered_standard_error(values, clusters)
    if error is None:
        return Interval(rate, None, None)
    count: float = count_of(values, clusters)
    if count < len(values) and 0 < rate < 1:
        count = min(len(values), rate * (1 - rate) / error**2) if error else len(values)
    widened = 1 + _NORMAL**2 / count
    middle = (rate + _NORMAL**2 / (2 * count)) / widened
    half = _NORMAL / widened * math.sqrt(rate * (1 - rate) / count + (_NORMAL / (2 * count)) ** 2)
    # Rounding must not put the rate outside.
    return Interval(rate, max(0.0, min(rate, middle - half)), min(1.0, max(rate, middle + half)))


def paired_difference_interval(
    values: ArrayLike,
    full_values: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    span: float | None = None,
    seed: int = 0,
) -> Interval:
    """Return the mean of values − full_values, both of shape (pairs,), with its interval.

    Where all of them are 0 or 1: `rate_difference_interval`. Else by bootstrap; and where no pair differs
    from another, the rule of three, if the span is known.

    Parameters
    ----------
    span
        The largest difference that the scale allows; None: `span_of` the values.
    """
    values, full_values = (np.asarray(side, dtype=np.float64) for side in (values, full_values))
    if np.isin([values, full_values], (0, 1)).all():
        ones = np.ones_like(values)
        return rate_difference_interval(values, ones, full_values, ones, clusters)
    columns = np.column_stack([values - full_values, np.ones_like(values)])
    found = bootstrap_of_sums(columns, lambda s: s[:, 0] / s[:, 1], clusters, seed=seed)
    count, span = count_of(values, clusters), span or span_of(values, full_values)
    if found.estimate is None or found.lo is not None or span is None or count < 2:
        return found
    if not alike(values - full_values):
        return found
    unseen = 3 * span / count
    return Interval(found.estimate, max(-span, found.estimate - unseen), min(span, found.estimate + unseen))


def rate_difference_interval(
    events: ArrayLike,
    trials: ArrayLike,
    full_events: ArrayLike,
    full_trials: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
) -> Interval:
    """Return Σ events ÷ Σ trials − Σ full_events ÷ Σ full_trials with its interval; all of shape (pairs,).

    Agresti and Min's interval for paired rates: half a pair is added of each of the four kinds (both, either,
    neither), so it does not shrink to nothing where no pair differs. Pairs of a cluster count together, and
    trials that were none are left out, by the linear approximation of each rate. Agresti & Min, Statistics in
    Medicine 24, 2005.
    """
    columns = np.column_stack([events, trials, full_events, full_trials]).astype(np.float64)
    totals = _cluster_totals(columns, clusters)
    sums, count = totals.sum(axis=0), len(totals)
    if not (sums[1] > 0 and sums[3] > 0):
        return Interval(None, None, None)
    estimate = float(sums[0] / sums[1] - sums[2] / sums[3])
    if count < 2:
        return Interval(estimate, None, None)
    kinds = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1], [0, 1, 0, 1]]) * len(columns) / count
    sums = sums + kinds.sum(axis=0) / 2
    own, full = sums[0] / sums[1], sums[2] / sums[3]

    def residuals(pairs: Floats) -> Floats:
        return (pairs[:, 0] - own * pairs[:, 1]) / sums[1] - (pairs[:, 2] - full * pairs[:, 3]) / sums[3]

    variance = np.square(residuals(totals)).sum() + np.square(residuals(kinds)).sum() / 2
    half = _NORMAL * np.sqrt(variance)
    lo, hi = max(-1.0, own - full - half), min(1.0, own - full + half)
    return Interval(estimate, float(min(lo, estimate)), float(max(hi, estimate)))


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


def span_of(*sides: ArrayLike) -> float | None:
    """Return the largest difference between scores such as these: 1 if all lie in [0, 1], else unknown."""
    both = np.concatenate([np.ravel(side) for side in sides])
    return 1.0 if ((both >= 0) & (both <= 1)).all() else None


def student(count: int, confidence: float = CONFIDENCE) -> float:
    """Return the upper quantile of Student's t for the mean of so many."""
    from scipy import stats

    return float(stats.t.ppf((1 + confidence) / 2, count - 1))


def count_of(values: ArrayLike, clusters: Sequence[Hashable] | None) -> int:
    """Return how many clusters there are; without any, every value is one."""
    return len(set(clusters)) if clusters is not None else np.size(values)


def alike(values: ArrayLike) -> bool:
    """Return whether all values are the same, up to the rounding that subtracting leaves."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


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
