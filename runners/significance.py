"""Tests of a method's quality against the full model's, and what they could have shown."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from runners.statistics import alike, clustered_standard_error, count_of

SIGNIFICANT = 0.05


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return McNemar's exact two-sided p-value from the counts of discordant pairs; 1 if there are none.

    The pairs must be independent of each other. McNemar, Psychometrika 12, 1947.
    """
    discordant = only_first + only_second
    from scipy import stats  # a second to import, and a run needs it only at its end

    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def mcnemar_detectable(
    only_first: int, only_second: int, pairs: int, *, alpha: float = SIGNIFICANT, power: float = 0.8
) -> float | None:
    """Return the true difference of two rates that McNemar's exact test reveals with the given power.

    The rarer of the two kinds of discordant pairs is taken to be as frequent as it was, and the other more
    frequent by the difference. None where no difference is revealed so often: with 5 pairs or fewer never.
    """
    from scipy import stats

    background = min(only_first, only_second) / pairs if pairs else 0.0
    discordant = np.arange(pairs + 1)
    # Most pairs of one kind, of so many discordant ones, that are as few as 1 in 40 times: both tails reject.
    edge = stats.binom.ppf(alpha / 2, discordant, 0.5)
    edge -= stats.binom.cdf(edge, discordant, 0.5) > alpha / 2

    def revealed(difference: float) -> float:
        either = min(1.0, 2 * background + difference)
        often = stats.binom.pmf(discordant, pairs, either)
        rarer = stats.binom.cdf(edge, discordant, background / either)
        return float(often @ rarer)

    lo, hi = 0.0, 1 - 2 * background
    if hi <= 0 or revealed(hi) < power:
        return None
    while hi - lo > 1e-4:
        middle = (lo + hi) / 2
        lo, hi = (lo, middle) if revealed(middle) >= power else (middle, hi)
    return hi


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


def said_p(p: float) -> str:
    """Write a p-value behind its letter."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def quality_verdict(record: Mapping[str, Any], corrected: float | None) -> str | None:
    """Return what a run's difference in quality to the full model amounts to.

    Parameters
    ----------
    record
        Of metrics.
    corrected
        Its place in `corrected_p_values`.

    Returns
    -------
    str or None
        "lower" or "higher": so says the test. "perhaps lower" or "perhaps higher": there is no test, and the
        limits exclude 0. None: it cannot be told from 0; where there is a test, whatever the limits are.
    """
    delta, lo, hi = (record.get(f"quality_delta{end}") for end in ("", "_lo", "_hi"))
    if record.get("lossless") or not delta:
        return None
    direction = "lower" if delta < 0 else "higher"
    if corrected is not None:
        return direction if corrected < SIGNIFICANT else None
    return f"perhaps {direction}" if lo is not None and hi is not None and (lo > 0 or hi < 0) else None


def minimum_detectable_difference(
    differences: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    span: float | None = 1.0,
    alpha: float = SIGNIFICANT,
    power: float = 0.8,
) -> float | None:
    """Return the true mean difference that pairs like these would reveal with the given power.

    (t_{1−α/2} + t_{power}) times the cluster-robust standard error of the mean difference, with Student's t
    on G − 1 degrees of freedom for G clusters (2.8 standard errors when G is large), for a two-sided test at
    level α. Where no pair differs from another there is no spread to go by, and the rule of three stands in:
    3 ÷ G of the span, the share of conversations that could differ unseen with 95 % confidence.

    Parameters
    ----------
    differences
        Method minus full model, shape (pairs,).
    clusters
        One label a pair; None: every pair on its own.
    span
        The largest difference that the scale allows; None: unknown.

    Returns
    -------
    float or None
        In units of the differences; None with fewer than 2 clusters, and beyond the span.
    """
    error = clustered_standard_error(differences, clusters)
    if error is None:
        return None
    count = count_of(differences, clusters)
    if alike(differences):
        found = None if span is None else 3 * span / count
    else:
        from scipy import stats

        found = float(error * stats.t.ppf([1 - alpha / 2, power], df=count - 1).sum())
    return None if found is None or (span is not None and found > span) else found
