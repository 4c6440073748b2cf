"""Batched descent on the L2 logistic objective: shared curvature, a direction per column, exact
search on scores.

What the solver is made of: the arrays of one cell on numpy or torch, in single or double precision,
and the loop that takes label columns of one C to the tolerance. The method is told there.
"""

from __future__ import annotations

import math
from itertools import count

import numpy as np
from numpy.typing import NDArray

from probebench.probes.logistic.backends import Array, Numpy
from probebench.probes.logistic.columns import Columns, Factor, Found, Point

FLAT = 1e-3
"""Curvature counts as at least this part of the largest, or of the shared one."""
OWN_FLAT = 1e-4
"""The same in the Hessian of a lone column, whose gradient is then seen in all directions."""
PLANE_STEPS, SMALL = 12, 0.25
"""Newton steps in a plane; a move of all scores by less than SMALL needs no second one."""
MANY, PROBES = 16, 8
"""Columns that count as many when a new factor is weighed; random signs that estimate a trace."""
NOTHING = 1e-4
STRETCH = 2.0
"""A column's own curvature makes a step longer by so much at most; see `WideCell.direction`."""
PATIENCE = 40
"""Directions after which the gradient is computed in any case."""
ALONE = 16
"""Directions after which a lone column gets a Hessian of its own; see `TallCell.factor`."""


