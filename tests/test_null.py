"""Simulated maps: with no signal anywhere the tests reject as often as they say, with a planted one
they find it."""

import numpy as np
import pytest
from scipy.stats import binomtest

from probebench.metrics.auroc import auroc
from probebench.metrics.permutation import fdr, max_statistic_p, permutation_p
from probebench.probes.fit import fit_cell
from probebench.probes.kinds import get_probe
from probebench.probes.labels import Labels, split_index
from probebench.tasks.split import split_of
from probebench.types import Cell

N, WIDTH, CELLS, MAPS, SHUFFLES = 240, 5, 6, 200, 39
GROUPS = tuple(f"g{i // 2}" for i in range(N))
SPLITS = tuple(split_of(g) for g in GROUPS)
TEST = split_index(SPLITS)["test"]


def fitted_map(seed, strength=0.0, *, lopsided=False, cells=CELLS):
    """(cell,) test AUROC and (cell, shuffle) null of the first cells of one map; cells share half
    of their noise, answers of a group their label.

    With `lopsided`, the cells' token exists in nine of ten correct and four of ten wrong answers.
    """
    rng = np.random.default_rng(seed)
    labels = Labels(np.repeat(rng.integers(0, 2, N // 2), 2), SPLITS, GROUPS)
    shared = rng.normal(size=(N, WIDTH))
    there = (
        rng.random(N) < np.where(labels.y == 1, 0.9, 0.4) if lopsided else np.ones(N, dtype=bool)
    )
    observed, null = [], []
    for cell in range(cells):
        X = (shared + rng.normal(size=(N, WIDTH))).astype(np.float32)
        X[:, 0] += 3 * shared[:, 1]  # a strong direction, as hidden states have
        if cell == 2:
            X[:, 1] += strength * labels.y
        fit = fit_cell(
            X, there, labels, get_probe("logistic"), Cell("resid", cell, "-1"), SHUFFLES, seed
        )
        test = TEST[there[TEST]]
        observed.append(auroc(labels.y[test], fit.decisions[test]))
        null.append(fit.null)
    return np.array(observed), np.array(null)


@pytest.fixture(scope="module")
def nothing():
    return [fitted_map(seed) for seed in range(MAPS)]


def test_cells_without_signal_are_below_five_percent_five_times_in_a_hundred(nothing):
    # one cell per map: cells of one map depend on each other
    for cell in range(CELLS):
        below = sum(
            float(permutation_p(observed[[cell]], null[[cell]])[0]) < 0.05
            for observed, null in nothing
        )
        assert binomtest(below, MAPS, 0.05).pvalue > 0.001, (cell, below)
    p = np.concatenate([permutation_p(observed, null) for observed, null in nothing])
    assert abs((p < 0.05).mean() - 0.05) < 0.03
    assert abs((p < 0.5).mean() - 0.5) < 0.07


def test_max_statistic_rejects_at_its_nominal_rate(nothing):
    p = np.array([max_statistic_p(observed, null) for observed, null in nothing])
    for level in (0.05, 0.1, 0.25):
        assert binomtest(int((p <= level).sum()), MAPS, level).pvalue > 0.001, (
            level,
            (p <= level).mean(),
        )


def test_a_token_that_exists_more_often_in_correct_answers_is_no_signal():
    maps = (fitted_map(5000 + seed, lopsided=True, cells=1) for seed in range(150))
    p = np.array([permutation_p(observed, null)[0] for observed, null in maps])
    p = p[np.isfinite(p)]  # a map whose few wrong answers miss a split is masked
    assert len(p) > 100
    assert binomtest(int((p < 0.05).sum()), len(p), 0.05).pvalue > 0.001, (p < 0.05).mean()
    assert abs((p < 0.5).mean() - 0.5) < 0.15


def test_false_discoveries_stay_rare(nothing):
    found = [(fdr(permutation_p(observed, null)) <= 0.05).any() for observed, null in nothing]
    assert np.mean(found) < 0.12


def test_planted_signal_is_found_in_its_cell_and_in_the_map():
    maps = [fitted_map(1000 + seed, strength=2.5) for seed in range(10)]
    q = np.array([fdr(permutation_p(observed, null)) for observed, null in maps])
    assert (q[:, 2] <= 0.05).mean() >= 0.9
    assert (np.delete(q, 2, axis=1) <= 0.05).mean() <= 0.15
    assert np.mean([max_statistic_p(observed, null) <= 0.05 for observed, null in maps]) >= 0.9
