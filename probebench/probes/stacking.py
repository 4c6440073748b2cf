"""A stack: logistic regression on decisions of several detectors, fitted on validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.probes.choose import first_best
from probebench.probes.many_fits import BatchedFits
from probebench.types import Floats

GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse L2 strengths: validation is small and has chosen what is stacked already, so strong
penalties are in place."""
FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """One fitted stack."""

    decisions: Floats
    """(example,) of the whole fit; of the examples that it was fitted on, of a fit without their
    fold, so that thresholds placed on them are not placed on what the stack knows by heart."""
    C: float
    cross_validated_auroc: float
    """Mean over the folds."""


def stack(
    X: Floats, y: NDArray[np.integer], rows: NDArray[np.int64], groups: Sequence[str]
) -> Stack | None:
    """Logistic regression on `rows`, C by folds of whole groups inside them.

    Args:
        X: (example, feature), finite, of similar spread.
        y: (example,) 1 = correct.
        rows: examples to fit on, those of validation.
        groups: (example,) never parted by a fold.

    Returns:
        None where the rows do not hold both classes often enough.
    """
    y, X32 = np.asarray(y), np.asarray(X, dtype=np.float32)
    if len(np.unique(y[rows])) < 2:
        return None
    folds = _folds([groups[i] for i in rows.tolist()])
    values = _by_fold(X32, y, rows, folds)
    n = np.isfinite(values).sum(axis=0)
    means = np.where(n > 0, np.nansum(values, axis=0) / np.maximum(n, 1), np.nan)
    best = first_best(means)
    if best is None:
        return None
    decisions = _fit(X32, y, rows, GRID[best : best + 1])[0]
    decisions[rows] = _left_out(X32, y, rows, folds, GRID[best]) + decisions[rows].mean()
    return Stack(decisions, GRID[best], float(means[best]))


def _by_fold(
    X: NDArray[np.float32],
    y: NDArray[np.integer],
    rows: NDArray[np.int64],
    folds: NDArray[np.int64],
) -> Floats:
    """(fold, C) AUROC on the rows of a fold of a fit to the others; NaN where a class is missing.

    They are averaged, not pooled: intercepts of folds differ, against the balance of what was held
    out.
    """
    values = np.full((FOLDS, len(GRID)), np.nan)
    for fold in range(FOLDS):
        fit_on, held = rows[folds != fold], rows[folds == fold]
        if len(np.unique(y[fit_on])) == 2 == len(np.unique(y[held])):
            values[fold] = [auroc(y[held], d[held]) for d in _fit(X, y, fit_on, GRID)]
    return values


def _left_out(
    X: NDArray[np.float32],
    y: NDArray[np.integer],
    rows: NDArray[np.int64],
    folds: NDArray[np.int64],
    C: float,
) -> Floats:
    """(row,) decisions of fits without the row's own fold, around 0; NaN for all where the rest of
    a fold holds one class only."""
    found = np.full(len(rows), np.nan)
    for fold in np.unique(folds):
        fit_on, held = rows[folds != fold], rows[folds == fold]
        if len(np.unique(y[fit_on])) < 2:
            return np.full(len(rows), np.nan)
        # C counts against a sum over examples: with fewer of them weights would be shorter, and
        # decisions nearer together
        decisions = _fit(X, y, fit_on, (C * len(rows) / len(fit_on),))[0]
        # without the fold's own intercept
        found[folds == fold] = decisions[held] - decisions[fit_on].mean()
    return found


def _fit(
    X: NDArray[np.float32], y: NDArray[np.integer], rows: NDArray[np.int64], grid: Sequence[float]
) -> Floats:
    """(C, example) decisions of L2 logistic regressions fitted on `rows`."""
    labels = np.tile(y[rows].astype(np.int64), (len(grid), 1))
    return BatchedFits(X, rows).decisions(labels, grid)[0]


def _folds(groups: Sequence[str]) -> NDArray[np.int64]:
    """(row,) fold of each row: groups, the largest first, each into the fold that holds fewest
    examples."""
    _, own, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    load, fold = np.zeros(FOLDS, dtype=np.int64), np.zeros(len(sizes), dtype=np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        fold[group] = load.argmin()
        load[fold[group]] += sizes[group]
    return np.asarray(fold[own])
