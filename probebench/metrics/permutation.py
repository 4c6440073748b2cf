"""P-values from shuffled labels: of a cell, of the best of many, and adjusted for their number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from probebench.types import Floats

NO_SPREAD = 1e-12
"""A null with a smaller standard deviation than this is one value and rounding."""


def permutation_p(observed: Floats, null: Floats) -> Floats:
    """(cell,) one-sided p of an AUROC as large as the observed one, with a resolution finer than 1
    / (labellings + 1).

    The null of a cell is taken as normal with unknown mean and variance, so one more draw from it
    lies beyond the observed value with the upper tail of Student's t: t = (observed - mean) / (sd
    sqrt(1 + 1 / B)), B - 1 degrees of freedom (the predictive interval of a further observation).
    The AUROC of permuted labels is near normal from some 20 of each class on.

    Args:
        observed: (cell,), NaN = masked.
        null: (cell, labelling), NaN = undefined for that labelling.

    Returns:
        NaN where the observed value or fewer than two of the null are defined; 1 where the null has
        no spread.
    """
    from scipy.stats import t as student

    b = np.isfinite(null).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(null, axis=1) / b
        sd = np.sqrt(np.nansum((null - mean[:, None]) ** 2, axis=1) / (b - 1))
        p = student.sf((observed - mean) / (sd * np.sqrt(1 + 1 / b)), b - 1)
    p = np.where(sd > NO_SPREAD, p, 1.0)
    return np.asarray(np.where(np.isfinite(observed) & (b >= 2), p, np.nan))


def max_statistic_p(observed: Floats, null: Floats) -> float:
    """p of the best cell of a map under no signal anywhere: (1 + labellings whose best cell is at
    least as good) / (1 + B).

    One labelling permutes all cells at once, so the maximum carries their dependence and needs no
    correction for their number (Westfall and Young 1993). Cells differ in how many examples they
    have, and the smallest would always hold the maximum; so every cell is first centred and scaled.
    Its mean and deviation are taken over the observed value and the null together: only then are
    all B + 1 maps exchangeable, and the p exact for any B.

    Args:
        observed: (cell,) AUROC, NaN = masked; masked cells take no part.
        null: (cell, labelling), the same labelling for all cells of a column.
    """
    both = np.column_stack([observed, null])[np.isfinite(observed)]
    n = np.isfinite(both).sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = both - np.nansum(both, axis=1, keepdims=True) / n
        sd = np.sqrt(np.nansum(centred**2, axis=1, keepdims=True) / (n - 1))
    used = (sd > NO_SPREAD)[:, 0]
    if not used.any():
        return float("nan")
    z = centred[used] / sd[used]
    best = np.where(np.isfinite(z), z, -np.inf).max(axis=0)
    return float((1 + (best[1:] >= best[0]).sum()) / len(best))


def fdr_once(p: Floats, first: NDArray[np.int64]) -> Floats:
    """(test,) as `fdr`, tests that are one and the same counted once.

    Args:
        p: (test,).
        first: (test,) of each the first one that is the same, or itself.
    """
    own = first == np.arange(len(first))
    q = np.full(len(p), np.nan)
    q[own] = fdr(np.asarray(p)[own])
    return q[first]


def fdr(p: Floats) -> Floats:
    """p adjusted after Benjamini and Hochberg (1995), in the shape of `p`: the lowest false
    discovery rate that admits each.

    NaN stays NaN and does not count as a test.
    """
    from scipy.stats import false_discovery_control

    out = np.full(np.shape(p), np.nan)
    tested = np.isfinite(p)
    if tested.any():
        out[tested] = false_discovery_control(np.asarray(p)[tested])
    return out
