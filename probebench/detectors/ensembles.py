"""Several cells together: the mean of the best, and a stack of the best of each position. Test
chooses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.probes.choose import first_best
from probebench.probes.labels import Labels
from probebench.probes.many_fits import BatchedFits
from probebench.states.positions import POSITIONS
from probebench.types import EMB, CellFit, Detector, Floats, When, split_index

SIZES = (2, 3, 5, 8, 13, 21, 34)
"""Numbers of cells tried for the mean. One cell is the selected probe itself, which has its own
row."""
STACK_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse L2 strengths of the stack: validation is small and has chosen the cells already, so
strong penalties are in place."""
FOLDS = 5
COVERAGE = 0.9
"""Part of the selected cell's train and validation examples that a cell must cover to be combined
with it."""


def ensembles(
    fits: Sequence[CellFit], labels: Labels, chosen: CellFit, *, given: bool = False
) -> list[Detector]:
    """`ensemble_mean` and `ensemble_stacked` over the blocks of the selected cell's site, where
    there are cells to combine.

    The mean is over the k best cells of all; the stack weighs the best cell of every position.

    Decisions are standardised by their mean and deviation over validation: on train they are those
        of a probe that has seen
    the labels, wider than what it says of new examples, and by how much differs from cell to cell.
    An ensemble scores exactly the examples that the selected cell scores; a cell that lacks one of
    them is left out of that example's mean or sum, so that rare tokens cost no examples.

    Args:
        fits: every cell's probe.
        labels: labels, splits and groups.
        chosen: the selected cell.
        given: True for statements, where everything is readable before.
    """
    used = candidates(fits, labels, chosen)
    validation = split_index(labels.splits)["validation"]
    validation = validation[np.isfinite(chosen.decisions[validation])]
    if len(used) < 2:
        return []
    Z = standardised(used, validation)
    Z[:, ~np.isfinite(chosen.decisions)] = np.nan
    first: dict[str, int] = {}
    for i, f in enumerate(used):
        first.setdefault(f.cell.position, i)
    places = list(first.values())
    stack = (
        _stack(Z[places], [used[i] for i in places], labels, validation) if len(places) > 1 else []
    )
    found = [_mean(Z, used, labels, validation), *stack]
    return [replace(d, when="before") for d in found] if given else found


def candidates(fits: Sequence[CellFit], labels: Labels, chosen: CellFit) -> list[CellFit]:
    """Cells that may be combined, the best on validation first; ties stay in the order of the
    map."""
    seen = np.isfinite(chosen.decisions) & (np.asarray(labels.splits) != "test")
    found = [
        f
        for f in fits
        if f.cell.site == chosen.cell.site
        and f.cell.layer != EMB
        and not f.masked
        and np.isfinite(f.validation_auroc)
        and np.isfinite(f.decisions[seen]).mean() >= COVERAGE
    ]
    return sorted(found, key=lambda f: -f.validation_auroc)


def standardised(fits: Sequence[CellFit], rows: NDArray[np.int64]) -> Floats:
    """(cell, example) decisions with mean 0 and deviation 1 over `rows`, NaN where absent; 0 for a
    cell that never varies."""
    D = np.array([f.decisions for f in fits])
    mean, sd = (
        np.nanmean(D[:, rows], axis=1, keepdims=True),
        np.nanstd(D[:, rows], axis=1, keepdims=True),
    )
    return np.asarray((D - mean) / np.where(sd > 0, sd, np.inf))


def _mean(
    Z: Floats, used: Sequence[CellFit], labels: Labels, validation: NDArray[np.int64]
) -> Detector:
    sizes = [k for k in SIZES if k < len(used)] + ([len(used)] if len(used) <= SIZES[-1] else [])
    y = labels.y[validation]
    tried = {k: auroc(y, present_mean(Z[:k, validation])) for k in sizes}
    k = max(
        tried, key=lambda size: tried[size]
    )  # max keeps the first, and so the fewest cells, on a tie
    detail = {
        "k": k,
        "k_tried": list(sizes),
        "validation_auroc": tried[k],
        "cells": [_facts(f) for f in used[:k]],
    }
    return Detector(
        "ensemble_mean",
        f"mean of {k} cells",
        present_mean(Z[:k]),
        "ensemble",
        _when(used[:k]),
        detail,
    )


