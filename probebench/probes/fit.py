"""One probe per cell: fitted on train, C chosen on validation, beside it the same probe on shuffled
labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from probebench.errors import ProbebenchError, RunError
from probebench.metrics.auroc import auroc, auroc_rows
from probebench.probes.estimators import OneScale
from probebench.probes.kinds import Probe
from probebench.probes.solver import TOL, LogisticSolver
from probebench.states.reader import StatesReader
from probebench.types import Cell, CellFit, Floats, SplitName, split_index

ROUGH = 5e-3
"""Relative gradient at which a fit to shuffled labels is good enough: its AUROC moves by 1e-4, the
null's spread is 100 times that, and hard cells need a third of the steps (DECISIONS.md)."""
MOVED = 0.5
"""Part of the labels expected to differ between two unrelated vectors that a shuffle must reach to
serve as a null."""
MIN_CLASS = 20
"""Examples of each class that a cell needs in all; and at least one in every split."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What every cell is fitted to."""

    y: NDArray[np.int64]
    """(example,) 1 = correct."""
    splits: tuple[SplitName, ...]
    """(example,)."""
    groups: tuple[str, ...] = ()
    """(example,) group of each example; empty when every example is a group of its own."""

    def group_names(self, rows: NDArray[np.int64]) -> list[str]:
        """Group of each of these examples; its own number where every example is a group of its
        own."""
        return [str(self.groups[i] if self.groups else i) for i in rows]

    def rows(self, places: NDArray[np.int64]) -> dict[SplitName, NDArray[np.int64]]:
        """Of each split, where its examples stand among those at `places`."""
        there = np.isin(np.arange(len(self.y)), places)
        return {
            name: np.searchsorted(places, at[there[at]])
            for name, at in split_index(self.splits).items()
        }

    def shuffled(
        self, n: int, seed: int, places: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """(shuffle, place) labels of the examples at `places` (None: all), permuted so that they
        say nothing of the states.

        They move inside each split, and among these examples only: whether a token exists may go
            with the label, and labels
        from elsewhere would change the balance of classes. Groups of one size exchange their labels
        as blocks, then each group's labels are permuted inside it: answers of one group stay as
        alike, or as balanced, as they are. The order comes from random keys of groups and examples,
        the same for every cell, so that cells with the same tokens are permuted alike and others as
        nearly as can be.
        """
        places = np.arange(len(self.y)) if places is None else places
        names, group = np.unique(
            np.asarray(self.groups or np.arange(len(self.y))), return_inverse=True
        )
        size = len(names) + len(self.y)
        # a generator for each, so that the first shuffles do not depend on how many follow
        keys = np.stack(
            [np.random.default_rng([seed, k]).random(size, dtype=np.float32) for k in range(n)]
        )
        of_group, of_example = keys[:, : len(names)], keys[:, len(names) :]
        y, out = self.y[places], np.tile(self.y[places], (n, 1))
        for rows in self.rows(places).values():
            for blocks in _blocks(group[places], rows):
                order = np.argsort(
                    of_group[:, group[places[blocks[:, 0]]]], axis=1
                )  # (shuffle, group)
                moved = y[blocks][order]  # (shuffle, group, member)
                if blocks.shape[1] > 1:
                    moved = np.take_along_axis(
                        moved, np.argsort(of_example[:, places[blocks]], axis=2), axis=2
                    )
                out[:, blocks] = moved
        return out


def _blocks(group: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """(group, member) rows of the groups of each size."""
    _, own, sizes = np.unique(group[rows], return_inverse=True, return_counts=True)
    for size in np.unique(sizes):
        members = np.flatnonzero(sizes[own] == size)
        yield rows[members[np.argsort(own[members], kind="stable")]].reshape(-1, size)


def why_masked(labels: Labels, there: NDArray[np.bool_]) -> str:
    """Why a cell cannot have a probe: counts of classes among the examples that have its token;
    empty when it can."""
    for value, name in ((1, "correct"), (0, "wrong")):
        n = int(((labels.y == value) & there).sum())
        if n < MIN_CLASS:
            return f"{n} {name} answers have this token; at least {MIN_CLASS} are needed"
    for split, rows in split_index(labels.splits).items():
        if len(np.unique(labels.y[rows][there[rows]])) < 2:
            return f"one class only in {split}"
    return ""


class Fits(Protocol):
    """Many fits of one cell: all share what can be shared."""

    def decisions(
        self,
        Y: NDArray[np.int64],
        C: Sequence[float],
        *,
        rough: bool = False,
        on: NDArray[np.int64] | None = None,
    ) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
        """Fit label vectors Y (fit, train example) at C (fit,); `rough` for shuffled labels.

        Returns:
            (fit, example) decisions for every example, or those of the rows `on`; (fit,) whether it
            converged; (fit,) iterations.
        """
        ...


class BatchedFits:
    """Logistic fits of one cell from one shared factorisation."""

    def __init__(
        self, X: NDArray[np.float32], train: NDArray[np.int64], device: str | None = None
    ) -> None:
        scale = OneScale().fit(X[train])
        self.X = ((X - scale.mean_.astype(np.float32)) / np.float32(scale.scale_)).astype(
            np.float32
        )
        self.solver = LogisticSolver(self.X[train], device=device)

    def decisions(
        self,
        Y: NDArray[np.int64],
        C: Sequence[float],
        *,
        rough: bool = False,
        on: NDArray[np.int64] | None = None,
    ) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
        fits = self.solver.solve(Y.T, np.asarray(C, dtype=np.float64), tol=ROUGH if rough else TOL)
        X = self.X if on is None else self.X[on]
        return np.asarray(fits.decisions(X), dtype=np.float64).T, fits.converged, fits.iterations


class LoopedFits:
    """One estimator per fit: any probe."""

    def __init__(self, X: NDArray[np.float32], train: NDArray[np.int64], probe: Probe) -> None:
        self.X, self.train, self.probe = X, train, probe

    def decisions(
        self,
        Y: NDArray[np.int64],
        C: Sequence[float],
        *,
        rough: bool = False,
        on: NDArray[np.int64] | None = None,
    ) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
        done = [self._fit(y, c) for y, c in zip(Y, C, strict=True)]
        decisions = np.array([d if on is None else d[on] for d, _, _ in done])
        return decisions, np.array([c for _, c, _ in done]), np.array([i for _, _, i in done])

    def _fit(self, y: NDArray[np.int64], C: float) -> tuple[Floats, bool, int]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                estimator = self.probe.make(C, self.X.shape[1]).fit(self.X[self.train], y)
                decisions = decide(estimator, self.X)
            except ProbebenchError:
                raise
            except Exception as error:  # an estimator from elsewhere may raise anything
                raise RunError(
                    f"Probe {self.probe.name!r} failed on (example, {self.X.shape[1]}) vectors: "
                    f"{error}"
                ) from None
        last = estimator[-1] if hasattr(estimator, "__getitem__") else estimator
        warned = any("onverge" in str(w.message) or "Line search" in str(w.message) for w in caught)
        converged = bool(getattr(last, "converged_", not warned))
        steps = getattr(last, "n_iter_", None)
        return decisions, converged, 0 if steps is None else int(np.max(steps))


def fits_of(
    X: NDArray[np.float32], train: NDArray[np.int64], probe: Probe, device: str | None = None
) -> Fits:
    """The fast path for probes that have one, the loop for the others."""
    return BatchedFits(X, train, device) if probe.batched else LoopedFits(X, train, probe)


def fit_cell(
    X: NDArray[np.float32],
    there: NDArray[np.bool_],
    labels: Labels,
    probe: Probe,
    cell: Cell,
    shuffles: int = 0,
    seed: int = 0,
    device: str | None = None,
) -> CellFit:
    """Fit one cell.

    Args:
        X: (example, width) vectors.
        there: (example,) False where the token is absent; such examples take no part.
        labels: labels and splits.
        probe: what to fit.
        cell: whose vectors these are.
        shuffles: shuffled label vectors to fit as well, at the C chosen for the true ones.
        seed: of the shuffles.
        device: where the batched solver computes; None for this process's CPU.
    """
    decisions = np.full(len(X), np.nan)
    masked = why_masked(labels, there)
    if not masked and not np.isfinite(X[there]).all():
        masked = "vectors that are not finite"
    if masked:
        return masked_cell(cell, len(X), masked)
    places = np.flatnonzero(there)
    rows = labels.rows(places)
    y, train, validation = labels.y[places], rows["train"], rows["validation"]
    fits = fits_of(X[places], train, probe, device)
    found, converged, iterations = fits.decisions(
        np.tile(y[train], (len(probe.grid), 1)), probe.grid
    )
    values = [auroc(y[validation], d[validation]) for d in found]
    if not np.isfinite(values).any():
        return masked_cell(cell, len(X), "the probe gives no finite decisions")
    best = int(np.nanargmax(values))  # the first, and so the smallest C, on a tie
    decisions[places] = found[best]
    control = null = np.zeros(0)
    stuck = int((~converged).sum()) - int(not converged[best])
    if shuffles:
        shuffled = labels.shuffled(shuffles, seed, places)
        control, null, more = _shuffled_aurocs(fits, y, shuffled, rows, probe.grid[best])
        stuck += more
    return CellFit(
        cell,
        decisions,
        probe.grid[best],
        values[best],
        bool(converged[best]),
        int(iterations[best]),
        "",
        control,
        null,
        stuck,
    )


def masked_cell(cell: Cell, n: int, reason: str, *, absent: bool = False) -> CellFit:
    """A cell without a probe, for `n` examples; `absent` where the layer does not have the site."""
    nan = float("nan")
    return CellFit(cell, np.full(n, nan), nan, nan, True, 0, reason, absent=absent)


def _shuffled_aurocs(
    fits: Fits,
    y: NDArray[np.int64],
    shuffled: NDArray[np.int64],
    rows: dict[SplitName, NDArray[np.int64]],
    C: float,
) -> tuple[Floats, Floats, int]:
    """Test AUROC of probes of shuffled labels, against the true labels and against the shuffled
    ones; fits not converged.

    The null is NaN where groups leave so little to permute that shuffled labels are nearly the true
    ones.
    """
    train, test = rows["train"], rows["test"]
    scores, converged, _ = fits.decisions(
        shuffled[:, train], [C] * len(shuffled), rough=True, on=test
    )
    stuck, share, own = int((~converged).sum()), y[test].mean(), shuffled[:, test]
    control = auroc_rows(np.broadcast_to(y[test], own.shape), scores)
    if (own != y[test]).mean() < MOVED * 2 * share * (1 - share):
        return control, np.full(len(shuffled), np.nan), stuck
    return control, auroc_rows(own, scores), stuck


def decide(estimator: object, X: NDArray[np.float32]) -> Floats:
    """(example,) real-valued decisions for class 1."""
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(X), dtype=np.float64)
    return np.asarray(estimator.predict_proba(X)[:, 1], dtype=np.float64)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What is the same for every cell of a run."""

    reader: StatesReader
    labels: Labels
    probe: Probe
    shuffles: int = 0
    """Shuffled label vectors fitted in every cell."""
    width: int | None = None
    """Project the vectors of components to this width; None leaves them as they are."""
    seed: int = 0
    """Of shuffles and of the projection."""
    device: str | None = None

    def vectors(self, cell: Cell) -> NDArray[np.float32]:
        """(example, width) vectors of a cell, projected where the run asks for it."""
        X = self.reader.cell(cell.layer, cell.position, cell.site)
        return (
            X if self.width is None or cell.site == "resid" else project(X, self.width, self.seed)
        )

    def fit(self, cell: Cell) -> CellFit:
        """One cell."""
        there = self.reader.there(cell.position)
        return fit_cell(
            self.vectors(cell),
            there,
            self.labels,
            self.probe,
            cell,
            self.shuffles,
            self.seed,
            self.device,
        )


def project(X: NDArray[np.float32], width: int, seed: int) -> NDArray[np.float32]:
    """(example, width) random projection of (example, d) vectors: Gaussian, the same for the same
    d, width and seed.

    Inner products are kept in expectation (Johnson and Lindenstrauss 1984), so probes of sites of
    different width are compared on equal numbers of features.
    """
    d = X.shape[1]
    matrix = np.random.default_rng([seed, d, width]).standard_normal((d, width), dtype=np.float32)
    return X @ (matrix / np.float32(np.sqrt(width)))


def fit_cells(job: Job, cells: Sequence[Cell]) -> Iterator[CellFit]:
    """Fit many cells, one process per core and one thread each; results in the order of `cells`."""
    from joblib import Parallel, cpu_count, delayed, parallel_config

    n_jobs = min(cpu_count(), len(cells))  # cores that this process may use
    if n_jobs <= 1 or job.device is not None:
        yield from map(job.fit, cells)
        return
    with parallel_config(backend="loky", inner_max_num_threads=1):
        yield from Parallel(n_jobs=n_jobs, return_as="generator")(
            map(delayed(partial(_fit, job)), cells)
        )


def _fit(job: Job, cell: Cell) -> CellFit:
    return job.fit(cell)
