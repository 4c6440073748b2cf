"""95 % intervals from a cluster bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc, auroc_many
from probebench.metrics.bootstrap import Resamples, Sides
from probebench.metrics.delong import Z95
from probebench.metrics.power import auroc_covariance
from probebench.types import Floats, Interval

NEAR_END = 1e-3
"""Nearer to 0 or 1 than this an AUROC's resamples say nothing of its spread."""
HALVINGS = 40
Scale = Literal["logit", "below_one", "difference"]
ROUNDING = 1e-9
"""Nearer to 1 than this is 1: sums of fractions are not exact."""


def auroc_interval(draws: Resamples, y: NDArray[np.integer], scores: Floats) -> Interval:
    """Interval of the AUROC of (example,) scores, on the examples that `draws` resamples."""
    return area_interval(Side.of(draws, y, scores), draws)


def auroc_intervals(draws: Resamples, y: NDArray[np.integer], scores: Floats) -> list[Interval]:
    """Interval of each cell's AUROC from resamples of the groups of its own examples.

    A cell that lacks some examples is resampled as if the others had never been there: the interval
    is the one that its examples get in any table that is over just these.

    Args:
        draws: resamples of all examples.
        y: (example,) 1 = correct.
        scores: (cell, example), NaN where a cell lacks the example.
    """
    there = np.isfinite(scores)
    found = [Interval(float("nan"), float("nan"))] * len(scores)
    for mask in np.unique(there, axis=0):
        cells = np.flatnonzero((there == mask).all(axis=1))
        if not mask.any():
            continue
        own, truth, values = (
            draws.among(mask),
            np.asarray(y)[mask],
            scores[np.ix_(cells, np.flatnonzero(mask))],
        )
        groups, sides = own.independent(truth), own.sides(truth)
        for cell, *side in zip(
            cells.tolist(),
            auroc_many(truth, values).tolist(),
            own.auroc_many(truth, values),
            values,
            strict=True,
        ):
            found[cell] = _score_interval(Side(truth, *side), own, groups, sides)
    return found


def area_interval(side: Side, draws: Resamples) -> Interval:
    """95 % interval of an AUROC: the values t from which the observed one lies no further than
    Student's quantile times the standard error *at* t (a score interval).

    Near 1 the spread of the resamples says too little: with few wrong answers, all of them low by
    chance, it is small or nothing. So the standard error at t is that of two normal distributions
    that overlap as much (`auroc_covariance`), times the factor by which the bootstrap's variance at
    the observed value is larger; the factor is at least that of independent examples, as many
    as groups leave near its ends (`end_effect`). The interval of a perfect separation has a lower
    end by the same rule.

    Args:
        side: the AUROC.
        draws: whose resamples its replicates are.

    Returns:
        NaN when fewer than half of the replicates are defined, or a class is in no group; the value
        itself for scores that are all equal.
    """
    return _score_interval(side, draws, draws.independent(side.y), draws.sides(side.y))


def _score_interval(side: Side, draws: Resamples, groups: int, sides: Sides) -> Interval:
    """`area_interval` from the independent observations and classes of its examples."""
    from scipy.stats import t as student

    y, value, replicates, scores = side
    defined = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or groups < 2 or len(defined) < max(2, len(replicates) / 2):
        return Interval(float("nan"), float("nan"))
    if _says_nothing(value, defined):
        return Interval(0.5, 0.5)
    effect = draws.effect(value, sides, y, scores)
    inner = float(np.clip(value, NEAR_END, 1 - NEAR_END))
    by_group = auroc_covariance(inner, 1.0, sides.groups_correct, sides.groups_wrong)
    by_example = auroc_covariance(inner, 1.0, sides.correct / effect, sides.wrong / effect)
    found = defined.var(ddof=1) * groups / (groups - 1) if NEAR_END < value < 1 - NEAR_END else 0.0
    factor = max(found, by_example) / by_group
    reach = float(student.ppf(0.975, groups - 1)) ** 2 * factor

    def beyond(t: float) -> float:
        variance = auroc_covariance(t, 1.0, sides.groups_correct, sides.groups_wrong)
        return (value - t) ** 2 - reach * variance

    return Interval(_crossing(beyond, value, 0.0), _crossing(beyond, value, 1.0))


def _says_nothing(value: float, replicates: Floats) -> bool:
    """Are these of scores that are the same for all? Their AUROC is .5 in every sample."""
    return value == 0.5 and bool((replicates == 0.5).all())


def _crossing(beyond: Callable[[float], float], value: float, end: float) -> float:
    """Where a function that is not positive at `value` becomes so on the way to `end`."""
    inside, outside = value, end
    if value == end or beyond(end) <= 0:
        return end
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if beyond(middle) <= 0 else (inside, middle)
    return (inside + outside) / 2


class Side(NamedTuple):
    """One of two AUROCs that are compared on the same resamples."""

    y: NDArray[np.integer]
    """(example,) 1 = correct."""
    value: float
    replicates: Floats
    """(resample,), NaN = undefined there."""
    scores: Floats
    """(example,)."""

    @classmethod
    def of(cls, draws: Resamples, y: NDArray[np.integer], scores: Floats) -> Side:
        """Of (example,) scores, all finite."""
        return cls(y, auroc(y, scores), draws.auroc(y, scores), scores)


class Difference(NamedTuple):
    """A difference of two AUROCs."""

    interval: Interval
    se: float
    """Standard error; NaN where nothing is known."""
    groups: int
    """Independent observations behind it."""