def present_mean(Z: Floats) -> Floats:
    """(example,) mean of (cell, example) over the cells that are there; NaN where none is."""
    n = np.isfinite(Z).sum(axis=0)
    return np.where(n > 0, np.nansum(Z, axis=0) / np.maximum(n, 1), np.nan)


def _stack(
    Z: Floats, used: Sequence[CellFit], labels: Labels, validation: NDArray[np.int64]
) -> list[Detector]:
    """Logistic regression on decisions, fitted on validation, since the cells have seen train; C by
    folds of groups inside it.

    Validation examples get the decision of the fit that left out their fold, so that thresholds and
    probabilities placed on them are not placed on what the stack knows by heart.
    """
    rows, there = validation, np.isfinite(Z).any(axis=0)
    X = np.nan_to_num(Z.T).astype(
        np.float32
    )  # after standardising, 0 leaves a cell's term out of the sum
    y, folds = labels.y[rows], _folds(labels, rows)
    values = np.full((FOLDS, len(STACK_GRID)), np.nan)
    for fold in range(FOLDS):
        fit_on, held = rows[folds != fold], rows[folds == fold]
        if len(np.unique(labels.y[fit_on])) == 2 == len(np.unique(labels.y[held])):
            decisions = _fit(X, fit_on, labels, STACK_GRID)
            # averaged over folds, not pooled: intercepts of folds differ, against the balance of
            # what was held out
            values[fold] = [auroc(labels.y[held], d[held]) for d in decisions]
    means = present_mean(values)
    best = first_best(means)
    if best is None or len(np.unique(y)) < 2:
        return []
    decisions = np.where(there, _fit(X, rows, labels, (STACK_GRID[best],))[0], np.nan)
    decisions[rows] = _left_out(X, rows, labels, folds, STACK_GRID[best]) + decisions[rows].mean()
    detail = {
        "k": len(used),
        "cells": [_facts(f) for f in used],
        "C": STACK_GRID[best],
        "fitted_on": "validation",
        "folds": FOLDS,
        "cross_validated_auroc": float(means[best]),
        "n_fit": len(rows),
    }
    return [
        Detector(
            "ensemble_stacked",
            f"stack of {len(used)} cells",
            decisions,
            "ensemble",
            _when(used),
            detail,
        )
    ]


def _left_out(
    X: NDArray[np.float32],
    rows: NDArray[np.int64],
    labels: Labels,
    folds: NDArray[np.int64],
    C: float,
) -> Floats:
    """(row,) decisions of fits without the row's own fold, around 0; NaN for all where the rest of
    a fold holds one class only."""
    found = np.full(len(rows), np.nan)
    for fold in np.unique(folds):
        fit_on, held = rows[folds != fold], rows[folds == fold]
        if len(np.unique(labels.y[fit_on])) < 2:
            return np.full(len(rows), np.nan)
        # C counts against a sum over examples: with fewer of them weights would be shorter, and
        # decisions nearer together
        decisions = _fit(X, fit_on, labels, (C * len(rows) / len(fit_on),))[0]
        found[folds == fold] = (
            decisions[held] - decisions[fit_on].mean()
        )  # without the fold's own intercept
    return found


def _fit(
    X: NDArray[np.float32], rows: NDArray[np.int64], labels: Labels, grid: Sequence[float]
) -> Floats:
    """(C, example) decisions of L2 logistic regressions fitted on `rows`."""
    return BatchedFits(X, rows).decisions(np.tile(labels.y[rows], (len(grid), 1)), grid)[0]


def _folds(labels: Labels, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(row,) fold of each row: groups, the largest first, each into the fold that holds fewest
    examples."""
    groups = np.asarray(labels.groups or np.arange(len(labels.y)))[rows]
    _, own, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    load, fold = np.zeros(FOLDS, dtype=np.int64), np.zeros(len(sizes), dtype=np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        fold[group] = load.argmin()
        load[fold[group]] += sizes[group]
    return np.asarray(fold[own])


def _when(fits: Sequence[CellFit]) -> When:
    """Readable when the last of its cells is."""
    return "after" if any(POSITIONS[f.cell.position].when == "after" for f in fits) else "before"


def _facts(fit: CellFit) -> dict[str, Any]:
    return {
        "layer": fit.cell.row,
        "position": fit.cell.position,
        "validation_auroc": fit.validation_auroc,
    }
