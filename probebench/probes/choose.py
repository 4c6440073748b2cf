"""What is chosen on validation: the C of a probe, and the best cell. The first of equals wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.types import CellFit, Floats, SplitName


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several fits."""

    at: int
    """Where it stands among them."""
    validation_auroc: float


def first_best(values: Sequence[float] | Floats) -> int | None:
    """Where the highest value stands, the first of equals: along a rising grid of C the smallest.

    NaN takes no part; None where nothing is defined.
    """
    return int(np.nanargmax(values)) if np.isfinite(values).any() else None


def choose(
    y: NDArray[np.integer], decisions: Sequence[Floats] | Floats, *parts: NDArray[np.int64]
) -> Choice | None:
    """The fit with the highest AUROC on validation, the first of equals.

    Args:
        y: (example,) 1 = correct.
        decisions: (fit, example), in the order of rising C.
        parts: validation examples; of each of several tasks, their mean AUROC counts, since
            decisions are compared inside a task only. A part with one class takes no part.

    Returns:
        None where no fit has an AUROC.
    """
    means = []
    for own in decisions:
        values = np.array([auroc(y[part], own[part]) for part in parts])
        there = values[np.isfinite(values)]
        means.append(float(np.mean(there)) if len(there) else float("nan"))
    best = first_best(means)
    return None if best is None else Choice(best, means[best])


def best_cell(fits: Iterable[CellFit]) -> CellFit | None:
    """The one with the highest validation AUROC, the first of equals; None where all are masked."""
    there = [f for f in fits if not f.masked and np.isfinite(f.validation_auroc)]
    return max(there, key=lambda f: f.validation_auroc, default=None)


def fit_features(
    X: Any,
    y: NDArray[np.integer],
    rows: Mapping[SplitName, NDArray[np.int64]],
    grid: Sequence[float],
    **options: Any,
) -> tuple[Floats, float]:
    """Scikit-learn's logistic regression on features that are no hidden states, C by validation.

    Args:
        X: (example, feature), sparse or dense.
        y: (example,) 1 = correct.
        rows: examples of each split.
        grid: values of C, rising.
        **options: of `LogisticRegression`.

    Returns:
        (example,) decisions, and the chosen C: the smallest where validation says nothing.
    """
    from sklearn.linear_model import LogisticRegression

    found = [
        np.asarray(
            LogisticRegression(C=C, **options)
            .fit(X[rows["train"]], y[rows["train"]])
            .decision_function(X),
            dtype=np.float64,
        )
        for C in grid
    ]
    best = choose(y, found, rows["validation"])
    k = 0 if best is None else best.at
    return found[k], grid[k]
