"""One probe per cell: fitted on train, C chosen on validation, cells in parallel processes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probebench.metrics import auroc
from probebench.probes import Probe, get_probe
from probebench.states import StatesReader
from probebench.types import SPLITS, Cell, CellFit, SplitName, split_index

MIN_CLASS = 20
"""Examples of each class that a cell needs in all; and at least one in every split."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What every cell is fitted to."""

    y: NDArray[np.int64]
    """(example,) 1 = correct."""
    splits: tuple[SplitName, ...]
    """(example,)."""

    def shuffled(self, seed: int) -> Labels:
        """The same labels permuted among train and validation examples; test keeps its own."""
        rng, y, rows = np.random.default_rng(seed), self.y.copy(), split_index(self.splits)
        for name in ("train", "validation"):
            y[rows[name]] = rng.permutation(y[rows[name]])
        return Labels(y, self.splits)


def why_masked(labels: Labels, there: NDArray[np.bool_]) -> str:
    """Why a cell cannot have a probe: counts of classes among the examples that have its token; empty when it can."""
    for value, name in ((1, "correct"), (0, "wrong")):
        n = int(((labels.y == value) & there).sum())
        if n < MIN_CLASS:
            return f"{n} {name} answers have this token; at least {MIN_CLASS} are needed"
    for split, rows in split_index(labels.splits).items():
        if len(np.unique(labels.y[rows][there[rows]])) < 2:
            return f"one class only in {split}"
    return ""


def fit_cell(X: NDArray[np.float32], there: NDArray[np.bool_], labels: Labels, probe: Probe, cell: Cell) -> CellFit:
    """Fit one cell.

    Args:
        X: (example, width) vectors.
        there: (example,) False where the token is absent; such examples take no part.
        labels: labels and splits.
        probe: what to fit.
        cell: whose vectors these are.
    """
    nan = float("nan")
    masked = why_masked(labels, there)
    decisions = np.full(len(X), nan)
    if masked:
        return CellFit(cell, decisions, nan, nan, True, 0, masked)
    rows = split_index(labels.splits)
    train, validation = (rows[name][there[rows[name]]] for name in SPLITS[:2])
    best: tuple[float, float, object, bool, int] | None = None
    for C in probe.grid:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator = probe.make(C, X.shape[1]).fit(X[train], labels.y[train])
        converged = not any("onverge" in str(w.message) or "Line search" in str(w.message) for w in caught)
        value = auroc(labels.y[validation], decide(estimator, X[validation]))
        if best is None or value > best[0]:
            best = value, C, estimator, converged, _iterations(estimator)
    assert best is not None  # a probe's grid is never empty
    value, C, chosen, converged, iterations = best
    decisions[there] = decide(chosen, X[there])
    return CellFit(cell, decisions, C, value, converged, iterations, "")


def decide(estimator: object, X: NDArray[np.float32]) -> NDArray[np.float64]:
    """(example,) real-valued decisions for class 1."""
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(X), dtype=np.float64)
    return np.asarray(estimator.predict_proba(X)[:, 1], dtype=np.float64)  # type: ignore[attr-defined]


def _iterations(estimator: object) -> int:
    last = estimator[-1] if hasattr(estimator, "__getitem__") else estimator
    return int(np.max(getattr(last, "n_iter_", 0)))


def fit_cells(reader: StatesReader, cells: Sequence[Cell], labels: Labels, probe: str) -> Iterator[CellFit]:
    """Fit many cells, one process per core and one thread each; results in the order of `cells`."""
    from joblib import Parallel, cpu_count, delayed, parallel_config

    n_jobs = min(cpu_count(), len(cells))  # cores that this process may use
    if n_jobs <= 1:
        yield from (_fit_one(reader, cell, labels, probe) for cell in cells)
        return
    with parallel_config(backend="loky", inner_max_num_threads=1):
        jobs = (delayed(_fit_one)(reader, cell, labels, probe) for cell in cells)
        yield from Parallel(n_jobs=n_jobs, return_as="generator")(jobs)


def _fit_one(reader: StatesReader, cell: Cell, labels: Labels, probe: str) -> CellFit:
    there = reader.present[:, reader.positions.index(cell.position)]
    return fit_cell(reader.cell(cell.layer, cell.position), there, labels, get_probe(probe), cell)
