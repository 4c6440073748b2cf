"""Metrics with honest intervals. Labels: 1 = correct; a higher score means more likely correct.
Signs are never flipped.

Functions that end in `_many` take the scores of all cells at once, (cell, example), NaN where a
cell lacks the example: each cell is judged on the examples it has, by the same formula as one cell
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.types import Floats, Interval

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""
RESAMPLES = 1000
EXACT_FLOAT32 = 2**24
"""Whole numbers up to here are exact in float32, so sums of counts that stay below lose nothing by
it."""
BLOCK = 2**23
"""Numbers in the largest temporary array of the bootstrap."""
NO_SPREAD = 1e-12
"""A null with a smaller standard deviation than this is one value and rounding."""


def auroc(y: NDArray[np.integer], scores: Floats) -> float:
    """Area under the ROC curve by ranks, ties counting one half; NaN when a class is missing."""
    from scipy.stats import rankdata

    positive = y == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def auroc_many(y: NDArray[np.integer], scores: Floats) -> Floats:
    """(cell,) AUROC of (cell, example) scores, ties counting one half; NaN for a cell that lacks a
    class."""
    return np.asarray(auroc_labels(np.asarray(y)[:, None], scores)[:, 0])


def auroc_labels(labels: NDArray[np.integer], scores: Floats) -> Floats:
    """(cell, labelling) AUROC of (cell, example) scores under many label vectors, one matrix
    product over ranks.

    Args:
        labels: (example, labelling) 1 = correct. Labellings may differ in how many are correct.
        scores: (cell, example), NaN = absent; NaN in the result where the present examples hold one
            class only.
    """
    ranks = midranks(scores)
    there = np.isfinite(ranks)
    positive = (np.asarray(labels) == 1).astype(np.float64)
    n1 = there.astype(np.float64) @ positive
    n0 = there.sum(axis=1, keepdims=True) - n1
    total = np.where(there, ranks, 0.0) @ positive  # halves and whole numbers: exact
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((total - n1 * (n1 + 1) / 2) / (n1 * n0))


def auroc_rows(labels: NDArray[np.integer], scores: Floats) -> Floats:
    """(row,) AUROC of each row of (row, example) scores under the labels of that row; NaN where a
    row has one class only."""
    positive = np.asarray(labels) == 1
    n1 = positive.sum(axis=1)
    n0 = positive.shape[1] - n1
    total = np.where(positive, midranks(scores), 0.0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((total - n1 * (n1 + 1) / 2) / (n1 * n0))


def midranks(scores: Floats) -> Floats:
    """(cell, example) ranks from 1 within each row, ties sharing their mean rank, NaN where the
    score is NaN."""
    from scipy.stats import rankdata

    scores = np.asarray(scores, dtype=np.float64)
    return np.asarray(rankdata(scores, axis=1, nan_policy="omit"))


def delong_interval(y: NDArray[np.integer], scores: Floats) -> Interval:
    """95 % interval of the AUROC after DeLong et al. (1988), by midranks (Sun and Xu 2014),
    examples independent."""
    return _normal_interval(*placements(y, scores), 0.0)


def delong_difference(y: NDArray[np.integer], a: Floats, b: Floats) -> Interval:
    """95 % interval of AUROC(a) - AUROC(b) on the same examples, by DeLong's covariance of two
    correlated curves (1988).

    The variance of the difference is that of the differences of the placements, so the covariance
    needs no matrix.
    """
    (a1, a0), (b1, b0) = placements(y, a), placements(y, b)
    return _normal_interval(a1 - b1, a0 - b0, -1.0)


def placements(y: NDArray[np.integer], scores: Floats) -> tuple[Floats, Floats]:
    """Of each correct answer the share of wrong ones below it, and of each wrong one the share of
    correct ones above it."""
    from scipy.stats import rankdata

    positive, negative = scores[y == 1], scores[y == 0]
    n1, n0 = len(positive), len(negative)
    if not n1 or not n0:
        return np.full(n1, np.nan), np.full(n0, np.nan)
    ranks = rankdata(np.concatenate([positive, negative]))
    return (ranks[:n1] - rankdata(positive)) / n0, 1 - (ranks[n1:] - rankdata(negative)) / n1


def _normal_interval(v1: Floats, v0: Floats, lowest: float) -> Interval:
    """Mean of `v1` and normal interval from two independent sets of placements; NaN with fewer than
    two in either."""
    if len(v1) < 2 or len(v0) < 2:
        return Interval(float("nan"), float("nan"))
    half = Z95 * float(np.sqrt(v1.var(ddof=1) / len(v1) + v0.var(ddof=1) / len(v0)))
    centre = float(v1.mean())
    return Interval(max(lowest, centre - half), min(1.0, centre + half))


def delong_many(y: NDArray[np.integer], scores: Floats) -> tuple[Floats, Floats]:
    """Lower and upper ends, both (cell,), of `delong_interval` for every cell of (cell, example)
    scores."""
    positive = np.asarray(y) == 1
    ranks = midranks(scores)
    there = np.isfinite(ranks)
    n1, n0 = (
        there[:, rows].sum(axis=1, keepdims=True).astype(np.float64)
        for rows in (positive, ~positive)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        v1 = (ranks[:, positive] - midranks(scores[:, positive])) / n0
        v0 = 1 - (ranks[:, ~positive] - midranks(scores[:, ~positive])) / n1
        parts = [(v, n, np.nansum(v, axis=1, keepdims=True) / n) for v, n in ((v1, n1), (v0, n0))]
        variances = [
            np.nansum((v - mean) ** 2, axis=1, keepdims=True) / (n - 1) / n for v, n, mean in parts
        ]
        half, centre = Z95 * np.sqrt(variances[0] + variances[1])[:, 0], parts[0][2][:, 0]
    half[((n1 < 2) | (n0 < 2))[:, 0]] = np.nan  # one example of a class has no variance to estimate
    return np.maximum(0.0, centre - half), np.minimum(1.0, centre + half)


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
        """`n` resamples of the groups in `groups`."""
        names, index = np.unique(np.asarray(groups), return_inverse=True)
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n)
        return cls(drawn[:, index].astype(np.float32), index, seed)

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
        names, index = np.unique(codes, return_inverse=True)
        drawn = np.random.default_rng(self.seed).multinomial(
            len(names), np.full(len(names), 1 / len(names)), size=len(self.counts)
        )
        return Resamples(drawn[:, index].astype(np.float32), index, self.seed)

    def n_groups(self, rows: NDArray[np.bool_]) -> int:
        """How many groups have one of these examples."""
        return int(rows.sum()) if self.group is None else len(np.unique(self.group[rows]))

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
    below = np.zeros(
        (len(w0) + 1, w0.shape[1]), dtype=w0.dtype
    )  # below[k]: counts of the k lowest wrong examples
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


def permutation_p(observed: Floats, null: Floats) -> Floats:
    """(cell,) one-sided p of an AUROC as large as the observed one, with a resolution finer than 1
    / (labellings + 1).

    The null of a cell is taken as normal with unknown mean and variance, so one more draw from it
    lies beyond the observed value with the upper tail of Student's t: t = (observed - mean) / (sd
    sqrt(1 + 1 / B)), B - 1 degrees of freedom (the predictive interval of a further observation).
    The AUROC of permuted labels is near normal from some 20 of each class on.

    Args:
        observed: (cell,), NaN = masked.
        null: (cell, labelling), NaN = undefined for that labelling.

    Returns:
        NaN where the observed value or fewer than two of the null are defined; 1 where the null has
        no spread.
    """
    from scipy.stats import t as student

    b = np.isfinite(null).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(null, axis=1) / b
        sd = np.sqrt(np.nansum((null - mean[:, None]) ** 2, axis=1) / (b - 1))
        p = student.sf((observed - mean) / (sd * np.sqrt(1 + 1 / b)), b - 1)
    p = np.where(sd > NO_SPREAD, p, 1.0)
    return np.asarray(np.where(np.isfinite(observed) & (b >= 2), p, np.nan))


def max_statistic_p(observed: Floats, null: Floats) -> float:
    """p of the best cell of a map under no signal anywhere: (1 + labellings whose best cell is at
    least as good) / (1 + B).

    One labelling permutes all cells at once, so the maximum carries their dependence and needs no
    correction for their number (Westfall and Young 1993). Cells differ in how many examples they
    have, and the smallest would always hold the maximum; so every cell is first centred and scaled.
    Its mean and deviation are taken over the observed value and the null together: only then are
    all B + 1 maps exchangeable, and the p exact for any B.

    Args:
        observed: (cell,) AUROC, NaN = masked; masked cells take no part.
        null: (cell, labelling), the same labelling for all cells of a column.
    """
    both = np.column_stack([observed, null])[np.isfinite(observed)]
    n = np.isfinite(both).sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = both - np.nansum(both, axis=1, keepdims=True) / n
        sd = np.sqrt(np.nansum(centred**2, axis=1, keepdims=True) / (n - 1))
    used = (sd > NO_SPREAD)[:, 0]
    if not used.any():
        return float("nan")
    z = centred[used] / sd[used]
    best = np.where(np.isfinite(z), z, -np.inf).max(axis=0)
    return float((1 + (best[1:] >= best[0]).sum()) / len(best))


def fdr(p: Floats) -> Floats:
    """p adjusted after Benjamini and Hochberg (1995), in the shape of `p`: the lowest false
    discovery rate that admits each.

    NaN stays NaN and does not count as a test.
    """
    from scipy.stats import false_discovery_control

    out = np.full(np.shape(p), np.nan)
    tested = np.isfinite(p)
    if tested.any():
        out[tested] = false_discovery_control(np.asarray(p)[tested])
    return out
