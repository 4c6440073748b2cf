"""Numbers as columns that any smooth or stepwise function of them is a sum of, and what is left of
decisions once such columns are regressed out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from probebench.types import Floats

KNOTS, BINS = 6, 10
"""Of a number's cubic spline, at quantiles of train, and of its bins of as many examples each. In
simulation a spline alone leaves steps behind, bins alone leave waves (docs/protocol.md)."""
PENALTIES = (0.0, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
"""Ridge penalties on standardised columns; 0 is least squares."""
FEW = 10
"""Examples that a fit needs."""
EXPLAINED = 1e-9
"""A residual whose spread is this part of the decision's is rounding."""


def expanded(column: Floats, train: NDArray[np.int64]) -> Floats:
    """(example, column) of one number: itself, a cubic spline, and bins.

    Args:
        column: (example,) NaN where an example lacks it.
        train: rows that place knots and bins; at least two values there.

    Returns:
        Standardised over the train examples that have the number; 0 where an example lacks it, and
        without columns that are constant. A number of two values is one column.
    """
    from sklearn.preprocessing import SplineTransformer

    has = np.isfinite(column)
    seen = column[train[has[train]]]
    parts = [column[has][:, None]]
    if len(np.unique(seen)) > 2:
        at = np.linspace(0, 1, BINS + 1)[1:-1]
        edges = np.unique(np.quantile(seen, at, method="higher"))
        parts.append((column[has][:, None] >= edges).astype(np.float64))
        knots = np.unique(np.quantile(seen, np.linspace(0, 1, KNOTS)))
        if len(knots) > 2:
            spline = SplineTransformer(
                knots=knots[:, None], extrapolation="constant", include_bias=False
            )
            parts.append(spline.fit(seen[:, None]).transform(column[has][:, None]))
    values = np.zeros((len(column), sum(p.shape[1] for p in parts)))
    values[has] = np.column_stack(parts)
    own = values[train[has[train]]]
    mean, spread = own.mean(axis=0), own.std(axis=0)
    kept = spread > EXPLAINED
    values[has] = np.where(kept, (values[has] - mean) / np.where(kept, spread, 1.0), 0.0)
    return values[:, kept]


def residual(X: Floats, decisions: Floats, rows: NDArray[np.int64]) -> tuple[Floats, float]:
    """Decisions minus their prediction from the columns, fitted on `rows` with the ridge penalty
    that predicts each left-out example there best, and the R^2 there.

    Decisions that the columns explain wholly leave zeros, not the order of rounding errors. NaN
    on fewer than `FEW` examples.

    Args:
        X: (example, column).
        decisions: (example,) NaN where there is none; not on `rows`.
        rows: examples that it is fitted on.
    """
    centre, mean = X[rows].mean(axis=0), decisions[rows].mean()
    A, d = X[rows] - centre, decisions[rows] - mean
    U, s, V = np.linalg.svd(A, full_matrices=False)
    real = s > max(A.shape, default=0) * np.finfo(float).eps * s.max(initial=0.0)
    U, s, V = U[:, real], s[real], V[real]
    if len(rows) < FEW:
        return np.full(len(X), np.nan), float("nan")
    along, errors, weights = U.T @ d, [], []
    # without a penalty as many columns as examples explain anything
    for penalty in PENALTIES[len(rows) <= len(s) + 1 :]:
        kept = s**2 / (s**2 + penalty)
        off = d - U @ (kept * along)
        leverage = (U**2) @ kept + 1 / len(rows)
        errors.append(float(np.mean((off / np.maximum(1 - leverage, EXPLAINED)) ** 2)))
        weights.append(V.T @ (kept / s * along))
    left = decisions - mean - (X - centre) @ weights[int(np.argmin(errors))]
    spread, rest = d.std(), left[rows].std()
    if rest <= EXPLAINED * max(spread, np.abs(decisions[rows]).max()):
        return np.where(np.isfinite(decisions), 0.0, np.nan), 1.0 if spread > 0 else float("nan")
    return left, float(1 - (rest / spread) ** 2)
