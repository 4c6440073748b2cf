import numpy as np
import pytest

from probebench.errors import LabelError
from probebench.probes.fit import Labels
from probebench.scoring.metrics import Resamples, auroc
from probebench.scoring.score import compare, score_matrix, select
from probebench.tasks.split import split_of
from probebench.types import EMB, Cell, CellFit, Detector, split_index

N = 600
GROUPS = [f"g{i // 2}" for i in range(N)]
LABELS = Labels(np.random.default_rng(0).integers(0, 2, N), tuple(split_of(g) for g in GROUPS))
TEST = split_index(LABELS.splits)["test"]


def noisy(strength, seed=1):
    return strength * LABELS.y + np.random.default_rng(seed).normal(size=N)


def fit(layer, position, decisions, validation=0.6, masked=""):
    return CellFit(Cell("resid", layer, position), decisions, 1.0, validation, True, 3, masked)


def test_selection_reads_validation_only_and_leaves_the_embedding_row():
    fits = [fit(EMB, "-1", noisy(3), 0.99), fit(0, "-1", noisy(0), 0.7), fit(1, "-1", noisy(3), 0.6), fit(1, "-2", noisy(0), 0.7)]
    assert select(fits).cell == Cell("resid", 0, "-1")
    assert select(fits, embedding=True).cell.layer == EMB
    with pytest.raises(LabelError, match="No cell could be fitted: too few"):
        select([fit(0, "-1", noisy(0), float("nan"), "too few")])


def test_matrix_has_each_cell_on_its_own_examples():
    decisions = noisy(1)
    decisions[TEST[:20]] = np.nan
    there = np.isfinite(decisions)
    fits = [
        fit(EMB, "-1", np.where(there, noisy(0), np.nan)),
        fit(0, "-1", decisions),
        fit(1, "-1", np.full(N, np.nan), masked="few"),
    ]
    fits.append(CellFit(Cell("resid", 2, "-1"), np.full(N, np.nan), 1.0, np.nan, True, 0, "not there", absent=True))
    m = score_matrix(fits, LABELS, Resamples.draw([GROUPS[i] for i in TEST], 0), "test", ["-1"], there[:, None])
    assert m.layers == (EMB, 0, 1, 2)
    n = len(TEST) - 20
    assert m.n[:, 0].tolist() == [n, n, n, 0], "a masked cell says how many have its token, a layer without the site none"
    assert m.values[1, 0] == auroc(LABELS.y[TEST[20:]], decisions[TEST[20:]])
    assert m.low[1, 0] < m.values[1, 0] < m.high[1, 0]
    assert np.isnan(m.values[2, 0])


def test_all_detectors_on_the_same_examples_and_differences_pair():
    probe, other = noisy(2), noisy(0.5, 2)
    other[TEST[:15]] = np.nan
    c = compare(
        [Detector("probe", "p", probe), Detector("other", "o", other), Detector("none", "n", np.full(N, np.nan))], LABELS, GROUPS, 0
    )
    assert {s.n for s in c.scores} == {len(TEST) - 15}
    assert sum(c.dropped.values()) == 15
    assert list(c.absent) == ["none"]
    a, b = c.scores
    assert np.isnan(a.difference)
    assert b.difference == pytest.approx(a.auroc - b.auroc)
    assert b.difference_interval.low < b.difference < b.difference_interval.high


def test_a_detector_against_itself_differs_by_exactly_nothing():
    s = noisy(1)
    c = compare([Detector("a", "a", s), Detector("b", "b", 3 * s + 1)], LABELS, GROUPS, 0)
    assert (c.scores[1].difference, c.scores[1].difference_interval.low, c.scores[1].difference_interval.high) == (0, 0, 0)


def test_signs_are_never_flipped():
    c = compare([Detector("a", "a", -noisy(2))], LABELS, GROUPS, 0)
    assert c.scores[0].auroc < 0.3


def test_constant_scores_are_exactly_one_half():
    c = compare([Detector("a", "a", np.ones(N))], LABELS, GROUPS, 0)
    assert c.scores[0].auroc == 0.5


def test_one_class_left_is_an_error():
    s, t = noisy(1), noisy(1)
    s[TEST[: len(TEST) // 2]] = np.nan
    t[[i for i in TEST[len(TEST) // 2 :] if LABELS.y[i] == 0]] = np.nan
    with pytest.raises(LabelError, match="one class only"):
        compare([Detector("a", "a", s), Detector("b", "b", t)], LABELS, GROUPS, 0)


def test_a_detector_of_one_class_is_left_out_with_the_reason():
    s = noisy(1)
    s[LABELS.y == 0] = np.nan
    c = compare([Detector("a", "a", noisy(1)), Detector("b", "b", s)], LABELS, GROUPS, 0)
    assert c.absent == {"b": "it can score test examples of one class only"}
    assert c.scores[0].n == len(TEST)
