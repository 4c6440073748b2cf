"""Probabilities from decisions: Platt scaling on validation, and how far they are off on test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.intervals import wilson
from probebench.types import Floats, Interval

BINS = 10
"""Equal-mass bins of the calibration error."""
STEPS, TOL = 100, 1e-10


@dataclass(frozen=True, slots=True)
class Platt:
    """P(correct) = 1 / (1 + exp(-(slope x decision + intercept)))."""

    slope: float
    """Never negative: a sign is fixed before anything is seen. NaN when validation cannot say."""
    intercept: float

    def __call__(self, decisions: Floats) -> Floats:
        """(example,) probability that the answer is correct."""
        from scipy.special import expit

        return np.asarray(expit(self.slope * decisions + self.intercept))


def fit_platt(y: NDArray[np.integer], decisions: Floats) -> Platt:
    """Platt scaling (Platt 1999) by Newton's method with step halving (Lin, Lin and Weng 2007).

    The targets are smoothed as Platt does, (N1 + 1) / (N1 + 2) and 1 / (N0 + 2), so that separable
    decisions keep a finite slope. Where the best slope is negative the slope is 0 and everything
    gets the smoothed share of correct answers: a detector that ranks validation the wrong way round
    is not turned round.

    Args:
        y: (example,) 1 = correct.
        decisions: (example,) no NaN.

    Returns:
        NaN coefficients when a class is missing.
    """
    positive = np.asarray(y) == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return Platt(float("nan"), float("nan"))
    target = np.where(positive, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    base = float(np.log(target.mean() / (1 - target.mean())))
    centre, scale = float(decisions.mean()), float(decisions.std())
    x = (decisions - centre) / scale if scale > 0 else np.zeros(len(decisions))
    # the slope's gradient at zero
    if not np.isfinite(x).all() or not x @ (target - target.mean()) > 1e-12 * len(x):
        return Platt(0.0, base)
    slope, intercept = _newton(x, target, base)
    return Platt(slope / scale, intercept - slope * centre / scale)


def _newton(x: Floats, target: Floats, base: float) -> tuple[float, float]:
    """The two coefficients that minimise the cross-entropy with `target`."""
    from scipy.special import expit

    X = np.column_stack([x, np.ones(len(x))])

    def loss(w: Floats) -> float:
        z = X @ w
        return float(np.sum(np.logaddexp(0, z) - target * z))

    w = np.array([0.0, base])
    value = loss(w)
    for _ in range(STEPS):
        p = expit(X @ w)
        gradient = X.T @ (p - target)
        if np.abs(gradient).max() < TOL * len(x):
            break
        step = np.linalg.solve((X * (p * (1 - p))[:, None]).T @ X + 1e-12 * np.eye(2), gradient)
        size = 1.0
        while (new := loss(w - size * step)) > value and size > 1e-10:
            size /= 2
        w, value = w - size * step, new
    return float(w[0]), float(w[1])


def equal_mass_bins(p: Floats, bins: int = BINS) -> NDArray[np.intp]:
    """(example,) bin of each probability: `bins` bins of equally many examples, equal probabilities
    in one bin.

    With many ties bins differ in size, and some may be empty.
    """
    from scipy.stats import rankdata

    return np.asarray(np.minimum(((rankdata(p) - 0.5) / len(p) * bins).astype(np.intp), bins - 1))


def calibration_gaps(y: NDArray[np.integer], p: Floats, bins: int = BINS) -> Floats:
    """(example, bin) probability minus label in the example's own bin, 0 in the others; NaN where
    `p` is undefined.

    Summed over any weighting of the examples, the absolute sums of the bins are that weighting's
    calibration error.
    """
    if np.isnan(p).any():
        return np.full((len(p), bins), np.nan)
    gaps = np.zeros((len(p), bins))
    gaps[np.arange(len(p)), equal_mass_bins(p, bins)] = p - (np.asarray(y) == 1)
    return gaps


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Expected calibration error: the mean over examples of |mean probability - share correct| of
    their bin."""

    value: float
    interval: Interval
    if_calibrated: float
    """What noise alone would give on average, were the probabilities right in every bin."""


def calibration_interval(gaps: Floats, groups: int) -> CalibrationError:
    """Calibration error with an interval that knows of its bias.

    Absolute gaps turn noise into error: the value lies above the truth, and its bootstrap values
    above the value, so that percentiles all but never hold the truth. The lower end is therefore
    the value minus the 97.5 % quantile of what the noise of the gaps alone adds up to, sum |gap* -
    gap| over the resamples (never too high, by the triangle inequality), and 0 where that exceeds
    the value: perfect calibration is then not excluded. The upper end is the value plus Student's t
    times its bootstrap standard deviation; bias only helps there. In simulation the interval holds
    the truth in 98 to 100 %.

    Args:
        gaps: (1 + resample, bin) share of the bin times (mean probability - share correct); row 0
            is the sample itself.
        groups: independent observations.
    """
    from scipy.stats import t as student

    value = np.abs(gaps).sum(axis=1)
    if groups < 2 or np.isnan(value).any():
        return CalibrationError(float(value[0]), Interval(float("nan"), float("nan")), float("nan"))
    widen = np.sqrt(groups / (groups - 1))  # as in `bootstrap_interval`
    noise = np.abs(gaps[1:] - gaps[0]).sum(axis=1) * widen
    low = max(0.0, float(value[0] - np.percentile(noise, 97.5)))
    high = min(
        1.0, float(value[0] + student.ppf(0.975, groups - 1) * value[1:].std(ddof=1) * widen)
    )
    return CalibrationError(float(value[0]), Interval(low, high), float(noise.mean()))


def reliability(
    y: NDArray[np.integer], p: Floats, groups: Sequence[str], bins: int = BINS
) -> list[dict[str, Any]]:
    """Bins of the reliability plot, the lowest probability first; empty ones are left out.

    The interval of the share of correct answers is Wilson's (1927), with as many observations as
    the bin has groups: answers of one group may all be alike, and a resample of a bin without a
    wrong answer would have none either.
    """
    right, names = np.asarray(y) == 1, np.asarray(groups)
    index = equal_mass_bins(p, bins)
    rows = []
    for b in range(bins):
        at = index == b
        if not at.any():
            continue
        share, n_groups = float(right[at].mean()), len(np.unique(names[at]))
        interval = wilson(share * n_groups, n_groups)
        rows.append(
            {
                "mean_predicted": float(p[at].mean()),
                "fraction_correct": share,
                "n": int(at.sum()),
                "low": interval.low,
                "high": interval.high,
            }
        )
    return rows
