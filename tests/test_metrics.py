import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from probebench.metrics import Resamples, auroc, delong_interval, percentile_interval


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), min_size=2, max_size=60))
def test_auroc_equals_scikit_learn_with_ties(rows):
    y, scores = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], dtype=float)
    if len(set(y)) < 2:
        assert np.isnan(auroc(y, scores))
        return
    assert auroc(y, scores) == pytest.approx(roc_auc_score(y, scores), abs=1e-12)
    assert auroc(1 - y, scores) == pytest.approx(1 - auroc(y, scores), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 3)), min_size=4, max_size=40))
def test_weighted_auroc_equals_scikit_learn(rows):
    y, scores, weights = (np.array([r[i] for r in rows]) for i in range(3))
    value = Resamples(weights[None].astype(np.float32)).auroc(y, scores.astype(float))[0]
    if weights[y == 1].sum() == 0 or weights[y == 0].sum() == 0:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(roc_auc_score(y, scores, sample_weight=weights), abs=1e-12)


def test_resamples_draw_whole_groups():
    groups = [f"g{i // 3}" for i in range(30)]
    counts = Resamples.draw(groups, seed=0, n=50).counts
    assert (counts.sum(1) == 30).all()
    assert all((counts[:, 3 * g : 3 * g + 3] == counts[:, [3 * g]]).all() for g in range(10))


def test_same_seed_same_draws_and_subsets_share_them():
    groups = [f"g{i % 7}" for i in range(40)]
    a, b = Resamples.draw(groups, 3), Resamples.draw(groups, 3)
    assert (a.counts == b.counts).all()
    assert (a.take(np.arange(5)).counts == a.counts[:, :5]).all()
    assert (Resamples.draw(groups, 4).counts != a.counts).any()


def test_delong_matches_the_quadratic_definition():
    # Hanley and Hajian-Tilaki's placements written out over all pairs, the textbook form of DeLong's variance
    rng = np.random.default_rng(0)
    y, s = rng.integers(0, 2, 60), np.round(rng.normal(size=60), 1)
    pairs = (s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0])
    se = np.sqrt(pairs.mean(1).var(ddof=1) / pairs.shape[0] + pairs.mean(0).var(ddof=1) / pairs.shape[1])
    interval = delong_interval(y, s)
    assert interval.low == pytest.approx(pairs.mean() - 1.959963984540054 * se, abs=1e-12)
    assert interval.high == pytest.approx(pairs.mean() + 1.959963984540054 * se, abs=1e-12)


@pytest.mark.parametrize("method", ["bootstrap", "delong"])
def test_intervals_cover_the_truth(method):
    # y = 1 shifts a normal score by 1: AUROC = Phi(1 / sqrt 2). Binomial 3.5-sigma band around 95 % over 400 data sets.
    from scipy.stats import norm

    truth, hits = norm.cdf(1 / np.sqrt(2)), 0
    rng = np.random.default_rng(1)
    for k in range(400):
        y = np.r_[np.zeros(80, int), np.ones(80, int)]
        s = rng.normal(size=160) + y
        if method == "delong":
            interval = delong_interval(y, s)
        else:
            interval = percentile_interval(Resamples.draw([str(i) for i in range(160)], k, 400).auroc(y, s))
        hits += interval.low <= truth <= interval.high
    assert 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / 400) <= hits / 400 <= 1.0


def test_cluster_bootstrap_is_wider_when_groups_repeat():
    rng = np.random.default_rng(2)
    y, s = np.repeat(rng.integers(0, 2, 60), 5), np.repeat(rng.normal(size=60), 5)
    s = s + y
    grouped = percentile_interval(Resamples.draw([str(i // 5) for i in range(300)], 0).auroc(y, s))
    naive = percentile_interval(Resamples.draw([str(i) for i in range(300)], 0).auroc(y, s))
    assert grouped.high - grouped.low > 1.5 * (naive.high - naive.low)


def test_undefined_is_nan():
    y, s = np.ones(10, int), np.arange(10.0)
    assert np.isnan(auroc(y, s))
    assert np.isnan(delong_interval(y, s).low)
    assert np.isnan(percentile_interval(Resamples.draw(["a"] * 10, 0).auroc(y, s)).low)