class WideCell:
    """One cell's centred vectors in one precision with XX', for no more examples than features."""

    moved = 2.0, 4.0
    """Typical change of curvature that is worth a new factor to many columns, and to few, whose
    steps cost little."""

    def __init__(self, lib: Numpy, X: Array) -> None:
        self.lib, self.X, self.gram = lib, X, self.product(X)

    def product(self, X: Array) -> Array:
        return X @ X.T

    def typical(self, curve: Array, alone: bool) -> Array:
        """(example,) or (1,) what a factor is built from, of curvatures (column, example); `alone`
        where there is one column and its own are worth a Hessian."""
        mean = curve.mean(0)
        return self.lib.xp.clip(mean, FLAT * mean.max(), None)

    def inner(self, one: Point, other: Point) -> Array:
        """(column,) products of weights: w.w' = v.Kv' = v.f', because v sums to 0."""
        return self.lib.dot(one.v, other.f)

    def weights(self, v: Array) -> Array:
        return v @ self.X

    def direction(self, columns: Columns, factor: Factor, slope: Array, curve: Array) -> Point:
        """Newton-like step: with p = 1 / curvature, (K + p)dv + db = -p(v + slope), where p on the
        right is partly a column's own. K dv needs no product, as K h = z - p h for h = (K + p)^-1
        z.

        What K does not see of v, as the difference of two equal examples with different labels, no
        score and no search along scores feels: a step m times as long as at the shared p multiplies
        it by 1 - m. Beyond STRETCH it would grow with every step until rounding leaves nothing of
        the scores.
        """
        ratio = self.lib.xp.where(
            columns.weight > 0, self.lib.xp.clip(curve / factor.curve, FLAT, None), 1.0
        )
        z = (
            (columns.now.v + slope)
            * self.lib.xp.clip(ratio**factor.own, None, STRETCH)
            / factor.curve
        )
        h = self.lib.solve(factor.chol, z)
        b = -h.sum(-1) / factor.one.sum()
        v = -h - b[:, None] * factor.one
        return Point(v, -z - v / factor.curve, b)

    def factor(self, curve: Array) -> Factor:
        """Factor the Gram matrix plus inverse curvature, more of it where rounding needs that.

        Where K outweighs p, the step is nearly K^-1 p(v + slope), and only a column's own p is
        right; where p does, own and shared are alike and mixing costs symmetry. PROBES random signs
        estimate the share of K, trace(K(K + p)^-1) / n, and half its square is close to the best
        exponent measured. Double precision is there for hard columns and stays symmetric.
        """
        lib, floor = self.lib, 0.0
        while (chol := lib.factor(self.gram, lib.xp.clip(1 / curve, floor, None))) is None:
            floor = max(10 * floor, 1e-6 * float(abs(self.gram).max()))
        used = 1 / lib.xp.clip(1 / curve, floor, None)
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(PROBES + 1, len(self.gram)))
        signs[0] = 1
        z = lib.array(signs)
        h = lib.solve(chol, z)
        share = float((1 - z * h / used)[1:].mean())
        return Factor(curve, used, chol, h[0], 0.0 if lib.double else -0.5 * share**2)

    def has_moved(self, factor: Factor, typical: Array, columns: int) -> bool:
        change = abs(self.lib.xp.log(typical / factor.asked)).mean()
        return float(change) > math.log(self.moved[columns <= MANY])

    def slopes(self, columns: Columns, f: Array) -> tuple[Array, Array]:
        """First and second derivative of the weighted loss at scores f, both (column, example)."""
        wrong = 1 / (1 + self.lib.xp.exp(self.lib.xp.clip(columns.sign * f, None, 80)))
        size = columns.weight * wrong
        return -columns.sign * size, size * (1 - wrong)

    def plane(
        self, columns: Columns, step: Point, slope: Array, curve: Array
    ) -> tuple[Point, Array]:
        """Minimise the objective over the plane through now along step and last.

        Returns:
            The move to the minimiser, and (column,) the squared Newton decrement at the start.
        """
        xp, dot, now, pair = self.lib.xp, self.lib.dot, columns.now, (step, columns.last)
        quad = xp.stack([xp.stack([self.inner(u, other) for other in pair]) for u in pair])
        linear = xp.stack([self.inner(now, u) for u in pair])

        def newton(at: Array, slope: Array, curve: Array) -> tuple[Array, Array, Array]:
            g = linear + (quad * at).sum(1) + xp.stack([dot(slope, u.f) for u in pair])
            bent = [curve * u.f for u in pair]
            h00, h01, h11 = (
                dot(bent[i], pair[j].f) + quad[i, j] for i, j in ((0, 0), (0, 1), (1, 1))
            )
            det = h00 * h11 - h01 * h01
            # one line only: at the first step, or where rounding made the two parallel
            flat = det <= 1e-5 * h00 * h11
            n1 = xp.where(flat, 0.0, (h01 * g[0] - h00 * g[1]) / xp.where(flat, 1.0, det))
            move = xp.stack([-(g[0] + h01 * n1) / xp.where(h00 > 0, h00, 1.0), n1])
            return g, move, -(g * move).sum(0)

        at = 0 * linear
        _, move, gain = newton(at, slope, curve)
        start, change = gain, self._along(pair, move)
        settled = small = xp.amax(abs(change.f), -1) <= SMALL
        for _ in range(PLANE_STEPS):
            if bool(settled.all()):
                break
            g, fresh, drop = newton(at + move, *self.slopes(columns, now.f + change.f))
            over = (g * move).sum(0)
            good = (
                over <= 0.5 * gain
                # else too far: stay, and shorten the move towards where the chord of the slopes
                # is zero
            )
            short = xp.clip(gain / (gain + abs(over) + 1e-30), 0.25, None)
            at, move, gain = (
                xp.where(good, at + move, at),
                xp.where(good, fresh, short * move),
                xp.where(good, drop, short * gain),
            )
            settled = small | (good & (gain <= 1e-2 * start))
            change = self._along(pair, at + move)
        return (
            change if bool(settled.all()) else self._along(pair, xp.where(settled, at + move, at))
        ), start

    @staticmethod
    def _along(pair: tuple[Point, Point], by: Array) -> Point:
        return pair[0].times(by[0]) + pair[1].times(by[1])

    def check(self, columns: Columns, factor: Factor) -> tuple[Array, Point, NDArray[np.float64]]:
        """w, the same point with scores computed afresh, and the relative gradient there."""
        now, dot = columns.now, self.lib.dot
        w = self.weights(now.v)
        columns.now = Point(now.v, w @ self.X.T + now.b[:, None], now.b)
        slope, _ = self.slopes(columns, columns.now.f)
        # at the shared curvature alone: a symmetric metric
        step = self.direction(columns, factor, slope, factor.curve)
        gradient = self.inner(columns.now, step) + dot(slope, step.f)
        gradient2, w2 = (self.lib.host(x).astype(np.float64) for x in (-gradient, dot(w, w)))
        return w, columns.now, np.sqrt(abs(gradient2) / np.maximum(w2, self.nothing(columns)))

    def nothing(self, columns: Columns) -> NDArray[np.float64]:
        """(column,) squared weights that count as none, next to the weighted loss: vectors that say
        nothing leave w at zero, and then only the intercept's rounding is left of the gradient."""
        return np.asarray(
            NOTHING * self.lib.host((columns.weight + 0 * columns.sign).sum(-1)), dtype=np.float64
        )

    def descend(
        self, columns: Columns, found: Found, factor: Factor | None, tol: float, max_iter: int
    ) -> Factor:
        """Take columns to the tolerance, or to where they improve no longer, and leave what was
        found in `found`."""
        limit, best = np.full(len(columns.index), 0.7 * tol), np.full(len(columns.index), np.inf)
        for turn in count(1):
            slope, curve = self.slopes(columns, columns.now.f)
            had = factor is not None and len(factor.asked) > 1
            typical = self.typical(curve, len(columns.index) == 1 and (had or turn > ALONE))
            if (
                factor is None
                or len(factor.asked) != len(typical)
                or self.has_moved(factor, typical, len(columns.index))
            ):
                factor = self.factor(typical)
            step = self.direction(columns, factor, slope, curve)
            columns.last, drop = self.plane(columns, step, slope, curve)
            columns.now = columns.now + columns.last
            found.used[columns.index] += 1
            spent = found.used[columns.index] >= max_iter
            size = np.maximum(
                self.lib.host(self.inner(columns.now, columns.now)), self.nothing(columns)
            )
            near = spent | (self.lib.host(drop) <= limit**2 * size) | (turn % PATIENCE == 0)
            if 2 * near.sum() < len(near) and not spent.any():
                continue
            rows = np.flatnonzero(near)
            w, columns.now[rows], gradient = self.check(columns[rows], factor)
            found.put(columns.index[rows], self.lib.host(w), columns.now[rows], gradient)
            leave = (
                spent[rows]
                | (gradient <= tol)
                | (gradient > 0.7 * best[rows])
                | ~np.isfinite(gradient)
            )
            limit[rows] *= np.clip(0.7 * tol / np.maximum(gradient, tol), 0.05, 0.3)
            best[rows] = gradient
            stay = np.setdiff1d(np.arange(len(near)), rows[leave])
            if not len(stay):
                break
            if leave.any():
                columns, limit, best = columns[stay], limit[stay], best[stay]
        assert factor is not None
        return factor


