"""Planted truth, invariants, and agreement with scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probebench.errors import RunError, UnknownNameError
from probebench.metrics.auroc import auroc
from probebench.probes.choose import choose, first_best, fit_features
from probebench.probes.fit import Job, fit_cell, fit_cells, project
from probebench.probes.kinds import C_GRID, PROBES, Probe, get_probe
from probebench.probes.labels import Labels, split_index, why_masked
from probebench.probes.many_fits import decide
from probebench.scoring.select import select
from probebench.states.reader import SiteLayout, StatesReader
from probebench.states.shards import states_bytes
from probebench.tasks.split import split_of
from probebench.types import EMB, Cell

N, WIDTH = 900, 12
POSITIONS = ("last_q", "exact_answer_last", "-1")
LAYERS = (EMB, 0, 1, 2)
PLANTED = Cell("resid", 1, "exact_answer_last")


@pytest.fixture(scope="module")
def labels():
    y = np.random.default_rng(0).integers(0, 2, N)
    return Labels(y, tuple(split_of(f"g{i // 2}") for i in range(N)))


def reader_of(tmp_path, values, present):
    path = tmp_path / "0.safetensors"
    path.write_bytes(states_bytes({"resid": values}, range(values.shape[2])))
    layout = {"resid": SiteLayout(LAYERS, (values.shape[3],) * len(LAYERS))}
    return StatesReader((str(path),), (tuple(range(values.shape[2])),), layout, POSITIONS, present)


@pytest.fixture(scope="module")
def planted(tmp_path_factory, labels):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 3, N, WIDTH)).astype(np.float32)
    values[2, 1] += 0.8 * (labels.y - 0.5)[:, None] * rng.normal(size=WIDTH)
    present = np.ones((N, 3), dtype=bool)
    present[:50, 1] = False
    values[:, 1, :50] = 1e3  # what stands where a token is absent must never be looked at
    return reader_of(tmp_path_factory.mktemp("planted"), values, present)


def all_cells():
    return [Cell("resid", layer, position) for layer in LAYERS for position in POSITIONS]


def test_planted_signal_is_found_there_and_nowhere_else(planted, labels):
    fits = list(fit_cells(Job(planted, labels, get_probe("logistic")), all_cells()))
    assert [f.cell for f in fits] == all_cells()
    assert select(fits).cell == PLANTED
    test = split_index(labels.splits)["test"]
    for f in fits:
        there = np.isfinite(f.decisions[test])
        value = auroc(labels.y[test][there], f.decisions[test][there])
        if f.cell == PLANTED:
            assert value > 0.75
        else:
            assert abs(value - 0.5) < 0.16  # 3.5 standard errors of a null AUROC at 180 examples


@pytest.mark.parametrize("twin", ["the same", "one bit", "one absent", "embedding only"])
def test_cells_with_the_same_vectors_are_fitted_once(tmp_path, labels, monkeypatch, twin):
    rng = np.random.default_rng(3)
    values, present = rng.normal(size=(4, 3, N, WIDTH)).astype(np.float32), np.ones((N, 3), bool)
    values[:, 2] = values[:, 0]
    values[:, 1, : N // 2] = values[:, 0, : N // 2]  # alike in the first shard only
    if twin == "one bit":
        values[:, 2, -1, -1] = np.nextafter(values[:, 2, -1, -1], np.float32(9))
    if twin == "one absent":
        present[-1, 2] = False
    if twin == "embedding only":
        values[1:, 2] = rng.normal(size=values[1:, 2].shape)
    whole = reader_of(tmp_path, values, present)
    halves, files = (tuple(range(N // 2)), tuple(range(N // 2, N))), []
    for k, rows in enumerate(halves):
        files.append(tmp_path / f"half{k}.safetensors")
        files[k].write_bytes(states_bytes({"resid": values[:, :, list(rows)]}, rows))
    reader = StatesReader(tuple(map(str, files)), halves, whole.sites, POSITIONS, present)
    fitted = []
    monkeypatch.setattr(
        "probebench.probes.fit._fit_each",
        lambda job, cells: fitted.extend(cells) or map(job.fit, cells),
    )
    job = Job(reader, labels, get_probe("logistic"), 5)
    cells = [Cell("resid", layer, p) for layer in (EMB, 1) for p in reversed(POSITIONS)]
    once, twice = list(fit_cells(job, cells)), [job.fit(cell) for cell in cells]
    assert [f.cell for f in once] == cells
    for one, other in zip(once, twice, strict=True):
        assert one.C == other.C
        for name in ("decisions", "control", "null"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    expected = {"the same": 4, "embedding only": 5}.get(twin, 6)
    assert len(fitted) == expected


def test_absent_examples_have_no_decision(planted, labels):
    fit = next(iter(fit_cells(Job(planted, labels, get_probe("logistic")), [PLANTED])))
    assert np.isnan(fit.decisions[:50]).all()
    assert np.isfinite(fit.decisions[50:]).all()


def test_agrees_with_scikit_learn(planted, labels):
    # reference: the same scaling written out, and lbfgs run to convergence at the C that validation
    # chose
    X, there = planted.cell(1, "exact_answer_last"), planted.present[:, 1]
    fit = fit_cell(X, there, labels, get_probe("logistic"), PLANTED)
    rows = split_index(labels.splits)
    train = rows["train"][there[rows["train"]]]
    Z = X.astype(np.float64) - X[train].mean(0, dtype=np.float64)
    Z /= np.sqrt((Z[train] ** 2).mean())
    reference = LogisticRegression(C=fit.C, tol=1e-10, max_iter=10_000).fit(
        Z[train], labels.y[train]
    )
    expected = reference.decision_function(Z[there])
    np.testing.assert_allclose(fit.decisions[there], expected, atol=1e-2 * expected.std())
    assert fit.converged
    assert fit.C in C_GRID


def test_c_is_chosen_on_validation(planted, labels):
    X, there = planted.cell(1, "exact_answer_last"), planted.present[:, 1]
    rows = split_index(labels.splits)
    train, validation = (rows[s][there[rows[s]]] for s in ("train", "validation"))
    values = []
    for C in C_GRID:
        model = get_probe("logistic").make(C, WIDTH).fit(X[train], labels.y[train])
        values.append(auroc(labels.y[validation], decide(model, X[validation])))
    fit = fit_cell(X, there, labels, get_probe("logistic"), PLANTED)
    assert fit.validation_auroc == max(values)
    assert C_GRID[int(np.argmax(values))] == fit.C


def test_test_labels_cannot_change_a_probe(planted, labels):
    X, there = planted.cell(1, "exact_answer_last"), planted.present[:, 1]
    other = labels.y.copy()
    test = split_index(labels.splits)["test"]
    other[test] = 1 - other[test]
    a = fit_cell(X, there, labels, get_probe("logistic"), PLANTED)
    b = fit_cell(X, there, Labels(other, labels.splits), get_probe("logistic"), PLANTED)
    np.testing.assert_array_equal(a.decisions, b.decisions)


def test_flipped_labels_flip_decisions(planted, labels):
    X, there = planted.cell(1, "exact_answer_last"), planted.present[:, 1]
    a = fit_cell(X, there, labels, get_probe("logistic"), PLANTED)
    b = fit_cell(X, there, Labels(1 - labels.y, labels.splits), get_probe("logistic"), PLANTED)
    np.testing.assert_allclose(a.decisions[there], -b.decisions[there], atol=1e-6)


def test_shuffled_labels_stay_in_their_split_and_keep_groups_as_they_are():
    rng = np.random.default_rng(4)
    size = rng.integers(1, 4, 300)
    groups = tuple(f"g{g}" for g in np.repeat(np.arange(300), size))
    y = np.repeat(rng.integers(0, 2, 300), size)  # answers of one group are all right or all wrong
    labels = Labels(y, tuple(split_of(g) for g in groups), groups)
    shuffled = labels.shuffled(50, 0)
    names = np.array(groups)
    for row in shuffled:
        assert all(len(set(row[names == g])) == 1 for g in set(groups))
        for rows in split_index(labels.splits).values():
            assert row[rows].sum() == y[rows].sum()
    agreement = (shuffled == y).mean()
    share = y.mean()
    # what two unrelated label vectors of this share agree on
    assert abs(agreement - (share**2 + (1 - share) ** 2)) < 0.03
    assert (labels.shuffled(20, 0) == shuffled[:20]).all()
    assert (labels.shuffled(1, 1) != shuffled[:1]).any()


def test_what_a_group_s_size_tells_is_what_shuffles_keep():
    """Larger groups are right more often: no shuffle undoes that."""
    rng = np.random.default_rng(5)
    size = rng.integers(1, 5, 400)
    groups = tuple(f"g{g}" for g in np.repeat(np.arange(400), size))
    large = np.repeat(size, size)
    y = (rng.random(len(large)) < large / 5).astype(np.int64)
    labels = Labels(y, tuple(split_of(g) for g in groups), groups)
    rows = labels.rows(labels.every)
    kept = labels.share_by_size(labels.every)
    for n in range(1, 5):
        at = np.intersect1d(np.flatnonzero(large == n), rows["train"])
        assert set(kept[large == n]) == {y[at].mean()}
    test = rows["test"]
    told = auroc(y[test], kept[test])
    assert told > 0.65
    for row in labels.shuffled(20, 0):
        assert abs(auroc(row[test], kept[test]) - told) < 1e-12
    # without the first example a group of it is smaller, and is counted so
    fewer = labels.share_by_size(labels.every[1:])
    assert len(fewer) == len(y) - 1
    alone = Labels(y, labels.splits)
    train = split_index(alone.splits)["train"]
    assert set(alone.share_by_size(alone.every)) == {y[train].mean()}


def test_a_size_that_train_lacks_has_the_share_of_all():
    labels = Labels(
        np.array([1, 0, 0, 1, 1]), ("train", "train", "train", "test", "test"), tuple("abcdd")
    )
    np.testing.assert_allclose(labels.share_by_size(labels.every), [1 / 3] * 5)
    some = np.array([0, 2, 4])
    np.testing.assert_allclose(labels.share_by_size(some), [1 / 2] * 3)


def test_balanced_groups_stay_balanced():
    groups = tuple(f"g{i // 2}" for i in range(N))
    labels = Labels(np.tile([0, 1], N // 2), tuple(split_of(g) for g in groups), groups)
    for row in labels.shuffled(20, 0):
        assert (row.reshape(-1, 2).sum(axis=1) == 1).all()
        assert 0.3 < row[::2].mean() < 0.7


def test_shuffles_of_some_examples_keep_their_balance_and_follow_the_same_order():
    y = np.random.default_rng(0).integers(0, 2, N)
    labels = Labels(y, tuple(split_of(f"g{i}") for i in range(N)))
    places = np.flatnonzero(np.random.default_rng(1).random(N) < np.where(y == 1, 0.9, 0.2))
    some, rows = labels.shuffled(30, 0, places), labels.rows(places)
    for at in rows.values():
        assert (some[:, at].sum(axis=1) == y[places][at].sum()).all()
    fewer = labels.shuffled(30, 0, places[:-1])
    alike = (some[:, :-1] == fewer).mean()
    assert alike > 0.9, "cells with nearly the same tokens are permuted nearly alike"


def test_a_cell_s_shuffled_labels_keep_the_balance_of_the_examples_that_have_its_token():
    y = np.random.default_rng(0).integers(0, 2, N)
    labels = Labels(y, tuple(split_of(f"g{i}") for i in range(N)))
    there = np.random.default_rng(1).random(N) < np.where(y == 1, 0.9, 0.2)
    seen = []

    class Recorder:
        def fit(self, X, y):
            seen.append(int(y.sum()))
            return self

        def decision_function(self, X):
            return X[:, 0]

    X = np.random.default_rng(2).normal(size=(N, 3)).astype(np.float32)
    fit_cell(X, there, labels, Probe("recorder", lambda C, width: Recorder(), (1.0,)), PLANTED, 5)
    train = split_index(labels.splits)["train"]
    assert seen == [int(y[train][there[train]].sum())] * 6


def test_groups_that_leave_nothing_to_shuffle_give_no_p_value():
    size = np.arange(1, 41)
    groups = tuple(f"g{g}" for g in np.repeat(size, size))
    y = np.repeat(np.random.default_rng(0).integers(0, 2, 40), size)
    splits = tuple(
        np.random.default_rng(3).choice(["train", "validation", "test"], 40)[
            np.repeat(size, size) - 1
        ]
    )
    X = np.random.default_rng(1).normal(size=(len(y), 4)).astype(np.float32)
    fit = fit_cell(
        X,
        np.ones(len(y), dtype=bool),
        Labels(y, splits, groups),
        get_probe("logistic"),
        PLANTED,
        10,
    )
    assert not fit.masked
    assert np.isnan(fit.null).all()


def test_shuffled_fits_tell_signal_from_none(planted, labels):
    job = Job(planted, labels, get_probe("logistic"), 100)
    signal, nothing = fit_cells(job, [PLANTED, Cell("resid", 0, "last_q")])
    test = split_index(labels.splits)["test"]
    for f in (signal, nothing):
        assert f.null.shape == f.control.shape == (100,)
        assert abs(f.null.mean() - 0.5) < 0.02
        assert 0.02 < f.null.std() < 0.08  # 180 test examples: 0.043
    there = np.isfinite(signal.decisions[test])
    assert (signal.null < auroc(labels.y[test][there], signal.decisions[test][there])).all()


def test_batched_and_plain_solver_give_the_same_map(planted, labels):
    for cell in (PLANTED, Cell("resid", 2, "-1")):
        X, there = planted.cell(cell.layer, cell.position), planted.there(cell.position)
        a = fit_cell(X, there, labels, get_probe("logistic"), cell, 3)
        b = fit_cell(X, there, labels, get_probe("logistic", "sklearn"), cell, 3)
        assert a.C == b.C
        np.testing.assert_allclose(
            a.decisions[there], b.decisions[there], atol=1e-2 * b.decisions[there].std()
        )
        np.testing.assert_allclose(a.null, b.null, atol=2e-3)
        np.testing.assert_allclose(a.control, b.control, atol=2e-3)


def test_a_cell_with_vectors_that_are_not_finite_is_masked(labels):
    X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
    X[7, 1] = np.nan
    fit = fit_cell(X, np.ones(N, dtype=bool), labels, get_probe("logistic"), PLANTED)
    assert fit.masked == "vectors that are not finite"


def test_imported_estimators_are_fitted_alike_twice_and_fail_in_one_line(labels):
    X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
    there = np.ones(N, dtype=bool)
    twice = [
        fit_cell(
            X, there, labels, get_probe("sklearn.linear_model:SGDClassifier"), PLANTED
        ).decisions
        for _ in range(2)
    ]
    assert (twice[0] == twice[1]).all()
    ridge = fit_cell(X, there, labels, get_probe("sklearn.linear_model:RidgeClassifier"), PLANTED)
    assert ridge.iterations == 0
    with pytest.raises(RunError, match="MultinomialNB' failed on .* vectors: Negative values"):
        fit_cell(X, there, labels, get_probe("sklearn.naive_bayes:MultinomialNB"), PLANTED)


def test_projection_keeps_inner_products_and_is_the_same_again():
    X = np.random.default_rng(0).normal(size=(40, 300)).astype(np.float32)
    P = project(X, 4000, 0)
    assert P.shape == (40, 4000)
    np.testing.assert_allclose(P @ P.T, X @ X.T, atol=0.1 * 300)
    assert (project(X, 4000, 0) == P).all()
    assert (project(X, 4000, 1) != P).any()


def test_cells_that_cannot_be_fitted_say_why(labels):
    there = np.zeros(N, dtype=bool)
    there[labels.y == 1] = True
    assert why_masked(labels, there) == "0 wrong answers have this token; at least 20 are needed"
    there[np.flatnonzero((labels.y == 0) & (np.array(labels.splits) == "train"))[:30]] = True
    assert why_masked(labels, there) == "one class only in validation"
    fit = fit_cell(np.zeros((N, 3), np.float32), there, labels, get_probe("logistic"), PLANTED)
    assert fit.masked
    assert np.isnan(fit.decisions).all()
    assert np.isnan(fit.C)


def test_unconverged_probe_is_flagged(labels):
    rng = np.random.default_rng(0)
    # raw vectors: strongly correlated, of very different scale
    mix = rng.normal(size=(150, 150)) * 10 ** np.linspace(-2, 2, 150)
    X = (rng.normal(size=(N, 150)) @ mix.T + 3 * labels.y[:, None]).astype(np.float32)
    fit = fit_cell(X, np.ones(N, dtype=bool), labels, get_probe("orgad2025"), PLANTED)
    assert not fit.converged


@pytest.mark.parametrize("name", sorted(PROBES))
def test_every_probe_finds_a_strong_signal(labels, name):
    X = np.random.default_rng(3).normal(size=(N, WIDTH)).astype(np.float32)
    X[:, 0] += 3 * labels.y
    fit = fit_cell(X, np.ones(N, dtype=bool), labels, get_probe(name), PLANTED)
    test = split_index(labels.splits)["test"]
    assert auroc(labels.y[test], fit.decisions[test]) > 0.95


def test_unknown_probe():
    with pytest.raises(UnknownNameError, match="Did you mean 'logistic'"):
        get_probe("logistics")


def test_a_probe_does_not_depend_on_the_basis(planted, labels):
    X, there = planted.cell(1, "exact_answer_last").copy(), planted.present[:, 1]
    X[~there] = 0
    rotation, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(WIDTH, WIDTH)))
    a = fit_cell(X, there, labels, get_probe("logistic"), PLANTED)
    b = fit_cell((X @ rotation).astype(np.float32), there, labels, get_probe("logistic"), PLANTED)
    np.testing.assert_allclose(a.decisions[there], b.decisions[there], atol=1e-4)


def test_the_first_of_equals_is_chosen_and_what_is_undefined_takes_no_part():
    y = np.array([0, 1, 0, 1, 1, 1])
    wrong, right = np.array([1.0, 0, 1, 0, 2, 3]), np.array([0.0, 1, 0, 1, 2, 3])
    best = choose(y, [wrong, right, right], np.arange(4))
    assert (best.at, best.validation_auroc) == (1, 1.0)
    assert choose(y, [wrong, right], np.arange(2), np.arange(2, 4), np.arange(4, 6)).at == 1
    assert choose(y, [wrong, right], np.arange(4, 6)) is None  # one class only
    assert first_best([float("nan"), 0.5, 0.7, 0.7]) == 2
    assert first_best([float("nan")]) is None


def test_features_are_fitted_with_the_smaller_c_on_a_tie():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 2
    X = y[:, None] + 0.01 * rng.normal(size=(90, 1))
    rows = {name: np.arange(k, 90, 3) for k, name in enumerate(("train", "validation", "test"))}
    decisions, C = fit_features(X, y, rows, (0.1, 1.0, 10.0), max_iter=2000)
    assert C == 0.1
    assert auroc(y[rows["test"]], decisions[rows["test"]]) == 1.0
