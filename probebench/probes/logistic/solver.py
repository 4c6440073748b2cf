"""L2-penalised logistic regression for many label columns on the same vectors.

The objective is scikit-learn's: C * sum_i s_i * log(1 + exp(-y_i f_i)) + |w|^2 / 2, f = Xw + b, y
in {-1, 1}, b free.

1. Vectors are centred, which only moves b, and their smaller Gram matrix, XX' or X'X, is computed
   once per cell. With no more examples than features w = X'v, sum(v) = 0 at the optimum, and v
   takes the place of w; f = Kv + b with K = XX'.
2. Columns with one C share the Cholesky factor of a Hessian built from their mean curvature, built
   again when that has moved. One solve with all columns gives each a Newton-like direction, and
   where K is used also that direction's scores.
3. Scores are linear in the step. So a column minimises the true objective over the plane of its
   direction and its last move by Newton steps on n scores alone: what conjugate gradients do on a
   quadratic, with no further product.
4. Convergence is judged by the gradient at scores computed afresh from w, in the metric of the
   shared Hessian. Columns that single precision cannot take to the tolerance go on in double, and
   those that left the numbers begin again there; a column that leaves them even so is fitted by
   plain Newton steps in the space that the vectors span.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probebench.probes.logistic.backends import Array, Numpy, Torch
from probebench.probes.logistic.columns import Columns, Found, Point
from probebench.probes.logistic.descent import TallCell, WideCell

TOL, MAX_ITER = 2.5e-4, 500
BATCH = 256
"""Columns in memory at once."""


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFits:
    """Linear decision functions, one per label column."""

    coef: NDArray[np.floating[Any]]
    """(column, feature)."""
    intercept: NDArray[np.float64]
    """(column,)."""
    converged: NDArray[np.bool_]
    """(column,) True where `gradient` is within the tolerance."""
    iterations: NDArray[np.int64]
    """(column,) directions tried, in single and double precision together."""
    gradient: NDArray[np.float64]
    """(column,) sqrt(g' H^-1 g) / |w|, g the objective's gradient at scores computed afresh and H
    the shared Hessian: Newton's decrement over |w|, close to the relative error of w whatever the
    scales of the features. The worst decision was off by 0.3 to 10 times this, in standard
    deviations of decisions."""
    centre: NDArray[np.float64]
    """(feature,) subtracted before deciding, so that a large mean costs no digits."""

    def decisions(self, X: ArrayLike) -> NDArray[np.floating[Any]]:
        """(example, column) decisions, positive for class 1, of (example, feature) vectors."""
        X = np.asarray(X)
        centred = (X - self.centre.astype(X.dtype)).astype(self.coef.dtype, copy=False)
        offset = self.intercept + self.coef @ self.centre
        return np.asarray(centred @ self.coef.T + offset.astype(self.coef.dtype))


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """Columns asked for; what all of them share has one column."""

    sign: NDArray[np.float64]
    """(column or 1, example)."""
    weight: NDArray[np.float64]
    """(column or 1, example or 1)."""
    C: NDArray[np.float64]
    """(column,)."""

    @classmethod
    def check(cls, Y: ArrayLike, C: ArrayLike, sample_weight: ArrayLike | None, n: int) -> _Problem:
        y, strength = (
            np.asarray(Y, dtype=np.float64),
            np.atleast_1d(np.asarray(C, dtype=np.float64)),
        )
        s = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        for name, values in (("Y", y), ("sample_weight", s)):
            if values.ndim not in (1, 2) or len(values) != n or 0 in values.shape:
                raise ValueError(
                    f"{name} must be ({n},) or ({n}, columns). Got shape {values.shape} instead."
                )
        y, s = y.reshape(n, -1), s.reshape(n, -1)
        widths = y.shape[1], s.shape[1], strength.size
        if strength.ndim > 1 or any(width not in (1, max(widths)) for width in widths):
            raise ValueError(
                f"Y, sample_weight and C must have one column or the same number. Got {widths} "
                "instead."
            )
        _require("Y must be 0 or 1", y, (y == 0) | (y == 1))
        _require("sample_weight must be finite and not negative", s, np.isfinite(s) & (s >= 0))
        _require("C must be finite and positive", strength, np.isfinite(strength) & (strength > 0))
        for label in (0, 1):
            lacking = np.flatnonzero(~((y == label) & (s > 0)).any(axis=0))
            if len(lacking):
                raise ValueError(
                    f"Y must hold both classes. Got no {label} of positive weight in column "
                    f"{lacking[0]} instead."
                )
        weight = np.ones((1, 1)) if sample_weight is None else s.T
        return cls(2 * y.T - 1, weight, np.broadcast_to(strength, max(widths)))

    def columns(self, cell: WideCell, index: NDArray[np.int64], now: Point) -> Columns:
        """Some columns that start from w = 0 and the intercept best there, or from `now` where that
        is not zero."""
        lib, xp = cell.lib, cell.lib.xp
        sign = lib.array(
            self.sign[index] if len(self.sign) > 1 else np.repeat(self.sign, len(index), axis=0)
        )
        weight = lib.array(
            self.C[index[0]] * (self.weight[index] if len(self.weight) > 1 else self.weight)
        )
        now = Point(lib.array(now.v), lib.array(now.f), lib.array(now.b))
        if cell.lib.double:  # scores so far are single
            now.f = cell.weights(now.v) @ cell.X.T + now.b[:, None]
        if not bool((now.v != 0).any()):
            share = ((sign > 0) * weight).sum(-1) / (weight + 0 * sign).sum(-1)
            now.b = xp.log(share / (1 - share))
            now.f = 0 * now.f + now.b[:, None]
        return Columns(index, sign, weight, now, now)


class LogisticSolver:
    """Factorises one cell's training vectors once; every fit of the cell shares it.

    Args:
        X: (example, feature) vectors, centred or not; used in single precision.
        device: None for numpy, else where torch is to keep its tensors, "cpu" or "cuda".

    Raises:
        ValueError: X is not two-dimensional, is empty or has a value that is not finite.
    """

    def __init__(self, X: ArrayLike, *, device: str | None = None) -> None:
        X = np.asarray(X)
        if X.ndim != 2 or 0 in X.shape:
            raise ValueError(
                f"X must be (example, feature) with at least one of each. Got shape {X.shape} "
                "instead."
            )
        self.centre = X.mean(axis=0, dtype=np.float64)
        if not np.isfinite(self.centre).all():
            _require("X must be finite", X, np.isfinite(X))
        self.device = device
        self._single = self._cell(X - self.centre.astype(X.dtype), double=False)

    def _cell(self, X: Array, double: bool) -> WideCell:
        lib = Numpy(double) if self.device is None else Torch(self.device, double)
        return (TallCell if X.shape[0] > X.shape[1] else WideCell)(lib, lib.array(X))

    @cached_property
    def _double(self) -> WideCell:
        return self._cell(self._single.X, double=True)

    def solve(
        self,
        Y: ArrayLike,
        C: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        tol: float = TOL,
        max_iter: int = MAX_ITER,
    ) -> LogisticFits:
        """Fit every column; what all columns share may be given once.

        Args:
            Y: (example,) or (example, column) labels in {0, 1}.
            C: () or (column,) inverse L2 strengths.
            sample_weight: (example,) or (example, column), not negative; 0 leaves an example out.
            tol: largest `LogisticFits.gradient` that counts as converged.
            max_iter: directions to try.

        Raises:
            ValueError: a shape or value that does not fit, or one class only in a column.
        """
        (n, d), array = self._single.X.shape, self._single.lib.array
        problem = _Problem.check(Y, C, sample_weight, n)
        m = len(problem.C)
        start = Point(array(np.zeros((m, min(n, d)))), array(np.zeros((m, n))), array(np.zeros(m)))
        found = Found(
            np.zeros((m, d), np.float32), start, np.full(m, np.inf), np.zeros(m, np.int64)
        )
        with np.errstate(all="ignore"):  # seen in the gradient, and mended below
            self._pass(self._single, problem, found, np.arange(m), tol, max_iter)
        lost = ~np.isfinite(found.gradient)
        found.forget(np.flatnonzero(lost))
        stuck = np.flatnonzero(lost | ((found.gradient > tol) & (found.used < max_iter)))
        if len(stuck):
            found.coef = found.coef.astype(np.float64)
            with np.errstate(all="ignore"):
                self._pass(self._double, problem, found, stuck, tol, max_iter)
        lost = ~np.isfinite(found.gradient)
        found.forget(np.flatnonzero(lost))
        b = self._single.lib.host(found.now.b).astype(np.float64)
        b -= found.coef @ self.centre
        for i in np.flatnonzero(lost):
            self._plain(problem, int(i), found, b)
        return LogisticFits(
            found.coef, b, found.gradient <= tol, found.used, found.gradient, self.centre
        )

    def _plain(self, problem: _Problem, i: int, found: Found, b: NDArray[np.float64]) -> None:
        """Fit one column by `reference_fit`."""
        sign, weight = (
            values[i if len(values) > 1 else 0] for values in (problem.sign, problem.weight)
        )
        X = self._single.lib.host(self._single.X).astype(np.float64)
        fit = reference_fit(X, sign > 0, problem.C[i], np.broadcast_to(weight, len(X)))
        found.coef[i], b[i] = fit.coef[0], fit.intercept[0] - fit.coef[0] @ self.centre
        found.gradient[i], found.used[i] = fit.gradient[0], fit.iterations[0]

    @staticmethod
    def _pass(
        cell: WideCell,
        problem: _Problem,
        found: Found,
        which: NDArray[np.int64],
        tol: float,
        max_iter: int,
    ) -> None:
        """Fit some columns, the smallest C first; where columns differ in nothing else, each starts
        from the one before."""
        path = len(problem.sign) == len(problem.weight) == 1 and not found.used[which].any()
        factor, before = None, which[:0]
        for C in np.unique(problem.C[which]):
            same = which[problem.C[which] == C]
            for index in (same[i : i + BATCH] for i in range(0, len(same), BATCH)):
                start = np.resize(before, len(index)) if path and len(before) else index
                columns = problem.columns(cell, index, found.now[start])
                factor, before = (
                    cell.descend(columns, found, factor if path else None, tol, max_iter),
                    index,
                )


def _require(rule: str, values: NDArray[Any], good: NDArray[np.bool_]) -> None:
    if not good.all():
        raise ValueError(f"{rule}. Got {values[~good].flat[0]} instead.")


def _span(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """(feature, direction) orthonormal directions that the rows of X span, beyond rounding."""
    _, size, directions = np.linalg.svd(X, full_matrices=False)
    return np.asarray(directions[size > size[0] * max(X.shape) * np.finfo(np.float64).eps].T)


def reference_fit(
    X: ArrayLike, y: ArrayLike, C: float, sample_weight: ArrayLike | None = None
) -> LogisticFits:
    """One fit by Newton's method in double precision to a relative gradient of 1e-9: slow, plain,
    and what tests trust.

    It shares nothing with `LogisticSolver` but the objective. More features than examples are
    rotated to the directions that the examples span, the intercept is one more column, and every
    step solves the full Hessian and is halved until the objective falls.
    """
    X, sign = np.asarray(X, dtype=np.float64), 2 * np.asarray(y, dtype=np.float64) - 1
    s = C * (
        np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    )
    centre = X.mean(axis=0)
    Q = _span(X - centre) if X.shape[1] > len(X) else np.eye(X.shape[1])
    Z = np.column_stack([(X - centre) @ Q, np.ones(len(X))])
    ridge = np.append(np.ones(Z.shape[1] - 1), 0.0)

    def value(v: NDArray[np.float64]) -> float:
        return float(s @ np.logaddexp(0, -sign * (Z @ v)) + 0.5 * (ridge * v) @ v)

    v, gradient, steps = np.zeros(Z.shape[1]), np.inf, 0
    while steps < 200:
        wrong = 1 / (1 + np.exp(np.clip(sign * (Z @ v), -700, 700)))
        pull = ridge * v - Z.T @ (s * sign * wrong)
        size = float(np.linalg.norm(v[:-1]))
        gradient = max(
            float(np.linalg.norm(pull[:-1])) / size if size else float(np.any(pull[:-1])),
            abs(pull[-1]) / s.sum(),
        )
        if gradient <= 1e-9:
            break
        step = np.linalg.solve((Z.T * (s * wrong * (1 - wrong))) @ Z + np.diag(ridge), pull)
        scale, here = 1.0, value(v)
        while scale > 1e-10 and value(v - scale * step) > here * (1 + 1e-12) - 1e-4 * scale * (
            pull @ step
        ):
            scale /= 2
        v, steps = v - scale * step, steps + 1
    coef = Q @ v[:-1]
    found = np.array([coef]), np.array([v[-1] - coef @ centre]), np.array([gradient <= 1e-9])
    return LogisticFits(*found, np.array([steps]), np.array([gradient]), centre)