class TallCell(WideCell):
    """The same with X'X, for more examples than features: v is w, and one curvature serves all
    rows, until a lone column has taken long."""

    moved = 6.0, 6.0

    def product(self, X: Array) -> Array:
        return X.T @ X

    def typical(self, curve: Array, alone: bool) -> Array:
        if not alone:
            return curve.mean()[None]
        own = curve.mean(0)
        return self.lib.xp.clip(own, OWN_FLAT * own.max(), None)

    def inner(self, one: Point, other: Point) -> Array:
        return self.lib.dot(one.v, other.v)

    def weights(self, v: Array) -> Array:
        return v

    def factor(self, curve: Array) -> Factor:
        """Factor X'X plus inverse curvature, or with a curvature per row the true Hessian.

        Where labels can be told apart and C is large, few rows have any curvature left, and steps
        at one curvature for all go on for hundreds. The Hessian costs as much as some twenty of
        them. It is built around the rows' weighted mean, `Factor.one`, where the intercept has no
        part in it.
        """
        if len(curve) == 1:
            return super().factor(curve)
        lib, floor = self.lib, 1.0
        bent = self.X.T * curve
        mean = bent.sum(-1) / curve.sum()
        gram = bent @ self.X - curve.sum() * mean[:, None] * mean
        while (chol := lib.factor(gram, lib.array([floor]))) is None:
            floor = max(10 * floor, 1e-6 * float(abs(gram).max()))
        return Factor(curve, curve, chol, mean, 0.0)

    def direction(self, columns: Columns, factor: Factor, slope: Array, curve: Array) -> Point:
        """Newton-like step (1 + curvature * X'X)dw = -gradient; with one curvature and centred X, b
        has no part in it, nor with one per row and X around their weighted mean."""
        pull, down = columns.now.v + slope @ self.X, slope.sum(-1)
        if len(factor.curve) == 1:
            v = -self.lib.solve(factor.chol, pull) / factor.curve
            b = -down / (factor.curve * len(self.X))
        else:
            v = -self.lib.solve(factor.chol, pull - down[:, None] * factor.one)
            b = -down / factor.curve.sum() - v @ factor.one
        return Point(v, v @ self.X.T + b[:, None], b)
