"""Many fits of one cell at once, and the last one by itself; decisions of whatever was fitted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from probebench.errors import ProbebenchError, RunError
from probebench.probes.kinds import Probe
from probebench.probes.logistic.solver import TOL, LogisticSolver
from probebench.probes.parts import OneScale
from probebench.types import Floats

ROUGH = 5e-3
"""Relative gradient at which a fit to shuffled labels is good enough: its AUROC moves by 1e-4, the
null's spread is 100 times that, and hard cells need a third of the steps (DECISIONS.md)."""


class Fitted(NamedTuple):
    """What many fits gave."""

    decisions: Floats
    """(fit, example), for every example or for those that were asked for."""
    converged: NDArray[np.bool_]
    """(fit,)."""
    iterations: NDArray[np.int64]
    """(fit,)."""


class Fits(Protocol):
    """Many fits of one cell: all share what can be shared."""

    def decisions(
        self,
        Y: NDArray[np.int64],
        C: Sequence[float],
        *,
        rough: bool = False,
        on: NDArray[np.int64] | None = None,
    ) -> Fitted:
        """Fit label vectors Y (fit, train example) at C (fit,); `rough` for shuffled labels.

        Decisions are for every example, or for the rows `on`.
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
    ) -> Fitted:
        # labels that all share are given once: then each C starts from the one before
        labels = Y[:1] if (Y[0] == Y).all() else Y
        fits = self.solver.solve(
            labels.T, np.asarray(C, dtype=np.float64), tol=ROUGH if rough else TOL
        )
        X = self.X if on is None else self.X[on]
        decisions = np.asarray(fits.decisions(X), dtype=np.float64).T
        return Fitted(decisions, fits.converged, fits.iterations)


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
    ) -> Fitted:
        done = [self._fit(y, c) for y, c in zip(Y, C, strict=True)]
        decisions = np.array([d if on is None else d[on] for d, _, _ in done])
        return Fitted(
            decisions, np.array([c for _, c, _ in done]), np.array([i for _, _, i in done])
        )

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


def fit_grid(fits: Fits, y: NDArray[np.int64], grid: Sequence[float]) -> Fitted:
    """The same labels (train example,) at every C of a grid."""
    return fits.decisions(np.tile(y, (len(grid), 1)), grid)


def fit_last(probe: Probe, C: float, X: NDArray[np.float32], y: NDArray[np.int64]) -> Any:
    """The estimator of a cell whose C is known, fitted by itself to (example, width) train vectors.

    A fit that stops early is a probe all the same, and no warning: whether it converged is known
    from where its C was chosen.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return probe.make(C, X.shape[1]).fit(X, y)


def decide(estimator: object, X: NDArray[np.float32]) -> Floats:
    """(example,) real-valued decisions for class 1."""
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(X), dtype=np.float64)
    return np.asarray(estimator.predict_proba(X)[:, 1], dtype=np.float64)  # type: ignore[attr-defined]
