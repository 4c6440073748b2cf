"""Probabilities from decisions: against scikit-learn, against brute force, and on planted truth."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import _SigmoidCalibration
from sklearn.metrics import brier_score_loss

from probebench.metrics.bootstrap import Resamples
from probebench.metrics.calibration import (
    BINS,
    calibration_gaps,
    calibration_interval,
    equal_mass_bins,
    fit_platt,
    reliability,
)
from probebench.scoring.measures import Sample, all_metrics


def drawn(n, slope=2.0, intercept=-0.5, seed=0):
    """Decisions, and labels that a logistic curve of them gives."""
    rng = np.random.default_rng(seed)
    s = rng.normal(size=n)
    return (rng.random(n) < expit(slope * s + intercept)).astype(int), s


@pytest.mark.parametrize(
    ("n", "scale", "shift"), [(40, 1.0, 0.0), (200, 50.0, -3.0), (900, 1e-3, 1e4)]
)
def test_platt_equals_scikit_learn(n, scale, shift):
    y, s = drawn(n)
    # minimises the same smoothed cross-entropy, by L-BFGS
    reference = _SigmoidCalibration().fit(s, y)
    platt = fit_platt(y, scale * s + shift)
    np.testing.assert_allclose(platt(scale * s + shift), reference.predict(s), atol=2e-4)
    assert platt.slope * scale == pytest.approx(-reference.a_, rel=2e-3)


def test_platt_is_the_minimum_of_its_loss():
    y, s = drawn(150)
    p = fit_platt(y, s)(s)
    n1, n0 = y.sum(), (1 - y).sum()
    target = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    assert abs((p - target).sum()) < 1e-6
    assert abs(((p - target) * s).sum()) < 1e-6


def test_platt_finds_the_curve_that_made_the_labels():
    y, s = drawn(40_000)
    platt = fit_platt(y, s)
    assert platt.slope == pytest.approx(2.0, abs=0.06)
    assert platt.intercept == pytest.approx(-0.5, abs=0.04)


def test_separable_decisions_keep_a_finite_slope():
    y = np.repeat([0, 1], 30)
    platt = fit_platt(y, y * 2.0 - 1)
    assert np.isfinite(platt.slope)
    np.testing.assert_allclose(platt(np.array([-1.0, 1.0])), [1 / 32, 31 / 32], atol=1e-6)


@pytest.mark.parametrize("turn", [-1.0, 0.0])
def test_signs_are_never_flipped(turn):
    y, s = drawn(300)
    platt = fit_platt(y, turn * s)
    assert platt.slope == 0
    assert platt(s)[0] == pytest.approx(y.mean(), abs=0.01)


def test_one_class_gives_no_probability():
    assert np.isnan(fit_platt(np.ones(20, int), np.arange(20.0)).slope)


def brute_ece(y, p, bins):
    """Sorted into bins of equally many examples, one bin at a time."""
    order = np.argsort(p, kind="stable")
    return sum(
        len(part) / len(p) * abs(p[part].mean() - y[part].mean())
        for part in np.array_split(order, bins)
    )


@pytest.mark.parametrize("n", [50, 230])
def test_calibration_error_equals_brute_force(n):
    rng = np.random.default_rng(n)
    y, p = rng.integers(0, 2, n), rng.random(n)
    draws = Resamples.draw([str(i) for i in range(n)], 0, 5)
    counts = np.concatenate([np.ones((1, n)), draws.counts])
    found = calibration_interval(counts @ calibration_gaps(y, p) / n, n)
    assert found.value == pytest.approx(brute_ece(y, p, BINS), abs=1e-12)


def test_equal_probabilities_share_a_bin():
    p = np.repeat([0.2, 0.7], [33, 67])
    index = equal_mass_bins(p)
    assert len(set(index[:33].tolist())) == len(set(index[33:].tolist())) == 1
    rows = reliability(np.repeat([0, 1], [33, 67]), p, [str(i) for i in range(100)])
    assert [r["n"] for r in rows] == [33, 67]
    assert [r["fraction_correct"] for r in rows] == [0.0, 1.0]


def test_brier_score_equals_scikit_learn():
    y, s = drawn(400)
    sample = Sample.of(y[200:], y[:200], Resamples.draw([str(i) for i in range(200)], 0, 20))
    found = all_metrics(sample, s[200:], s[:200])["brier"]
    assert found.value == pytest.approx(
        brier_score_loss(y[200:], fit_platt(y[:200], s[:200])(s[200:])), abs=1e-12
    )


def test_perfect_calibration_is_not_excluded_and_a_planted_error_is():
    y, s = drawn(2000, slope=2.0, intercept=0.0)
    counts = np.concatenate(
        [np.ones((1, 2000)), Resamples.draw([str(i) for i in range(2000)], 0).counts]
    )
    right = calibration_interval(counts @ calibration_gaps(y, expit(2 * s)) / 2000, 2000)
    wrong = calibration_interval(counts @ calibration_gaps(y, expit(2 * s + 1)) / 2000, 2000)
    assert right.interval.low == 0
    assert right.value == pytest.approx(right.if_calibrated, abs=0.02)
    assert wrong.interval.low > 0.05
    assert wrong.interval.low < wrong.value < wrong.interval.high


def test_a_bin_of_few_groups_is_less_certain():
    y, p = np.tile([0, 1], 100), np.full(200, 0.5)
    alone = reliability(y, p, [str(i) for i in range(200)])[0]
    grouped = reliability(y, p, [str(i // 10) for i in range(200)])[0]
    assert grouped["high"] - grouped["low"] > 2.5 * (alone["high"] - alone["low"])
