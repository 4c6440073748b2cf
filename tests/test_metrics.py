import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from sklearn.metrics import roc_auc_score

from probebench.metrics.auroc import auroc, auroc_labels, auroc_many, auroc_rows
from probebench.metrics.bootstrap import Resamples, percentile_interval
from probebench.metrics.delong import delong_difference, delong_interval, delong_many
from probebench.metrics.intervals import auroc_interval, bootstrap_interval, difference_interval
from probebench.metrics.permutation import fdr, max_statistic_p, permutation_p
from probebench.metrics.power import end_effect
from probebench.metrics.strata import stratified_auroc
from probebench.scoring.comparison import ends
from probebench.types import Interval

maps = st.tuples(st.integers(1, 5), st.integers(2, 40), st.integers(0, 2**32 - 1)).map(
    lambda size: ragged_map(*size)
)


def ragged_map(cells, n, seed):
    """(example,) labels and (cell, example) scores with many ties and some absent examples."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(-3, 4, (cells, n)).astype(float)
    scores[rng.random(scores.shape) < 0.2] = np.nan
    return rng.integers(0, 2, n), scores


def reference(y, scores, weights=None):
    """scikit-learn's AUROC on the examples that are there; NaN where it is undefined."""
    there = ~np.isnan(scores) if weights is None else ~np.isnan(scores) & (weights > 0)
    if len(set(y[there])) < 2:
        return np.nan
    return roc_auc_score(
        y[there], scores[there], sample_weight=None if weights is None else weights[there]
    )


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
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 3)), min_size=4, max_size=40
    )
)
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
    # Hanley and Hajian-Tilaki's placements written out over all pairs, the textbook form of
    # DeLong's variance
    rng = np.random.default_rng(0)
    y, s = rng.integers(0, 2, 60), np.round(rng.normal(size=60), 1)
    pairs = (s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0])
    se = np.sqrt(
        pairs.mean(1).var(ddof=1) / pairs.shape[0] + pairs.mean(0).var(ddof=1) / pairs.shape[1]
    )
    interval = delong_interval(y, s)
    assert interval.low == pytest.approx(pairs.mean() - 1.959963984540054 * se, abs=1e-12)
    assert interval.high == pytest.approx(pairs.mean() + 1.959963984540054 * se, abs=1e-12)


@pytest.mark.parametrize("method", ["bootstrap", "delong"])
def test_intervals_cover_the_truth(method):
    # y = 1 shifts a normal score by 1: AUROC = Phi(1 / sqrt 2). Binomial 3.5-sigma band around 95 %
    # over 400 data sets.
    from scipy.stats import norm

    truth, hits = norm.cdf(1 / np.sqrt(2)), 0
    rng = np.random.default_rng(1)
    for k in range(400):
        y = np.r_[np.zeros(80, int), np.ones(80, int)]
        s = rng.normal(size=160) + y
        if method == "delong":
            interval = delong_interval(y, s)
        else:
            interval = auroc_interval(Resamples.draw([str(i) for i in range(160)], k, 400), y, s)
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


