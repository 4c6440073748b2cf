"""The area under the ROC curve. Labels: 1 = correct; a higher score means more likely correct.
Signs are never flipped.

Functions that end in `_many` take the scores of all cells at once, (cell, example), NaN where a
cell lacks the example: each cell is judged on the examples it has, by the same formula as one cell
alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from probebench.types import Floats


def auroc(y: NDArray[np.integer], scores: Floats) -> float:
    """Area under the ROC curve by ranks, ties counting one half; NaN when a class is missing."""
    from scipy.stats import rankdata

    positive = y == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def auroc_many(y: NDArray[np.integer], scores: Floats) -> Floats:
    """(cell,) AUROC of (cell, example) scores, ties counting one half; NaN for a cell that lacks a
    class."""
    return np.asarray(auroc_labels(np.asarray(y)[:, None], scores)[:, 0])


def auroc_labels(labels: NDArray[np.integer], scores: Floats) -> Floats:
    """(cell, labelling) AUROC of (cell, example) scores under many label vectors, one matrix
    product over ranks.

    Args:
        labels: (example, labelling) 1 = correct. Labellings may differ in how many are correct.
        scores: (cell, example), NaN = absent; NaN in the result where the present examples hold one
            class only.
    """
    ranks = midranks(scores)
    there = np.isfinite(ranks)
    positive = (np.asarray(labels) == 1).astype(np.float64)
    n1 = there.astype(np.float64) @ positive
    n0 = there.sum(axis=1, keepdims=True) - n1
    total = np.where(there, ranks, 0.0) @ positive  # halves and whole numbers: exact
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((total - n1 * (n1 + 1) / 2) / (n1 * n0))


def auroc_rows(labels: NDArray[np.integer], scores: Floats) -> Floats:
    """(row,) AUROC of each row of (row, example) scores under the labels of that row; NaN where a
    row has one class only."""
    positive = np.asarray(labels) == 1
    n1 = positive.sum(axis=1)
    n0 = positive.shape[1] - n1
    total = np.where(positive, midranks(scores), 0.0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((total - n1 * (n1 + 1) / 2) / (n1 * n0))


def midranks(scores: Floats) -> Floats:
    """(cell, example) ranks from 1 within each row, ties sharing their mean rank, NaN where the
    score is NaN."""
    from scipy.stats import rankdata

    scores = np.asarray(scores, dtype=np.float64)
    return np.asarray(rankdata(scores, axis=1, nan_policy="omit"))
