"""What is chosen on validation: the C of a probe, and the best cell. The first of equals wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.probes.labels import Labels, split_index
from probebench.types import CellFit, Floats, SplitName

COVERAGE, CLASS_COVERAGE = 0.9, 0.75
"""Parts of the validation examples, of all and of each class, that a cell or a baseline must score
to be chosen before others (scripts/simulate_selection.py)."""


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


def best_cell(fits: Iterable[CellFit], *, barred: bool = False) -> CellFit | None:
    """The one with the highest validation AUROC, the first of equals; None where none competes.

    Args:
        fits: cells, each with its bar (`with_bars`).
        barred: let barred ones compete too, where all are judged on the same examples.
    """
    there = [f for f in fits if not f.masked and np.isfinite(f.validation_auroc)]
    there = [f for f in there if barred or not f.barred]
    return max(there, key=lambda f: f.validation_auroc, default=None)


def with_bars(fits: Sequence[CellFit], labels: Labels) -> list[CellFit]:
    """The same cells, those barred whose token too few validation examples have.

    A cell that is judged on a few examples of its own has an AUROC of more noise, and the highest
    of many noisy ones wins. Examples without the token of any cell do not count.

    Args:
        fits: cells that are chosen from together.
        labels: labels and splits.
    """
    held = split_index(labels.splits)["validation"]
    scored = [np.isfinite(f.decisions[held]) for f in fits]
    some = np.any(scored, axis=0) if scored else np.zeros(len(held), dtype=bool)
    y = labels.y[held][some]
    return [
        f if f.masked else replace(f, barred=_why_barred(y, there[some]))
        for f, there in zip(fits, scored, strict=True)
    ]


def _why_barred(y: NDArray[np.integer], there: NDArray[np.bool_]) -> str:
    """Why a cell with scores for some validation examples does not compete; empty when it does."""
    if (short := too_few(y, there)) is None:
        return ""
    own, least, name = short
    return (
        f"{int(own.sum()):,} of {len(own):,} {name}validation examples have this token; "
        f"{least:.0%} are needed to be selected"
    )


def too_few(
    y: NDArray[np.integer], there: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], float, str] | None:
    """The part of the examples of which too few are there for a choice: which of it are, the share
    that is needed, and its name; None where all have enough.

    Args:
        y: (example,) 1 = correct.
        there: (example,) those that something has a score for.
    """
    parts = (
        (there, COVERAGE, ""),
        (there[y == 1], CLASS_COVERAGE, "correct "),
        (there[y == 0], CLASS_COVERAGE, "wrong "),
    )
    return next((part for part in parts if part[0].sum() < part[1] * len(part[0])), None)


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
