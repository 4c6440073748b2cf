"""Two sets of decisions on one sample, sought here: the examples that both score. Tables over
examples that are fixed take `metrics.intervals.area_difference`.

An AUROC says something of a detector *on some examples*. Two of them that stand side by side are
comparable only over the same ones, so both values, both intervals, their difference and its test
come from one object with one n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.delong import Z95, delong_difference
from probebench.metrics.intervals import Difference, Side, area_difference, area_interval
from probebench.types import Floats, Interval

Ints = NDArray[np.int64]
UNDEFINED = Interval(float("nan"), float("nan"))


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Two AUROCs over the same examples, and their difference."""

    rows: NDArray[np.int64]
    """Of the examples given, those that both have a decision for: every number is over these."""
    correct: tuple[int, int]
    """How many of them are correct, by the labels of each side."""
    values: tuple[float, float]
    intervals: tuple[Interval, Interval]
    difference: float
    """First minus second."""
    interval: Interval
    """Paired cluster bootstrap: the same groups drawn for both."""
    se: float
    """Standard error of the difference, from the same resamples; NaN where they say nothing."""
    p: float
    """Two-sided p of no difference by Student's t on `se`: below .05 exactly where `interval`
    leaves out 0."""
    delong: Interval
    """Paired DeLong, examples independent; NaN with different labels, for which it is not
    defined."""
    delong_p: float
    """Two-sided p of no difference by DeLong; NaN as above, or where the difference has no
    variance."""

    @property
    def n(self) -> int:
        """Examples that both score."""
        return len(self.rows)


def paired(y_a: Ints, y_b: Ints, a: Floats, b: Floats, groups: Sequence[str], seed: int) -> Paired:
    """Both AUROCs and their difference over the examples that both score.

    Args:
        y_a: (example,) labels that A is scored against.
        y_b: (example,) the same of B.
        a: (example,) decisions of A, NaN where it has none.
        b: (example,) decisions of B.
        groups: of each example.
        seed: of the resamples.
    """
    rows = np.flatnonzero(np.isfinite(a) & np.isfinite(b)).astype(np.int64)
    y_a, y_b, a, b = y_a[rows], y_b[rows], a[rows], b[rows]
    if not len(rows):  # nothing that both score: nothing is known
        nan = float("nan")
        return Paired(
            rows,
            (0, 0),
            (nan, nan),
            (UNDEFINED, UNDEFINED),
            nan,
            UNDEFINED,
            nan,
            nan,
            UNDEFINED,
            nan,
        )
    draws = Resamples.draw([groups[i] for i in rows.tolist()], seed)
    sides = Side.of(draws, y_a, a), Side.of(draws, y_b, b)
    first, second = (area_interval(s, draws) for s in sides)
    values = sides[0].value, sides[1].value
    difference, found = values[0] - values[1], area_difference(draws, *sides)
    p = _tested(difference, found)
    delong, delong_p = _delong(y_a, a, b) if np.array_equal(y_a, y_b) else (UNDEFINED, float("nan"))
    correct = int(y_a.sum()), int(y_b.sum())
    return Paired(
        rows,
        correct,
        values,
        (first, second),
        difference,
        found.interval,
        found.se,
        p,
        delong,
        delong_p,
    )


def _tested(difference: float, found: Difference) -> float:
    """Two-sided p of no difference by Student's t on its standard error; NaN without one."""
    from scipy.stats import t as student

    known = found.se > 0 and np.isfinite(difference)
    return (
        float(2 * student.sf(abs(difference) / found.se, found.groups - 1))
        if known
        else float("nan")
    )


def _delong(y: Ints, a: Floats, b: Floats) -> tuple[Interval, float]:
    """Paired DeLong interval of the difference, and the two-sided p of no difference by the same
    normal distribution."""
    from scipy.stats import norm

    interval, centre = delong_difference(y, a, b), auroc(y, a) - auroc(y, b)
    half = max(interval.high - centre, centre - interval.low)  # an end may be cut off at -1 or 1
    return interval, float(2 * norm.sf(abs(centre) * Z95 / half)) if half > 0 else float("nan")
