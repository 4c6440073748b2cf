"""Metrics with honest intervals. Labels: 1 = correct; a higher score means more likely correct. Signs are never flipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probebench.types import Interval

Floats = NDArray[np.float64]
Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""
RESAMPLES = 1000


def auroc(y: NDArray[np.integer], scores: Floats) -> float:
    """Area under the ROC curve by ranks, ties counting one half; NaN when a class is missing."""
    from scipy.stats import rankdata

    positive = y == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def auprc(y: NDArray[np.integer], scores: Floats) -> float:
    """Average precision of the class `correct`; read it beside the prevalence. NaN when a class is missing."""
    from sklearn.metrics import average_precision_score

    if len(np.unique(y)) < 2:
        return float("nan")
    return float(average_precision_score(y, scores))


def delong_interval(y: NDArray[np.integer], scores: Floats) -> Interval:
    """95 % interval of the AUROC after DeLong et al. (1988), by midranks (Sun and Xu 2014), examples independent."""
    from scipy.stats import rankdata

    positive, negative = scores[y == 1], scores[y == 0]
    n1, n0 = len(positive), len(negative)
    if n1 < 2 or n0 < 2:
        return Interval(float("nan"), float("nan"))
    ranks = rankdata(np.concatenate([positive, negative]))
    v1 = (ranks[:n1] - rankdata(positive)) / n0  # placement of each positive among the negatives
    v0 = 1 - (ranks[n1:] - rankdata(negative)) / n1
    half = Z95 * float(np.sqrt(v1.var(ddof=1) / n1 + v0.var(ddof=1) / n0))
    centre = float(v1.mean())
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """Cluster bootstrap: groups drawn with replacement, the same draws for every detector, so that differences pair."""

    counts: NDArray[np.float32]
    """(resample, example) how often each example was drawn."""

    @classmethod
    def draw(cls, groups: Sequence[str], seed: int, n: int = RESAMPLES) -> Resamples:
        """`n` resamples of the groups in `groups`."""
        names, index = np.unique(np.asarray(groups), return_inverse=True)
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n)
        return cls(drawn[:, index].astype(np.float32))

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Resamples:
        """The same draws for a subset of the examples."""
        return Resamples(self.counts[:, rows])

    def auroc(self, y: NDArray[np.integer], scores: Floats) -> Floats:
        """(resample,) AUROC of each resample, NaN where it drew one class only."""
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # first of each run of ties
        weights = self.counts[:, order].astype(np.float64)
        positive = np.add.reduceat(weights * (y[order] == 1), starts, axis=1)
        negative = np.add.reduceat(weights * (y[order] == 0), starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative
        n1, n0 = positive.sum(1), negative.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((positive * (below + 0.5 * negative)).sum(1) / (n1 * n0))


def percentile_interval(values: Floats) -> Interval:
    """Central 95 % of bootstrap values; NaN when fewer than half of them are defined."""
    defined = values[np.isfinite(values)]
    if len(defined) < len(values) / 2:
        return Interval(float("nan"), float("nan"))
    low, high = np.percentile(defined, [2.5, 97.5])
    return Interval(float(low), float(high))
