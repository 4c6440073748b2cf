"""Several cells together: the mean of the best, and a stack of the best of each position. Test
chooses nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.registry import Description, Need, Scores, detector
from probebench.metrics.auroc import auroc
from probebench.probes.labels import Labels, split_index
from probebench.probes.stacking import FOLDS, stack
from probebench.states.positions import POSITIONS
from probebench.types import EMB, CellFit, Floats, When

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.stage import Runner

CELLS: frozenset[Need] = frozenset({"cells"})
SIZES = (2, 3, 5, 8, 13, 21, 34)
"""Numbers of cells tried for the mean. One cell is the selected probe itself, which has its own
row."""
COVERAGE = 0.9
"""Part of the selected cell's train and validation examples that a cell must cover to be combined
with it."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Cells that may be combined."""

    fits: tuple[CellFit, ...]
    """The best on validation first."""
    Z: Floats
    """(cell, example) standardised decisions, NaN where the cell, or the selected one, has none."""
    rows: NDArray[np.int64]
    """Validation examples that the selected cell scores."""


def candidates_of(fits: Sequence[CellFit], labels: Labels, chosen: CellFit) -> Candidates | None:
    """What may be combined with the selected cell; None where there is nothing.

    Decisions are standardised by their mean and deviation over validation: on train they are those
    of a probe that has seen the labels, wider than what it says of new examples, and by how much
    differs from cell to cell. An ensemble scores exactly the examples that the selected cell
    scores; a cell that lacks one of them is left out of that example's mean or sum, so that rare
    tokens cost no examples.

    Args:
        fits: every cell's probe.
        labels: labels, splits and groups.
        chosen: the selected cell.
    """
    used = candidates(fits, labels, chosen)
    rows = split_index(labels.splits)["validation"]
    rows = rows[np.isfinite(chosen.decisions[rows])]
    if len(used) < 2:
        return None
    Z = standardised(used, rows)
    Z[:, ~np.isfinite(chosen.decisions)] = np.nan
    return Candidates(tuple(used), Z, rows)


@detector(
    Description(
        name="ensemble_mean",
        of_answers="mean of {k} cells",
        of_statements="mean of {k} cells",
        kind="ensemble",
        when=None,
        needs=CELLS,
        skip="ensembles",
    )
)
def ensemble_mean(data: RunData, runner: Runner) -> Iterator[Scores]:
    """The mean over the k best cells of the selected cell's site."""
    found = candidates_of(data.fits, data.labels, data.chosen)
    if found and (scores := mean_of_best(found, data.labels)):
        yield scores


@detector(
    Description(
        name="ensemble_stacked",
        of_answers="stack of {k} cells",
        of_statements="stack of {k} cells",
        kind="ensemble",
        when=None,
        needs=CELLS,
        skip="ensembles",
    )
)
def ensemble_stacked(data: RunData, runner: Runner) -> Iterator[Scores]:
    """The best cell of every position, weighed."""
    found = candidates_of(data.fits, data.labels, data.chosen)
    if found and (scores := stack_of_positions(found, data.labels)):
        yield scores


def candidates(fits: Sequence[CellFit], labels: Labels, chosen: CellFit) -> list[CellFit]:
    """Cells that may be combined, the best on validation first; ties stay in the order of the
    map. Columns that are one token in every example are one cell."""
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
    once = {(f.cell.layer, f.decisions.tobytes()): f for f in reversed(found)}
    kept = [f for f in found if once[f.cell.layer, f.decisions.tobytes()] is f]
    return sorted(kept, key=lambda f: -f.validation_auroc)


def standardised(fits: Sequence[CellFit], rows: NDArray[np.int64]) -> Floats:
    """(cell, example) decisions with mean 0 and deviation 1 over `rows`, NaN where absent; 0 for a
    cell that never varies."""
    D = np.array([f.decisions for f in fits])
    mean, sd = (
        np.nanmean(D[:, rows], axis=1, keepdims=True),
        np.nanstd(D[:, rows], axis=1, keepdims=True),
    )
    return np.asarray((D - mean) / np.where(sd > 0, sd, np.inf))


def mean_of_best(found: Candidates, labels: Labels) -> Scores | None:
    """The mean over as many of the best cells as do best on validation.

    Only of so many that one of them is there wherever the selected cell is: the best may be cells
    that are barred from selection because their token is rare, alone.

    Returns:
        None where no such number of cells is.
    """
    used, Z = found.fits, found.Z
    sizes = [k for k in SIZES if k < len(used)] + ([len(used)] if len(used) <= SIZES[-1] else [])
    there = np.isfinite(Z).any(axis=0)  # where the selected cell is, which is one of them
    sizes = [k for k in sizes if np.isfinite(Z[:k, there]).any(axis=0).all()]
    if not sizes:
        return None
    y = labels.y[found.rows]
    tried = {k: auroc(y, present_mean(Z[:k, found.rows])) for k in sizes}
    k = max(tried, key=lambda size: tried[size])  # the first, so the fewest cells, on a tie
    detail = {
        "k": k,
        "k_tried": list(sizes),
        "validation_auroc": tried[k],
        "cells": [_facts(f) for f in used[:k]],
    }
    return Scores("ensemble_mean", present_mean(Z[:k]), detail, _when(used[:k]))


def present_mean(Z: Floats) -> Floats:
    """(example,) mean of (cell, example) over the cells that are there; NaN where none is."""
    n = np.isfinite(Z).sum(axis=0)
    return np.where(n > 0, np.nansum(Z, axis=0) / np.maximum(n, 1), np.nan)


def stack_of_positions(found: Candidates, labels: Labels) -> Scores | None:
    """Logistic regression on decisions of the best cell of every position, fitted on validation,
    since the cells have seen train; C by folds of groups inside it.

    Returns:
        None where only one position has a cell, or validation does not hold both classes.
    """
    first: dict[str, int] = {}
    for i, f in enumerate(found.fits):
        first.setdefault(f.cell.position, i)
    places, rows = list(first.values()), found.rows
    if len(places) < 2:
        return None
    used, Z = [found.fits[i] for i in places], found.Z[places]
    # after standardising, 0 leaves a cell's term out of the sum
    names = labels.group_names(labels.every)
    fitted = stack(np.nan_to_num(Z.T), labels.y, rows, names)
    if fitted is None:
        return None
    decisions = np.where(np.isfinite(Z).any(axis=0), fitted.decisions, np.nan)
    detail = {
        "k": len(used),
        "cells": [_facts(f) for f in used],
        "C": fitted.C,
        "fitted_on": "validation",
        "folds": FOLDS,
        "cross_validated_auroc": fitted.cross_validated_auroc,
        "n_fit": len(rows),
    }
    return Scores("ensemble_stacked", decisions, detail, _when(used))


def _when(fits: Sequence[CellFit]) -> When:
    """Readable when the last of its cells is."""
    return "after" if any(POSITIONS[f.cell.position].when == "after" for f in fits) else "before"


def _facts(fit: CellFit) -> dict[str, Any]:
    return {
        "layer": fit.cell.row,
        "position": fit.cell.position,
        "validation_auroc": fit.validation_auroc,
    }