def area_difference(draws: Resamples, a: Side, b: Side) -> Difference:
    """95 % interval of the AUROC of `a` minus that of `b`: Student's quantile times the standard
    error to either side, cut off at what a difference can be.

    The variance is the bootstrap's of the difference, and at least what it would be had each AUROC
    the least variance that its classes allow (`least_variance`), with the correlation that their
    resamples have: near 1, with few wrong answers, those of one say too little of its spread. That
    of scores that are the same for all has none. Where both order all examples alike the difference
    is 0 without a width.
    """
    from scipy.stats import t as student

    groups = min(draws.independent(a.y), draws.independent(b.y))
    there = np.isfinite(a.replicates) & np.isfinite(b.replicates)
    nothing = Difference(Interval(float("nan"), float("nan")), float("nan"), groups)
    if groups < 2 or there.sum() < max(2, len(there) / 2):
        return nothing
    widen = groups / (groups - 1)
    both = np.stack([a.replicates[there], b.replicates[there]])
    variance = float((both[0] - both[1]).var(ddof=1) * widen)
    own = np.array([part.var(ddof=1) * widen for part in both])
    silent = [_says_nothing(s.value, part) for s, part in zip((a, b), both, strict=True)]
    if variance > 0 or not _alike(a, b):
        together = float(own.sum() - variance) / 2  # their covariance
        shared = together / float(own.prod()) ** 0.5 if own.min() > 0 else 0.0
        first, second = (
            0.0 if none else max(float(v), _least(draws, side))
            for v, side, none in zip(own, (a, b), silent, strict=True)
        )
        variance = max(variance, first + second - 2 * shared * (first * second) ** 0.5)
    se, gap = variance**0.5, a.value - b.value
    half = float(student.ppf(0.975, groups - 1)) * se
    most = 0.5 if any(silent) else 1.0  # from .5 it is no further to 0 or 1
    return Difference(Interval(max(-most, gap - half), min(most, gap + half)), se, groups)


def _alike(a: Side, b: Side) -> bool:
    """Do two scores put all examples in one order, ties among them?"""
    from scipy.stats import rankdata

    return bool(np.array_equal(rankdata(a.scores), rankdata(b.scores)))


def _least(draws: Resamples, side: Side) -> float:
    sides = draws.sides(side.y)
    return least_variance(side.value, sides, draws.effect(side.value, sides, side.y, side.scores))


def least_variance(area: float, sides: Sides, effect: float = 1.0) -> float:
    """Least variance of an AUROC: that of independent examples with normal scores, at a value at
    least half an answer of the rarer class away from 0 and 1; `effect` answers that a group makes
    alike count as one."""
    correct, wrong = sides.correct / effect, sides.wrong / effect
    inner = 0.5 / max(1, min(correct, wrong))
    return auroc_covariance(float(np.clip(area, inner, 1 - inner)), 1.0, correct, wrong)


def difference_interval(draws: Resamples, y: NDArray[np.integer], a: Floats, b: Floats) -> Interval:
    """Interval of AUROC(a) - AUROC(b), paired: both on the same examples and the same resamples."""
    return area_difference(draws, Side.of(draws, y, a), Side.of(draws, y, b)).interval


def bootstrap_interval(
    value: float, replicates: Floats, groups: int, scale: Scale = "logit"
) -> Interval:
    """95 % interval from the spread of bootstrap values: Student's t times their standard
    deviation, on a scale without ends.

    The deviation is carried to the scale by its slope at `value` and multiplied by sqrt(G / (G -
    1)), because a cluster bootstrap of G groups understates the variance by that factor; t has G -
    1 degrees of freedom. In simulation this holds the truth nearer to 95 % than percentiles do,
    above all with few groups or few wrong answers (docs/protocol.md).

    Args:
        value: of the sample itself.
        replicates: (resample,), NaN = undefined there.
        groups: G, independent observations.
        scale: `logit` for values between 0 and 1; `below_one` for values up to 1, by log(1 -
            value); `difference` for differences of values between 0 and 1.

    Returns:
        NaN when fewer than half of the replicates are defined or G < 2, or where a value of
        `below_one` is 1. A proportion that is 0 or 1 in every resample gets the interval of Clopper
        and Pearson (1934) for G observations that are all alike.
    """
    from scipy.stats import t as student

    defined = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or groups < 2 or len(defined) < max(2, len(replicates) / 2):
        return Interval(float("nan"), float("nan"))
    half = float(
        student.ppf(0.975, groups - 1) * defined.std(ddof=1) * np.sqrt(groups / (groups - 1))
    )
    if scale == "difference":
        return Interval(max(-1.0, value - half), min(1.0, value + half))
    if scale == "below_one":
        if value > 1 - ROUNDING:
            return Interval(float("nan"), float("nan"))  # no scale goes through its end
        grow = float(np.exp(half / (1 - value)))
        return Interval(1 - (1 - value) * grow, 1 - (1 - value) / grow)
    if value in (0.0, 1.0):
        alike = 0.025 ** (1 / groups)
        return Interval(alike, 1.0) if value else Interval(0.0, 1 - alike)
    ratio, grow = (1 - value) / value, float(np.exp(half / (value * (1 - value))))
    return Interval(1 / (1 + ratio * grow), 1 / (1 + ratio / grow))


def mean_interval(values: Floats) -> Interval:
    """Student's 95 % interval of the mean of independent values; NaN below two."""
    from scipy.stats import t as student

    n = len(values)
    if n < 2:
        return Interval(float("nan"), float("nan"))
    centre, half = (
        float(np.mean(values)),
        float(student.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / n**0.5,
    )
    return Interval(centre - half, centre + half)


def wilson(k: float, n: int) -> Interval:
    """95 % score interval of a share of k in n independent observations (Wilson 1927); the whole
    range where n is 0."""
    if n == 0:
        return Interval(0.0, 1.0)
    share, z2 = k / n, Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * float(np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)))
    # rounding at 0 and 1
    return Interval(min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))
