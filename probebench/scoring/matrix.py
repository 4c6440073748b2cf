"""AUROC of every cell of a site on one split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc_many
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.delong import delong_many
from probebench.metrics.intervals import auroc_intervals
from probebench.metrics.permutation import fdr_once, max_statistic_p, permutation_p
from probebench.probes.labels import Labels, split_index
from probebench.types import EMB, Cell, CellFit, Floats, ScoreMatrix, SplitName


def best_of_shuffled(fits: Sequence[CellFit], site: str, test: ScoreMatrix) -> float:
    """Permutation p-value of the best test AUROC of a site's map; NaN without shuffled labels."""
    blocks = [f for f in fits if f.cell.site == site and f.cell.layer != EMB and not f.masked]
    cells = [f for f in blocks if len(f.null) and np.isfinite(f.null).all()]
    if not cells:
        return float("nan")
    observed = [
        test.values[test.layers.index(f.cell.layer), test.positions.index(f.cell.position)]
        for f in cells
    ]
    return max_statistic_p(np.array(observed), np.array([f.null for f in cells]))


def score_matrix(
    fits: Sequence[CellFit],
    labels: Labels,
    draws: Resamples,
    split: SplitName,
    positions: Sequence[str],
    present: NDArray[np.bool_],
) -> ScoreMatrix:
    """AUROC of every cell of one site on one split, each on the examples that have its token.

    Args:
        fits: cells of one site.
        labels: labels and splits.
        draws: resamples of this split's examples.
        split: which.
        positions: columns.
        present: (example, position); a masked cell still says how many examples have its token.
    """
    layers = tuple(sorted({f.cell.layer for f in fits}))
    shape = len(layers), len(positions)
    at = tuple(
        np.array(
            [(layers.index(f.cell.layer), list(positions).index(f.cell.position)) for f in fits]
        ).T
    )
    rows = split_index(labels.splits)[split]
    y, scores = labels.y[rows], np.array([f.decisions[rows] for f in fits])
    values = auroc_many(y, scores)
    intervals = auroc_intervals(draws, y, scores)
    low, high = np.array([[i.low, i.high] for i in intervals]).T
    delong_low, delong_high = delong_many(y, scores)
    shuffled, p = _shuffled(fits, values) if split == "test" else (values * np.nan, values * np.nan)

    first = distinct(fits, values, p)

    def matrix(cells: NDArray[Any], empty: Any = np.nan) -> NDArray[Any]:
        out = np.full(shape, empty, dtype=cells.dtype)
        out[at] = cells
        return out

    there = present[rows].sum(axis=0)
    n = np.array([0 if f.absent else there[j] for f, j in zip(fits, at[1], strict=True)])
    return ScoreMatrix(
        "auroc",
        fits[0].cell.site,
        split,
        layers,
        tuple(positions),
        matrix(values),
        matrix(low),
        matrix(high),
        matrix(n, 0),
        matrix(delong_low),
        matrix(delong_high),
        matrix(shuffled),
        matrix(p),
        matrix(fdr_once(p, first)),
        matrix(first == np.arange(len(fits)), False),
    )


def distinct(fits: Sequence[CellFit], values: Floats, p: Floats) -> NDArray[np.int64]:
    """(cell,) of each cell the first one of its layer that is the same, mostly itself: two columns
    that are one token in every example are one cell.

    They are told by their numbers, as `cells.csv` of a submission has them.

    Args:
        fits: cells of one site.
        values: (cell,) AUROC.
        p: (cell,) of shuffled labels; NaN where there is none, and then every cell is itself.
    """
    first: dict[tuple[object, ...], int] = {}
    found = np.arange(len(fits), dtype=np.int64)
    for i, f in enumerate(fits):
        numbers = values[i], f.validation_auroc, p[i]
        if np.isfinite(numbers).all():
            key = f.cell.layer, int(np.isfinite(f.decisions).sum()), *(f"{x:.12g}" for x in numbers)
            found[i] = first.setdefault(key, i)
    return found


def _shuffled(fits: Sequence[CellFit], values: Floats) -> tuple[Floats, Floats]:
    """(cell,) mean AUROC of fits to shuffled labels, and the p-value of the one observed; NaN where
    there are none."""
    if not (n_shuffles := max(len(f.null) for f in fits)):
        return values * np.nan, values * np.nan
    null, control = np.full((2, len(fits), n_shuffles), np.nan)
    for i, f in enumerate(fits):
        null[i, : len(f.null)], control[i, : len(f.control)] = f.null, f.control
    return _mean(control), permutation_p(values, null)


def _mean(values: Floats) -> Floats:
    """(cell,) mean over what is defined; NaN where nothing is."""
    n = np.isfinite(values).sum(axis=1)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), np.nan)


def tested(test: ScoreMatrix, cell: Cell) -> dict[str, Any]:
    """A cell's test AUROC on all test examples that have its token, as records hold it."""
    at = test.layers.index(cell.layer), test.positions.index(cell.position)
    interval = [float(test.low[at]), float(test.high[at])]
    return {
        "test_auroc": float(test.values[at]),
        "test_auroc_95": interval,
        "n_test": int(test.n[at]),
    }
