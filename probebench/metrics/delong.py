"""DeLong's interval of an AUROC and of the difference of two, by midranks; examples independent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import midranks
from probebench.types import Floats, Interval

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


def delong_interval(y: NDArray[np.integer], scores: Floats) -> Interval:
    """95 % interval of the AUROC after DeLong et al. (1988), by midranks (Sun and Xu 2014),
    examples independent."""
    return _normal_interval(*placements(y, scores), 0.0)


def delong_difference(y: NDArray[np.integer], a: Floats, b: Floats) -> Interval:
    """95 % interval of AUROC(a) - AUROC(b) on the same examples, by DeLong's covariance of two
    correlated curves (1988).

    The variance of the difference is that of the differences of the placements, so the covariance
    needs no matrix.
    """
    (a1, a0), (b1, b0) = placements(y, a), placements(y, b)
    return _normal_interval(a1 - b1, a0 - b0, -1.0)


def placements(y: NDArray[np.integer], scores: Floats) -> tuple[Floats, Floats]:
    """Of each correct answer the share of wrong ones below it, and of each wrong one the share of
    correct ones above it."""
    from scipy.stats import rankdata

    positive, negative = scores[y == 1], scores[y == 0]
    n1, n0 = len(positive), len(negative)
    if not n1 or not n0:
        return np.full(n1, np.nan), np.full(n0, np.nan)
    ranks = rankdata(np.concatenate([positive, negative]))
    return (ranks[:n1] - rankdata(positive)) / n0, 1 - (ranks[n1:] - rankdata(negative)) / n1


def _normal_interval(v1: Floats, v0: Floats, lowest: float) -> Interval:
    """Mean of `v1` and normal interval from two independent sets of placements; NaN with fewer than
    two in either."""
    if len(v1) < 2 or len(v0) < 2:
        return Interval(float("nan"), float("nan"))
    half = Z95 * float(np.sqrt(v1.var(ddof=1) / len(v1) + v0.var(ddof=1) / len(v0)))
    centre = float(v1.mean())
    return Interval(max(lowest, centre - half), min(1.0, centre + half))


def delong_many(y: NDArray[np.integer], scores: Floats) -> tuple[Floats, Floats]:
    """Lower and upper ends, both (cell,), of `delong_interval` for every cell of (cell, example)
    scores."""
    positive = np.asarray(y) == 1
    ranks = midranks(scores)
    there = np.isfinite(ranks)
    n1, n0 = (
        there[:, rows].sum(axis=1, keepdims=True).astype(np.float64)
        for rows in (positive, ~positive)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        v1 = (ranks[:, positive] - midranks(scores[:, positive])) / n0
        v0 = 1 - (ranks[:, ~positive] - midranks(scores[:, ~positive])) / n1
        parts = [(v, n, np.nansum(v, axis=1, keepdims=True) / n) for v, n in ((v1, n1), (v0, n0))]
        variances = [
            np.nansum((v - mean) ** 2, axis=1, keepdims=True) / (n - 1) / n for v, n, mean in parts
        ]
        half, centre = Z95 * np.sqrt(variances[0] + variances[1])[:, 0], parts[0][2][:, 0]
    half[((n1 < 2) | (n0 < 2))[:, 0]] = np.nan  # one example of a class has no variance to estimate
    return np.maximum(0.0, centre - half), np.minimum(1.0, centre + half)
