"""What depends on the split: the cell that another split selects, the spread over several splits,
and one number from folds that test every example once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import LabelError
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import Side, area_interval
from probebench.metrics.strata import over_pairs
from probebench.probes.choose import with_bars
from probebench.probes.fit import Job, fit_cells, masked_cell
from probebench.scoring.comparison import ends
from probebench.scoring.select import select
from probebench.tasks.split import SHARES
from probebench.types import Cell, CellFit, Floats, Interval, SplitName

TESTED = dict(SHARES)["test"]
"""Share of the examples that a split tests."""
TWICE = 5 / 3
"""By how much the variance of a cross-fitted AUROC may exceed that over its test examples.

A pair of examples counts as often as one of them is tested by a probe that was fitted to the other.
Without signal what it adds is the same both times. Two folds that are neighbours test each other
once, since one of them is the other's validation, the others twice: of five folds 1 and 2 squared
over the 1 and 1 + 1 of independent pairs, (5 + 5 x 4) / (5 + 5 x 2)."""


def refit(job: Job, cells: Sequence[Cell], splits: Sequence[SplitName]) -> CellFit:
    """The cell that a split selects, with its probe.

    Every cell is fitted to the true labels and one is selected, all as in the main run.

    Args:
        job: of the main run.
        cells: those that compete.
        splits: (example,) another split.

    Returns:
        A masked cell that says why, where none could be selected.
    """
    own = replace(job, shuffles=0, labels=replace(job.labels, splits=tuple(splits)))
    try:
        return select(with_bars(list(fit_cells(own, cells)), own.labels))
    except LabelError as error:
        return masked_cell(cells[0], len(job.labels.y), str(error))


@dataclass(frozen=True, slots=True, eq=False)
class Resplit:
    """Another split of the examples, and the cell that it selects."""

    splits: Sequence[SplitName]
    """(example,)."""
    fit: CellFit
    """Masked where none could be selected."""


@dataclass(frozen=True, slots=True, eq=False)
class Resplits:
    """All that was asked for."""

    site: str
    """Of the run's selected cell, whose cells compete in each."""
    given: bool
    """Does the task, or the file of answers, keep test examples of its own?"""
    repeats: tuple[Resplit, ...]
    folds: tuple[Resplit, ...]
    """Empty where test examples are given."""


@dataclass(frozen=True, slots=True)
class Spread:
    """AUROCs of several splits of the same examples; NaN where too few are defined."""

    n: int
    """Splits with an AUROC."""
    mean: float
    interval: Interval
    """Of the mean."""
    sd: float
    low: float
    high: float


def spread_facts(over: Spread) -> dict[str, Any]:
    """A spread as a record holds it."""
    return {
        "n": over.n,
        "mean": over.mean,
        "mean_95": ends(over.interval),
        "sd": over.sd,
        "min": over.low,
        "max": over.high,
    }


def spread(values: Floats, tested: float) -> Spread:
    """The spread over splits, and an interval of the mean.

    Splits of the same examples share most of them, so that the mean of many is not surer than what
    the examples can tell: its variance is taken as sd^2 (1/n + tested / (1 - tested)), after Nadeau
    and Bengio (2003), with Student's t.

    Args:
        values: (split,) test AUROC, NaN where undefined.
        tested: share of the examples that a split tests; NaN where all test the same ones, and say
            nothing of others: the mean has no interval then.
    """
    from scipy.stats import t as student

    there, nan = values[np.isfinite(values)], float("nan")
    n = len(there)
    if not n:
        return Spread(0, nan, Interval(nan, nan), nan, nan, nan)
    mean, sd = float(there.mean()), float(there.std(ddof=1)) if n > 1 else nan
    half = float(student.ppf(0.975, n - 1)) * sd * np.sqrt(1 / n + tested / (1 - tested))
    known = np.isfinite(half)
    sides = (max(0.0, mean - half), min(1.0, mean + half)) if known else (nan, nan)
    return Spread(n, mean, Interval(*map(float, sides)), sd, float(there.min()), float(there.max()))


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """The AUROC over examples that were each tested once, by the probe of the other folds."""

    auroc: float
    interval: Interval
    n: int
    n_correct: int
    n_groups: int


def cross_fitted(
    y: NDArray[np.integer],
    groups: Sequence[str],
    folds: NDArray[np.integer],
    decisions: Floats,
    seed: int,
) -> CrossFitted:
    """One AUROC of all folds: pairs of a correct and a wrong answer of one fold, all counting once.

    Pairs of two folds are not looked at: their decisions come from probes with different
    intercepts, each of which runs against the balance of what it was not fitted to. The interval is
    from a cluster bootstrap of all groups, its variance raised by `TWICE`.

    Args:
        y: (example,) 1 = correct.
        groups: (example,) what is resampled.
        folds: (example,) the fold that tested each.
        decisions: (example,) NaN where the selected cell's token is absent.
        seed: of the resamples.
    """
    there = np.flatnonzero(np.isfinite(decisions))
    y, folds, decisions = np.asarray(y)[there], folds[there], decisions[there]
    names = [groups[i] for i in there.tolist()]
    draws = Resamples.draw(names, seed)
    found = over_pairs(draws, y, decisions, folds)
    wider = found.auroc + np.sqrt(TWICE) * (found.replicates - found.auroc)
    from scipy.stats import rankdata

    placed = np.empty(len(y))
    for fold in np.unique(folds):  # decisions of one fold are not on the scale of another
        own = np.flatnonzero(folds == fold)
        placed[own] = rankdata(decisions[own]) / len(own)
    interval = area_interval(Side(y, found.auroc, wider, placed), draws)
    return CrossFitted(found.auroc, interval, len(there), int(y.sum()), len(set(names)))
