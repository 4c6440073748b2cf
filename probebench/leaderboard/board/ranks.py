"""Rank groups: rows that do not differ significantly share one; a third decimal decides nothing.

The AUROC is a U-statistic, so to first order it is a sum of one number per example (DeLong et al.
1988). Added up within groups of examples (Obuchowski 1997) these numbers give the variance of an
AUROC, and of the difference of two AUROCs measured on the same questions, without resampling: a
thousand rows are compared with each other in a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.delong import placements
from probebench.types import Floats

ALPHA = 0.05
"""Of all comparisons of one leader together (Holm 1979)."""
ROUNDING = 1e-12
"""A variance of a difference below this share of its parts is rounding: the two rows are one
measurement."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """An AUROC and how uncertain it is."""

    auroc: float
    se: float
    """Standard error; NaN where none is known, and then the row cannot be ranked."""
    influence: NDArray[np.float32] | None = None
    """(group,) how much each group of questions moves it, in one order for all estimates compared,
    0 for groups it was not measured on; None where there are no decisions per example."""


def influence(
    label: NDArray[np.integer], score: Floats, group: NDArray[np.integer], n_groups: int
) -> NDArray[np.float32] | None:
    """(n_groups,) sums per group of each example's influence on the AUROC; None when a class is
    missing.

    Args:
        label: (example,) 1 = correct.
        score: (example,), finite.
        group: (example,) index of the group that an example belongs to, below `n_groups`.
        n_groups: length of the result.
    """
    positive = label == 1
    correct, wrong = placements(label, score)
    if not len(correct) or not len(wrong):
        return None
    each = np.empty(len(score))
    each[positive], each[~positive] = (
        (correct - correct.mean()) / len(correct),
        (wrong - correct.mean()) / len(wrong),
    )
    return np.bincount(group, weights=each, minlength=n_groups).astype(np.float32)


def standard_error(influences: NDArray[np.float32]) -> Floats:
    """Standard errors from (..., group) sums, with the small-sample factor of the groups that took
    part."""
    there = np.count_nonzero(influences, axis=-1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.where(there > 1, there / (there - 1), 1.0)
    return np.asarray(np.sqrt(np.square(influences, dtype=np.float64).sum(axis=-1) * factor))


def difference_se(estimates: Sequence[Estimate]) -> Floats:
    """(row, row) standard error of each difference: paired where both have influences, else as if
    independent."""
    alone = np.array([e.se for e in estimates])
    variance = alone[:, None] ** 2 + alone**2
    paired = [i for i, e in enumerate(estimates) if e.influence is not None]
    if paired:
        rows = np.stack([np.asarray(estimates[i].influence, dtype=np.float64) for i in paired])
        own = np.square(rows).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            rows *= np.where(own > 0, alone[paired] / np.sqrt(own), 0.0)[
                :, None
            ]  # brings in the factor of each row's se
        shared = 2 * (rows @ rows.T)
        both = np.ix_(paired, paired)
        variance[both] = np.where(
            shared < variance[both] * (1 - ROUNDING), variance[both] - shared, 0.0
        )
    return np.asarray(np.sqrt(variance))


def p_values(difference: Floats, se: Floats) -> Floats:
    """Two-sided p of differences under the normal approximation; 1 where there is no difference at
    all."""
    from scipy.special import ndtr

    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(difference == 0, 0.0, np.abs(difference) / se)
    return np.asarray(2 * ndtr(-z))


def holm(p: Floats, alpha: float = ALPHA) -> NDArray[np.bool_]:
    """Which hypotheses fall at a family-wise error of `alpha` (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    passed = p[order] <= alpha / np.arange(len(p), 0, -1)
    rejected = np.zeros(len(p), dtype=bool)
    rejected[order] = np.logical_and.accumulate(passed)
    return rejected


def rank_groups(estimates: Sequence[Estimate]) -> list[int | None]:
    """The rank group of each estimate, 1 = best; None for one without an AUROC or a standard error.

    Sorted by AUROC, the highest leads group 1. Going down, the first that is significantly lower
    than the leader (Holm over all rows below the leader) leads the next group, and so on. A row of
    little precision therefore never climbs above a better one.
    """
    known = [i for i, e in enumerate(estimates) if np.isfinite(e.auroc) and np.isfinite(e.se)]
    order = sorted(known, key=lambda i: -estimates[i].auroc)
    value, se = (
        np.array([estimates[i].auroc for i in order]),
        difference_se([estimates[i] for i in order]),
    )
    groups: list[int | None] = [None] * len(estimates)
    start, group = 0, 0
    while start < len(order):
        group += 1
        below = slice(start + 1, None)
        lower = np.flatnonzero(holm(p_values(value[start] - value[below], se[start, below])))
        end = start + 1 + int(lower[0]) if len(lower) else len(order)
        for i in order[start:end]:
            groups[i] = group
        start = end
    return groups
