"""The cluster bootstrap: groups drawn with replacement, the same draws for every detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.power import end_effect
from probebench.types import Floats, Interval

RESAMPLES = 1000
EXACT_FLOAT32 = 2**24
"""Whole numbers up to here are exact in float32, so sums of counts that stay below lose nothing by
it."""
BLOCK = 2**23
"""Numbers in the largest temporary array of the bootstrap."""


class Sides(NamedTuple):
    """Examples of each class, and groups that have one."""

    correct: int
    wrong: int
    groups_correct: int
    groups_wrong: int


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """Cluster bootstrap: groups drawn with replacement, the same draws for every detector, so that
    differences pair."""

    counts: NDArray[np.float32]
    """(resample, example) how often each example was drawn."""
    group: NDArray[np.integer] | None = None
    """(example,) number of each example's group; None: each its own."""
    seed: int = 0
    """That the draws began with."""

    @classmethod
    def draw(cls, groups: Sequence[str], seed: int, n: int = RESAMPLES) -> Resamples:
        """`n` resamples of the groups in `groups`; of no example where there is none."""
        _, index = np.unique(np.asarray(groups), return_inverse=True)
        return cls(_drawn(index, seed, n), index, seed)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Resamples:
        """The same draws for a subset of the examples."""
        return Resamples(
            self.counts[:, rows], None if self.group is None else self.group[rows], self.seed
        )

    def among(self, there: NDArray[np.bool_]) -> Resamples:
        """Resamples of the groups of these examples alone, as `draw` makes them of their names;
        these draws where it is all."""
        if there.all():
            return self
        codes = np.flatnonzero(there) if self.group is None else self.group[there]
        # numbers of groups follow the order of their names, and so do these
        _, index = np.unique(codes, return_inverse=True)
        return Resamples(_drawn(index, self.seed, len(self.counts)), index, self.seed)

    def n_groups(self, rows: NDArray[np.bool_]) -> int:
        """How many groups have one of these examples."""
        return int(rows.sum()) if self.group is None else len(np.unique(self.group[rows]))

    def sides(self, y: NDArray[np.integer]) -> Sides:
        """How many examples, and groups, each class has."""
        correct, wrong = np.asarray(y) == 1, np.asarray(y) == 0
        groups = self.n_groups(correct), self.n_groups(wrong)
        return Sides(int(correct.sum()), int(wrong.sum()), *groups)

    def effect(self, area: float, sides: Sides, y: NDArray[np.integer], scores: Floats) -> float:
        """By how much groups raise the variance of an AUROC of (example,) scores beyond what its
        resamples can show (`end_effect`); `sides` are those of `y`."""
        if self.group is None:
            return 1.0
        fewer = min(sides.groups_correct, sides.groups_wrong)
        return end_effect(area, fewer, y, scores, self.group)

    def independent(self, y: NDArray[np.integer]) -> int:
        """Independent observations behind a number that needs both classes: twice the groups of the
        class that has fewer.

        At most all groups. This decides the quantile of Student's t in
        `intervals.bootstrap_interval`.
        """
        y = np.asarray(y)
        return min(
            self.n_groups(np.isin(y, (0, 1))), 2 * self.n_groups(y == 1), 2 * self.n_groups(y == 0)
        )

    def auroc(self, y: NDArray[np.integer], scores: Floats) -> Floats:
        """(resample,) AUROC of each resample, NaN where it drew one class only."""
        return np.asarray(self.auroc_many(y, np.asarray(scores)[None])[0])

    def auroc_many(self, y: NDArray[np.integer], scores: Floats) -> Floats:
        """(cell, resample) AUROC of (cell, example) scores, the same draws for all cells.

        A cell without an example leaves it out of every resample. NaN where a resample drew one
        class only. Per cell the wrong examples are added up in the order of their scores; each
        correct one then looks up how many stand below it.
        """
        scores, y = np.asarray(scores, dtype=np.float64), np.asarray(y)
        rows = [np.flatnonzero(y == value) for value in (1, 0)]
        most = [
            float(self.counts[:, r].sum(axis=1, dtype=np.float64).max(initial=0.0)) for r in rows
        ]
        whole = bool(np.all(self.counts == np.rint(self.counts)))
        dtype = (
            np.float32
            if whole and 2 * max(most[0], 1) * max(most[1], 1) < EXACT_FLOAT32
            else np.float64
        )
        out = np.empty((len(scores), len(self.counts)))
        step = max(64, BLOCK // (len(y) + 1))
        for start in range(0, len(self.counts), step):
            block = self.counts[start : start + step].T
            w1, w0 = (np.ascontiguousarray(block[r], dtype=dtype) for r in rows)
            _bootstrap(scores[:, rows[0]], scores[:, rows[1]], w1, w0, out[:, start : start + step])
        return out


def _drawn(group: NDArray[np.integer], seed: int, n: int) -> NDArray[np.float32]:
    """(resample, example) how often each example is drawn, of (example,) numbers of groups 0, 1,
    2 ..."""
    if not len(group):
        return np.zeros((n, 0), dtype=np.float32)
    groups = int(group.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=n)
    return drawn[:, group].astype(np.float32)


def _bootstrap(
    positive: Floats, negative: Floats, w1: NDArray[Any], w0: NDArray[Any], out: Floats
) -> None:
    """Weighted AUROC of every cell and resample into `out`.

    Args:
        positive: (cell, correct example) scores.
        negative: (cell, wrong example) scores.
        w1: (correct example, resample) counts.
        w0: (wrong example, resample) counts.
        out: (cell, resample).
    """
    # below[k]: counts of the k lowest wrong examples
    below = np.zeros((len(w0) + 1, w0.shape[1]), dtype=w0.dtype)
    rows, steps = list(below), list(w0)
    n1 = (
        (~np.isnan(positive)).astype(w1.dtype) @ w1
        if np.isnan(positive).any()
        else np.broadcast_to(w1.sum(axis=0), out.shape)
    )
    for cell, (s1, s0) in enumerate(zip(positive, negative, strict=True)):
        there = int((~np.isnan(s0)).sum())
        order = np.argsort(s0)[:there]  # NaN comes last
        for k, j in enumerate(order.tolist()):
            np.add(rows[k], steps[j], rows[k + 1])
        ordered = s0[order]
        present = ~np.isnan(s1)
        left, right = (
            np.where(present, np.searchsorted(ordered, s1, side), 0) for side in ("left", "right")
        )
        tied = bool((left != right).any())
        total = np.zeros(w0.shape[1], dtype=w0.dtype)
        for at in range(0, len(s1), 128):  # small enough to stay in the processor's cache
            some = slice(at, at + 128)
            total += np.einsum("ij,ij->j", below[left[some]], w1[some])
            if tied:
                total += np.einsum("ij,ij->j", below[right[some]], w1[some])
        with np.errstate(invalid="ignore", divide="ignore"):
            pairs = n1[cell].astype(np.float64) * rows[there]
            out[cell] = total.astype(np.float64) / (2 if tied else 1) / pairs


def percentile_interval(values: Floats) -> Interval:
    """Central 95 % of bootstrap values; NaN when fewer than half of them are defined."""
    defined = values[np.isfinite(values)]
    if len(defined) < len(values) / 2:
        return Interval(float("nan"), float("nan"))
    low, high = np.percentile(defined, [2.5, 97.5])
    return Interval(float(low), float(high))
