"""AUROC within strata: a correct and a wrong answer are compared only where both are of one
stratum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import bootstrap_interval
from probebench.types import Floats, Interval


@dataclass(frozen=True, slots=True)
class Stratified:
    """An AUROC over the pairs within strata."""

    auroc: float
    """NaN where no stratum holds both classes."""
    interval: Interval
    """Cluster bootstrap by group."""
    n_pairs: int
    n: int
    """Examples of strata that hold both classes."""
    n_strata: int
    """Strata that hold both classes."""


def stratified_auroc(
    draws: Resamples, y: NDArray[np.integer], scores: Floats, strata: NDArray[np.integer]
) -> Stratified:
    """Share of the pairs of a correct and a wrong answer of one stratum that the scores order
    rightly, ties counting one half.

    Args:
        draws: resamples of these examples.
        y: (example,) 1 = correct.
        scores: (example,) all finite.
        strata: (example,) number of each example's stratum.
    """
    found = over_pairs(draws, y, scores, strata)
    used = found.used
    independent = draws.take(used).independent(y[used]) if found.n else 0
    if found.auroc in (0.0, 1.0):
        # where no resample differs, the pairs without a common answer are all that speaks
        independent = min(independent, found.n_apart)
    interval = bootstrap_interval(found.auroc, found.replicates, independent)
    return Stratified(found.auroc, interval, found.n, int(used.sum()), found.n_strata)


class Pairs(NamedTuple):
    """An AUROC over the pairs within strata, and the same in each resample."""

    auroc: float
    """NaN where no stratum holds both classes."""
    replicates: Floats
    """(resample,) NaN where none of its strata does."""
    n: int
    n_apart: int
    """The most of these pairs of which no two share an answer."""
    used: NDArray[np.bool_]
    """(example,) is its stratum one that holds both classes?"""
    n_strata: int
    """Strata that do."""


def over_pairs(
    draws: Resamples, y: NDArray[np.integer], scores: Floats, strata: NDArray[np.integer]
) -> Pairs:
    """The AUROC over all pairs of a correct and a wrong answer of one stratum, each counting once;
    arguments as of `stratified_auroc`."""
    right, pairs, apart, used, n_strata = 0.0, 0, 0, np.zeros(len(y), dtype=bool), 0
    drawn_right, drawn_pairs = np.zeros((2, len(draws.counts)))
    for stratum in np.unique(strata):
        here = np.flatnonzero(strata == stratum)
        truth, own = y[here], draws.take(here)
        each = int((truth == 1).sum()), int((truth == 0).sum())
        n = each[0] * each[1]
        if not n:
            continue
        apart += min(each)
        right, pairs, n_strata = right + n * auroc(truth, scores[here]), pairs + n, n_strata + 1
        used[here] = True
        counts = own.counts.astype(np.float64)
        both = counts[:, truth == 1].sum(axis=1) * counts[:, truth == 0].sum(axis=1)
        drawn_right += np.nan_to_num(own.auroc(truth, scores[here])) * both
        drawn_pairs += both
    with np.errstate(invalid="ignore", divide="ignore"):
        replicates = drawn_right / drawn_pairs
    value = right / pairs if pairs else float("nan")
    return Pairs(value, replicates, pairs, apart, used, n_strata)
