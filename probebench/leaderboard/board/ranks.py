"""Rank groups: rows that do not differ significantly share one; a third decimal decides nothing.

The AUROC is a U-statistic, so to first order it is a sum of one number per example (DeLong et al.
1988). Added up within groups of examples (Obuchowski 1997) these numbers give the variance of an
AUROC, and of the difference of two AUROCs measured on the same questions, without resampling: a
thousand rows are compared with each other in a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.delong import placements
from probebench.metrics.power import end_effect
from probebench.types import Floats

ALPHA = 0.05
"""Of all comparisons of one leader together."""
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


@dataclass(frozen=True, slots=True, eq=False)
class Influence:
    """How much each group of questions moves an AUROC."""

    sums: NDArray[np.float32]
    """(group,) of each example's influence on it."""
    groups: int
    """Groups that hold an answer of the class of which fewer do."""
    effect: float
    """By how much groups raise its variance beyond what the sums show (`end_effect`)."""

    def among(self, n_groups: int) -> Influence:
        """The same with groups that follow and were not measured."""
        return replace(self, sums=np.pad(self.sums, (0, n_groups - len(self.sums))))


def influence(
    label: NDArray[np.integer], score: Floats, group: NDArray[np.integer], n_groups: int
) -> Influence | None:
    """How much each group moves the AUROC; None when a class is missing.

    Args:
        label: (example,) 1 = correct.
        score: (example,), finite.
        group: (example,) index of the group that an example belongs to, below `n_groups`.
        n_groups: length of the sums.
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
    sums = np.bincount(group, weights=each, minlength=n_groups).astype(np.float32)
    fewer = min(len(np.unique(group[label == k])) for k in (0, 1))
    return Influence(sums, fewer, end_effect(float(correct.mean()), fewer, label, score, group))


def standard_error(sums: NDArray[np.float32], groups: int) -> float:
    """Standard error from (group,) sums, with the small-sample factor of the class that fewer
    groups hold."""
    factor = groups / (groups - 1) if groups > 1 else 1.0
    return float(np.sqrt(np.square(sums, dtype=np.float64).sum() * factor))


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


def step_down(p: Floats, tests: NDArray[np.integer], alpha: float = ALPHA) -> NDArray[np.bool_]:
    """Which hypotheses fall: the smallest p at or below `alpha` by the first number of tests, the
    next by the second, until one stays.

    Args:
        p: (hypothesis,).
        tests: (hypothesis,) among how many tests the first, second ... has to hold; n, n - 1 ... 1
            is Holm (1979).
    """
    order = np.argsort(p, kind="stable")
    fallen = np.zeros(len(p), dtype=bool)
    fallen[order] = np.logical_and.accumulate(p[order] <= alpha / tests)
    return fallen


def below_leader(p: Floats) -> NDArray[np.bool_]:
    """Which rows are lower than the leader, of all of which it is the highest: any pair of k rows
    might have been the one that is looked at, so the first has to hold among k (k - 1) / 2, the
    next among the pairs of those that are left.

    Args:
        p: (row below the leader,) of its difference to the leader.
    """
    left = np.arange(len(p) + 1, 1, -1)
    return step_down(p, left * (left - 1) // 2)


def rank_groups(estimates: Sequence[Estimate]) -> list[int | None]:
    """The rank group of each estimate, 1 = best; None for one without an AUROC or a standard error.

    Sorted by AUROC, the highest leads group 1. Going down, the first that is significantly lower
    than the leader (`below_leader`) leads the next group, and so on. A row of
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
        p = p_values(value[start] - value[below], se[start, below])
        lower = np.flatnonzero(below_leader(p))
        end = start + 1 + int(lower[0]) if len(lower) else len(order)
        for i in order[start:end]:
            groups[i] = group
        start = end
    return groups
