"""Label columns on their way: where they stand, what curvature they share, where they were last
checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.probes.logistic.backends import Array


@dataclass(slots=True)
class Point:
    """Where columns stand, or a change of that."""

    v: Array
    """(column, example) with w = X'v, or (column, feature) w itself."""
    f: Array
    """(column, example) scores."""
    b: Array
    """(column,)."""

    def __getitem__(self, rows: Any) -> Point:
        return Point(self.v[rows], self.f[rows], self.b[rows])

    def __setitem__(self, rows: Any, other: Point) -> None:
        self.v[rows], self.f[rows], self.b[rows] = other.v, other.f, other.b

    def __add__(self, other: Point) -> Point:
        return Point(self.v + other.v, self.f + other.f, self.b + other.b)

    def times(self, by: Array) -> Point:
        return Point(by[:, None] * self.v, by[:, None] * self.f, by * self.b)


@dataclass(slots=True)
class Columns:
    """Label columns with one C."""

    index: NDArray[np.int64]
    """(column,) place in the caller's order."""
    sign: Array
    """(column, example) -1 or 1."""
    weight: Array
    """(column, example) or (1, 1) C times the sample weight."""
    now: Point
    last: Point
    """The last move."""

    def __getitem__(self, rows: NDArray[np.int64]) -> Columns:
        weight = self.weight[rows] if len(self.weight) > 1 else self.weight
        return Columns(self.index[rows], self.sign[rows], weight, self.now[rows], self.last[rows])


@dataclass(slots=True)
class Factor:
    """A shared Hessian, ready to solve with."""

    asked: Array
    """(example,) or (1,) curvature that it was asked for."""
    curve: Array
    """The same, lower where rounding needed that; its inverse is what the Gram matrix's diagonal
    was shifted by."""
    chol: Array
    one: Array
    """For the intercept: (example,) what solves to all ones; with X'X and a curvature per row
    (feature,) the rows' weighted mean; with one curvature unused."""
    own: float
    """Exponent that mixes a column's own curvature into the shared one; see `WideCell.factor`."""


@dataclass(slots=True)
class Found:
    """Every column where it was last checked, in the caller's order."""

    coef: NDArray[Any]
    now: Point
    gradient: NDArray[np.float64]
    used: NDArray[np.int64]

    def put(
        self, index: NDArray[np.int64], w: NDArray[Any], now: Point, gradient: NDArray[np.float64]
    ) -> None:
        self.coef[index], self.now[index], self.gradient[index] = w, now, gradient

    def forget(self, index: NDArray[np.int64]) -> None:
        """Put columns that left the numbers back to where all began."""
        self.coef[index] = 0
        self.now.v[index], self.now.f[index], self.now.b[index] = 0, 0, 0
        self.used[index] = 0
