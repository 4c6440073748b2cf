"""Means over test examples with their intervals, from the same resamples for all."""

from __future__ import annotations

from typing import Any

import numpy as np

from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import Scale, bootstrap_interval
from probebench.scoring.comparison import ends
from probebench.types import Floats, Interval


def mean_of(values: Floats, draws: Resamples, scale: Scale = "logit") -> tuple[float, Interval]:
    """The mean of some values with its cluster-bootstrap interval; NaN of none.

    Args:
        values: (example,).
        draws: resamples of these examples.
        scale: `logit` for shares, `difference` for differences of shares.
    """
    if not len(values):
        return float("nan"), Interval(float("nan"), float("nan"))
    totals = draws.counts.sum(axis=1, dtype=np.float64)
    sums = draws.counts.astype(np.float64) @ values
    with np.errstate(invalid="ignore", divide="ignore"):
        replicates = sums / totals
    mean = float(np.mean(values))
    groups = draws.n_groups(np.ones(len(values), dtype=bool))
    return mean, bootstrap_interval(mean, replicates, groups, scale)


def share_facts(name: str, values: Floats, draws: Resamples) -> dict[str, Any]:
    """A mean of shares, as records hold it."""
    mean, interval = mean_of(values, draws)
    return {name: mean, f"{name}_95": ends(interval)}


def difference_facts(a: Floats, b: Floats, draws: Resamples) -> dict[str, Any]:
    """The mean difference of two shares of the same examples, as records hold it. Where no example
    differs the interval is that of a share of 0 in as many groups, to both sides."""
    mean, interval = mean_of(a - b, draws, "difference")
    if len(a) and np.array_equal(a, b):
        most = mean_of(np.zeros(len(a)), draws)[1].high
        interval = Interval(-most, most)
    return {"difference": mean, "difference_95": ends(interval)}
