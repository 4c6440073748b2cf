"""AUPRC, rejection and thresholds: against scikit-learn and brute force, and on planted truth."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.ranking import accuracy_threshold, alarm_threshold, ranked

rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 3)), min_size=4, max_size=40
)


def columns(examples):
    y, s, w = (np.array([r[i] for r in examples]) for i in range(3))
    return y, s.astype(float), w


@settings(max_examples=150, deadline=None)
@given(rows)
def test_weighted_average_precision_equals_scikit_learn(examples):
    y, s, w = columns(examples)
    found = ranked(y, s, w[None]).auprc[0]
    if not w[y == 1].sum() or not w[y == 0].sum():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(average_precision_score(y, s, sample_weight=w), abs=1e-12)


def area(y):
    """Mean accuracy of the m first, m = 1..n: the area under one order's rejection curve, as
    LM-Polygraph takes it."""
    return float(np.mean(np.cumsum(y) / np.arange(1, len(y) + 1)))


def brute_prr(y, s):
    """Every order of tied answers, one by one; random is the mean over all orders of all answers
    (its closed form, n1 / n)."""
    blocks = [[int(v) for v in y[s == value]] for value in sorted(set(s), reverse=True)]
    orders = itertools.product(*(list(itertools.permutations(b)) for b in blocks))
    ours = np.mean([area(np.concatenate(order)) for order in orders])
    return (ours - np.mean(y)) / (area(np.sort(y)[::-1]) - np.mean(y))


@pytest.mark.parametrize("seed", range(8))
def test_rejection_ratio_equals_brute_force_over_all_orders_of_ties(seed):
    rng = np.random.default_rng(seed)
    y = np.r_[0, 1, rng.integers(0, 2, 7)]
    s = rng.integers(0, 4, 9).astype(float)
    assert ranked(y, s).prr[0] == pytest.approx(brute_prr(y, s), abs=1e-12)


def test_random_order_earns_what_brute_force_says():
    y = np.array([1, 1, 0, 1, 0, 0])
    everything = [area(np.array(order)) for order in itertools.permutations(y)]
    assert np.mean(everything) == pytest.approx(y.mean(), abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(rows)
def test_weights_are_repetitions(examples):
    y, s, w = columns(examples)
    whole, repeated = (
        ranked(y, s, w[None]),
        ranked(np.repeat(y, w), np.repeat(s, w)) if w.sum() else None,
    )
    if repeated is None or np.isnan(whole.prr[0]):
        return
    assert whole.prr[0] == pytest.approx(repeated.prr[0], abs=1e-9)


def test_rejection_ratio_of_oracle_constant_and_its_opposite():
    y = np.r_[np.ones(30, int), np.zeros(20, int)]
    assert ranked(y, y.astype(float)).prr[0] == pytest.approx(1, abs=1e-12)
    assert ranked(y, np.ones(50)).prr[0] == pytest.approx(0, abs=1e-12)
    assert ranked(y, -y.astype(float)).prr[0] < -0.9
    assert np.isnan(ranked(np.ones(9, int), np.arange(9.0)).prr[0])


def test_ratio_of_the_error_curve_would_be_the_auroc_again():
    # Malinin et al. also plot errors left in all answers over the share rejected; with right and
    # wrong answers that ratio is 2 AUROC - 1 and says nothing new (docs/protocol.md), which is why
    # the accuracy of what is kept is used
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    s = rng.normal(size=300) + y

    def left(order):
        return np.mean([np.sum(1 - y[order][:m]) for m in range(301)])

    random = np.mean([np.mean(1 - y) * m for m in range(301)])
    ratio = (random - left(np.argsort(-s))) / (random - left(np.argsort(-y, kind="stable")))
    assert ratio == pytest.approx(2 * auroc(y, s) - 1, abs=1e-12)
    assert abs(ranked(y, s).prr[0] - ratio) > 0.01


def test_blocks_of_resamples_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    y, s = rng.integers(0, 2, 60), rng.normal(size=60)
    counts = Resamples.draw([str(i) for i in range(60)], 0, 200).counts
    whole = ranked(y, s, counts)
    monkeypatch.setattr("probebench.metrics.ranking.BLOCK", 7)
    for a, b in zip(whole, ranked(y, s, counts), strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=150, deadline=None)
@given(rows)
def test_accuracy_threshold_is_the_best_there_is(examples):
    y, s, _ = columns(examples)
    t = accuracy_threshold(y, s)
    best = max(np.mean((s >= cut) == (y == 1)) for cut in [*s, np.inf])
    assert np.mean((s >= t) == (y == 1)) == best
    assert t not in s


def test_accuracy_threshold_of_ties_and_edges():
    assert accuracy_threshold(np.array([0, 1]), np.array([0.0, 1.0])) == 0.5
    assert accuracy_threshold(np.array([1, 1]), np.array([0.0, 1.0])) == -np.inf
    assert accuracy_threshold(np.array([0, 0]), np.array([0.0, 1.0])) == np.inf
    assert np.isnan(accuracy_threshold(np.zeros(0, int), np.zeros(0)))
    close = np.array([1.0, np.nextafter(1.0, 2.0)])
    assert accuracy_threshold(np.array([0, 1]), close) == close[1]


@pytest.mark.parametrize(
    ("n", "rate", "flagged"),
    [(98, 0.01, None), (99, 0.01, 1), (18, 0.05, None), (19, 0.05, 1), (400, 0.05, 20)],
)
def test_alarm_threshold_flags_as_many_as_it_may(n, rate, flagged):
    scores = np.random.default_rng(0).permutation(n).astype(float)
    t = alarm_threshold(scores, rate)
    assert np.isnan(t) if flagged is None else (scores <= t).sum() == flagged


def test_alarm_threshold_never_flags_more_than_it_may_with_ties():
    scores = np.r_[np.zeros(3), np.ones(37)]
    assert alarm_threshold(scores, 0.05) == -np.inf, (
        "two may be flagged, and three share the lowest score"
    )
    assert alarm_threshold(scores, 0.10) == 0
    assert alarm_threshold(np.ones(40), 0.05) == -np.inf


def test_alarm_threshold_keeps_its_promise():
    # expected false-alarm rate of a threshold placed on n = 59 answers: k / (n + 1) = 3 / 60, over
    # 4,000 draws
    rng = np.random.default_rng(2)
    rate = [
        (rng.normal(size=50) <= alarm_threshold(rng.normal(size=59), 0.05)).mean()
        for _ in range(4000)
    ]
    assert np.mean(rate) == pytest.approx(3 / 60, abs=4 * np.std(rate) / 4000**0.5)