@settings(max_examples=150, deadline=None)
@given(maps)
def test_all_cells_at_once_equal_scikit_learn(example):
    y, scores = example
    expected = [reference(y, s) for s in scores]
    np.testing.assert_allclose(auroc_many(y, scores), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(auroc_many(1 - y, -scores), expected, rtol=0, atol=1e-12)
    # monotone: nothing changes
    np.testing.assert_allclose(auroc_many(y, np.exp(scores)), expected, rtol=0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(maps)
def test_many_labellings_equal_one_after_the_other(example):
    y, scores = example
    # each with its own number of correct answers
    labels = np.random.default_rng(0).integers(0, 2, (len(y), 6))
    expected = [[reference(labels[:, b], s) for b in range(6)] for s in scores]
    np.testing.assert_allclose(auroc_labels(labels, scores), expected, rtol=0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(maps)
def test_bootstrap_of_all_cells_equals_weighted_scikit_learn(example):
    y, scores = example
    draws = Resamples.draw([f"g{i // 2}" for i in range(len(y))], seed=0, n=8)
    expected = [[reference(y, s, weights) for weights in draws.counts] for s in scores]
    values = draws.auroc_many(y, scores)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(values[0], draws.auroc(y, scores[0]))


def test_bootstrap_of_a_cell_with_absences_is_that_of_the_examples_it_has():
    y, scores = ragged_map(3, 200, 0)
    draws = Resamples.draw([f"g{i // 3}" for i in range(200)], seed=1, n=50)
    for s, values in zip(scores, draws.auroc_many(y, scores), strict=True):
        there = ~np.isnan(s)
        np.testing.assert_allclose(
            draws.take(there).auroc(y[there], s[there]), values, rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("many", [1, 5000, 0.3])
def test_bootstrap_is_exact_for_large_and_for_fractional_weights(many):
    # sums beyond 2**24 and fractions do not fit float32, which serves the usual counts
    rng = np.random.default_rng(0)
    y, scores = rng.integers(0, 2, 60), rng.normal(size=(2, 60)).round(1)
    weights = (rng.integers(1, 9, (3, 60)) * many).astype(np.float32)
    expected = [
        [roc_auc_score(y, s, sample_weight=w.astype(float)) for w in weights] for s in scores
    ]
    np.testing.assert_allclose(
        Resamples(weights).auroc_many(y, scores), expected, rtol=0, atol=1e-12
    )


def test_bootstrap_in_blocks_changes_nothing(monkeypatch):
    y, scores = ragged_map(2, 150, 3)
    draws = Resamples.draw([str(i) for i in range(150)], seed=0, n=300)
    whole = draws.auroc_many(y, scores)
    monkeypatch.setattr("probebench.metrics.bootstrap.BLOCK", 1)
    np.testing.assert_array_equal(draws.auroc_many(y, scores), whole)


@settings(max_examples=100, deadline=None)
@given(maps)
def test_delong_of_all_cells_equals_the_quadratic_definition(example):
    y, scores = example
    low, high = delong_many(y, scores)
    for c, row in enumerate(scores):
        there = ~np.isnan(row)
        one, zero = row[there & (y == 1)], row[there & (y == 0)]
        if min(len(one), len(zero)) < 2:
            assert np.isnan(low[c])
            assert np.isnan(high[c])
            continue
        pairs = (one[:, None] > zero) + 0.5 * (one[:, None] == zero)  # all pairs, the textbook form
        half = 1.959963984540054 * np.sqrt(
            pairs.mean(1).var(ddof=1) / len(one) + pairs.mean(0).var(ddof=1) / len(zero)
        )
        assert low[c] == pytest.approx(max(0, pairs.mean() - half), abs=1e-12)
        assert high[c] == pytest.approx(min(1, pairs.mean() + half), abs=1e-12)
        interval = delong_interval(y[there], row[there])
        assert (low[c], high[c]) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_delong_covers_the_truth():
    # 500 data sets of 80 + 80, each a "cell" of one call; truth Phi(1 / sqrt 2)
    from scipy.stats import norm

    rng = np.random.default_rng(4)
    y = np.repeat([0, 1], 80)
    low, high = delong_many(y, rng.normal(size=(500, 160)) + y)
    truth = norm.cdf(1 / np.sqrt(2))
    assert 0.93 <= ((low <= truth) & (truth <= high)).mean() <= 0.97


def permuted(y, n, seed):
    """(example, labelling) permutations of `y`."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.permutation(y) for _ in range(n)])


@pytest.mark.parametrize("labellings", [20, 200])
def test_permutation_p_is_uniform_without_signal(labellings):
    rng = np.random.default_rng(5)
    y = np.repeat([0, 1], [60, 90])
    scores = rng.normal(size=(2000, 150))
    p = permutation_p(auroc_many(y, scores), auroc_labels(permuted(y, labellings, 6), scores))
    for level in (
        0.01,
        0.05,
        0.5,
    ):  # every cell shares the labellings, and its own scores are independent of the rest
        assert abs((p < level).mean() - level) < 4 * np.sqrt(level * (1 - level) / 2000)


def test_permutation_p_resolves_more_than_the_labellings_count():
    rng = np.random.default_rng(7)
    y = np.repeat([0, 1], 100)
    scores = rng.normal(size=(2, 200)) + np.array([[0.0], [1.0]]) * y
    p = permutation_p(auroc_many(y, scores), auroc_labels(permuted(y, 50, 8), scores))
    assert p[0] > 0.01
    assert p[1] < 1e-6


def test_permutation_p_matches_the_t_test_of_one_further_observation():
    # scipy's two-sample t test with one observation on one side is the same predictive t
    from scipy.stats import ttest_ind

    null = np.random.default_rng(9).normal(0.5, 0.04, size=(3, 30))
    observed = np.array([0.5, 0.58, 0.7])
    expected = [
        ttest_ind([o], row, alternative="greater").pvalue
        for o, row in zip(observed, null, strict=True)
    ]
    np.testing.assert_allclose(permutation_p(observed, null), expected, rtol=1e-10)


def test_permutation_p_of_cells_without_a_null():
    null = np.array([[0.4, 0.5, 0.6], [0.5, 0.5, 0.5], [np.nan, 0.5, np.nan], [0.4, np.nan, 0.6]])
    p = permutation_p(np.array([np.nan, 0.5, 0.6, 0.5]), null)
    assert np.isnan(p[[0, 2]]).all()
    assert p[1] == 1.0
    assert p[3] == pytest.approx(0.5)


def test_max_statistic_rejects_at_its_level_without_signal():
    # 200 maps of 30 correlated cells whose sizes differ sixfold; B + 1 = 100 maps are exchangeable,
    # so the p is exact
    rng, p = np.random.default_rng(10), []
    for _ in range(200):
        y = rng.permutation(np.repeat([0, 1], 60))
        scores = rng.normal(size=(30, 120)) + rng.normal(size=120)
        for c in range(0, 30, 3):
            scores[c, rng.permutation(120)[: rng.integers(60, 100)]] = np.nan
        p.append(
            max_statistic_p(
                auroc_many(y, scores), auroc_labels(permuted(y, 99, rng.integers(2**32)), scores)
            )
        )
    for level in (0.05, 0.2):
        assert abs((np.array(p) <= level).mean() - level) < 3.5 * np.sqrt(level * (1 - level) / 200)


def test_max_statistic_finds_a_signal_in_one_large_cell_among_noisy_small_ones():
    rng = np.random.default_rng(11)
    y = rng.integers(0, 2, 400)
    scores = rng.normal(size=(60, 400))
    scores[0] += 0.6 * y
    scores[1:, 30:] = np.nan  # an AUROC of 30 examples often beats the signal's
    observed, null = auroc_many(y, scores), auroc_labels(permuted(y, 199, 12), scores)
    assert observed.argmax() != 0
    assert max_statistic_p(observed, null) == 1 / 200
    masked = np.vstack([null, np.full(199, np.nan)])
    assert max_statistic_p(np.r_[observed, np.nan], masked) == 1 / 200
    assert np.isnan(max_statistic_p(np.array([np.nan]), np.full((1, 5), np.nan)))


def test_fdr_equals_the_definition_and_leaves_masked_cells_out():
    # Benjamini and Hochberg written out: p_(i) m / i, made monotone from the largest down
    p = np.array([[0.01, np.nan, 0.04], [0.03, 0.5, np.nan]])
    ordered = np.array([0.01, 0.03, 0.04, 0.5]) * 4 / np.arange(1, 5)
    a, b, c, d = np.minimum.accumulate(ordered[::-1])[::-1]
    np.testing.assert_allclose(fdr(p), [[a, np.nan, c], [b, d, np.nan]])
    assert np.isnan(fdr(np.array([np.nan]))).all()


def test_auroc_rows_is_each_row_s_own():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, (20, 40)).astype(float), rng.integers(0, 2, (20, 40))
    labels[3] = 1
    expected = [auroc(y, s) for y, s in zip(labels, scores, strict=True)]
    np.testing.assert_allclose(auroc_rows(labels, scores), expected, atol=1e-12)
    assert np.isnan(expected[3])


def quadratic_delong(y, a, b):
    """Difference of two correlated AUROCs and its standard error, as DeLong et al. (1988) write it:
    S10 and S01 over all pairs."""
    kernels = [
        (s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0]) for s in (a, b)
    ]
    v10, v01 = (np.array([k.mean(axis=axis) for k in kernels]) for axis in (1, 0))
    covariance = np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]
    contrast = np.array([1.0, -1.0])
    return kernels[0].mean() - kernels[1].mean(), np.sqrt(contrast @ covariance @ contrast)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 2))
def test_paired_delong_equals_the_quadratic_definition(seed, decimals):
    rng = np.random.default_rng(seed)
    y = np.r_[0, 0, 1, 1, rng.integers(0, 2, 40)]
    a = np.round(rng.normal(size=44) + y, decimals)
    b = np.round(0.5 * a + rng.normal(size=44), decimals)
    difference, se = quadratic_delong(y, a, b)
    interval = delong_difference(y, a, b)
    assert interval.low == pytest.approx(max(-1, difference - 1.959963984540054 * se), abs=1e-12)
    assert interval.high == pytest.approx(min(1, difference + 1.959963984540054 * se), abs=1e-12)
    turned = delong_difference(y, b, a)
    assert (turned.low, turned.high) == pytest.approx((-interval.high, -interval.low), abs=1e-12)


def test_paired_delong_of_a_score_and_its_monotone_twin_is_exactly_nothing():
    rng = np.random.default_rng(0)
    y, s = rng.integers(0, 2, 50), rng.normal(size=50)
    interval = delong_difference(y, s, np.exp(s))
    assert (interval.low, interval.high) == (0, 0)
    assert np.isnan(delong_difference(np.r_[1, np.zeros(9, int)], s[:10], -s[:10]).low)


def test_interval_is_the_textbook_one_on_each_scale():
    # logit: Pepe (2003), p. 107; written out for value .8, standard deviation .05, 30 groups
    from scipy.stats import t

    replicates = 0.8 + 0.05 * np.tile([-1, 1], 500)
    half = t.ppf(0.975, 29) * replicates.std(ddof=1) * np.sqrt(30 / 29)
    logit, back = np.log(0.8 / 0.2), lambda x: 1 / (1 + np.exp(-x))
    i = bootstrap_interval(0.8, replicates, 30)
    assert (i.low, i.high) == pytest.approx(
        (back(logit - half / 0.16), back(logit + half / 0.16)), abs=1e-12
    )
    i = bootstrap_interval(0.8, replicates, 30, "difference")
    assert (i.low, i.high) == pytest.approx((0.8 - half, 0.8 + half), abs=1e-12)
    i = bootstrap_interval(-0.4, replicates - 1.2, 30, "below_one")
    assert (i.low, i.high) == pytest.approx(
        (1 - 1.4 * np.exp(half / 1.4), 1 - 1.4 * np.exp(-half / 1.4)), abs=1e-12
    )


def test_a_proportion_that_never_varies_has_the_interval_of_clopper_and_pearson():
    from scipy.stats import binomtest

    for value, k in ((0.0, 0), (1.0, 12)):
        found, expected = (
            bootstrap_interval(value, np.full(100, value), 12),
            binomtest(k, 12).proportion_ci(0.95),
        )
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert np.isnan(
        bootstrap_interval(0.5, np.r_[np.full(60, np.nan), np.full(40, 0.5)], 12).low
    ), "undefined in most resamples"
    assert np.isnan(bootstrap_interval(0.5, np.full(100, 0.5), 1).low), "one group has no spread"


def test_flipping_labels_mirrors_the_interval():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 80)
    s = rng.normal(size=80) + y
    draws = Resamples.draw([str(i // 2) for i in range(80)], 0)
    a, b = auroc_interval(draws, y, s), auroc_interval(draws, 1 - y, s)
    assert (a.low, a.high) == pytest.approx((1 - b.high, 1 - b.low), abs=1e-9)
    d = difference_interval(draws, y, s, -s)
    assert d.low < auroc(y, s) - auroc(y, -s) < d.high


def test_independent_observations_are_groups_of_the_rarer_class():
    draws = Resamples.draw([f"g{i // 2}" for i in range(20)], 0, 5)
    y = np.zeros(20, int)
    y[:6] = 1
    assert draws.independent(y) == 6
    y[:] = np.tile([0, 1], 10)
    assert draws.independent(y) == 10, "at most all groups"
    assert draws.independent(np.where(np.arange(20) < 8, y, -1)) == 4, "-1 = not scored"
    assert draws.take(np.arange(8)).independent(y[:8]) == 4


def test_no_group_has_no_resamples_and_nothing_is_known():
    draws = Resamples.draw([], 0)
    y, scores = np.zeros(0, dtype=int), np.zeros(0)
    assert draws.counts.shape == (1000, 0)
    assert np.isnan(ends(auroc_interval(draws, y, scores))).all()
    whole = Resamples.draw(["a", "b"], 0)
    assert whole.among(np.zeros(2, dtype=bool)).counts.shape == (1000, 0)


def test_a_difference_from_a_constant_is_as_sure_as_the_score_alone():
    rng, covered, tries = np.random.default_rng(0), 0, 400
    for k in range(tries):
        y = np.repeat([0, 1], 60)
        scores = y * 0.9 + rng.normal(size=120)
        draws = Resamples.draw([str(i) for i in range(120)], k, n=200)
        found = difference_interval(draws, y, scores, np.zeros(120))
        own = auroc_interval(draws, y, scores)
        assert found.high - found.low == pytest.approx(own.high - own.low, rel=0.1)
        truth = 0.7377 - 0.5  # Phi(.9 / sqrt 2)
        covered += found.low <= truth <= found.high
    assert abs(covered / tries - 0.95) < 3 * (0.95 * 0.05 / tries) ** 0.5


@pytest.mark.parametrize("gap", [5.0, 0.9])
def test_copies_of_answers_say_nothing_new(gap):
    """Near a perfect separation too, where resamples of groups show nothing."""
    rng, y = np.random.default_rng(3), np.repeat([0, 1], [6, 6])
    scores, other = (rng.uniform(0, 1, 12) + gap * y for _ in range(2))
    assert auroc(y, scores) > 0.9
    found = []
    for copies in (1, 8, 50):
        draws = Resamples.draw([f"g{i:02}" for i in range(12) for _ in range(copies)], 0)
        of = [np.repeat(x, copies) for x in (y, scores, other)]
        interval = auroc_interval(draws, *of[:2])
        found.append([interval.low, difference_interval(draws, *of).high])
    assert found[0][0] < 0.85 and found[0][1] > 0.1
    np.testing.assert_allclose(found[1:], [found[0]] * 2, atol=0.03)


def test_intervals_near_a_perfect_separation_hold_the_truth_where_answers_of_a_group_are_alike():
    """Twenty groups of eight answers, each of one label, that are nearly copies: without what
    groups do near 1 some two thirds of the intervals hold it."""
    rng, truth, held = np.random.default_rng(0), 0.97, []
    group = np.repeat(np.arange(20), 8)
    for _ in range(150):
        y = np.repeat(rng.permutation(np.repeat([0, 1], 10)), 8)
        noise = 0.95**0.5 * rng.normal(size=20)[group] + 0.05**0.5 * rng.normal(size=160)
        scores = noise + 2**0.5 * ndtri(truth) * y
        draws = Resamples.draw([f"g{i:02}" for i in group], 0, 200)
        found = auroc_interval(draws, y, scores)
        held.append(found.low <= truth <= found.high)
    assert np.mean(held) > 0.9


def test_what_groups_do_near_the_end_cancels_where_both_classes_share_it():
    y, group = np.tile([0, 1], 40), np.repeat(np.arange(40), 2)
    shared = np.random.default_rng(0).normal(size=40)[group] * 0.1
    assert end_effect(1.0, 40, y, shared + y, group) == 1
    assert end_effect(0.9, 4, y, shared + y, np.repeat(np.arange(4), 20)) == 1
    tens = np.repeat(np.arange(8), 10)
    own = tens % 2, 1.0 * tens + 9 * (tens % 2), tens
    assert end_effect(0.7, 4, *own) == 1  # resamples show it
    assert end_effect(1.0, 4, tens % 2, 1.0 * tens + 9 * (tens % 2), tens) == pytest.approx(10)


def test_two_perfect_detectors_are_not_known_to_be_the_same():
    y = np.repeat([0, 1], [10, 30])
    draws = Resamples.draw([str(i) for i in range(40)], 0)
    one, other, same = y + 0.0, y + np.linspace(0, 0.5, 40), np.zeros(40)
    apart = difference_interval(draws, y, one, other)
    assert apart.low < 0 < apart.high
    above = difference_interval(draws, y, one, same)
    assert 0.2 < above.low < above.high == 0.5, "no AUROC is further from .5"
    assert difference_interval(draws, y, same, same + 1) == Interval(0, 0)
    scores = y + np.random.default_rng(0).normal(size=40)
    assert difference_interval(draws, y, scores, 2 * scores) == Interval(0, 0)
    assert difference_interval(draws, y, one, 3 * one) == Interval(0, 0), "one order, one detector"


@pytest.mark.parametrize("strata", [3, 4, 8])
def test_a_few_pairs_that_all_are_in_order_are_no_proof(strata):
    """One right and one wrong answer each: chance orders all of three rightly, or all wrongly, one
    time in four."""
    y, rng, held = np.tile([0, 1], strata), np.random.default_rng(strata), 0
    draws = Resamples.draw([str(i) for i in range(len(y))], 0, 200)
    for _ in range(300):
        found = stratified_auroc(draws, y, rng.normal(size=len(y)), np.repeat(range(strata), 2))
        held += found.interval.low <= 0.5 <= found.interval.high
    assert held / 300 >= 0.93
