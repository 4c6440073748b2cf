"""The batched solver against a plain Newton oracle, the oracle against scikit-learn, and
invariants."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from probebench.metrics.auroc import auroc
from probebench.probes.logistic.solver import LogisticSolver, reference_fit

C_GRID = (1e-4, 1e-2, 1.0, 10.0)
few = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
seeds = st.integers(0, 10_000)
shapes = st.sampled_from([(40, 8), (60, 30), (60, 90), (90, 60)])
strengths = st.sampled_from(C_GRID)


def vectors(n, d, seed=0, kind="plain"):
    """(n, d) float32 with a decaying spectrum and a mean, and labels of which one direction
    tells."""
    rng = np.random.default_rng(seed)
    scale = (np.arange(d) + 5.0) ** -0.5
    X = (
        rng.normal(size=(n, d))
        * scale
        / np.sqrt((scale**2).mean())
        @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    )
    y = (X[:, 0] + rng.normal(size=n) * X[:, 0].std() > 0).astype(np.int64)
    if kind == "dominant":  # as in hidden states: two fifths of the variance in one direction
        scale = np.arange(1, d + 1) ** -0.625
        scale[0] = np.sqrt(2 / 3 * (scale[1:] ** 2).sum())
        X = (
            rng.normal(size=(n, d))
            * scale
            / np.sqrt((scale**2).mean())
            @ np.linalg.qr(rng.normal(size=(d, d)))[0]
        )
        y = (X[:, 0] + rng.normal(size=n) * X[:, 0].std() > 0).astype(np.int64)
    if kind == "separable":
        X[:, 0] += 6 * (2 * y - 1)
    if kind == "constant":
        X[:, 1::3] = 2.5
    if kind == "duplicated":
        X[n // 2 :], y[n // 2 :] = X[: n - n // 2], y[: n - n // 2]
    if kind == "scales":
        X *= 10.0 ** rng.uniform(-2, 2, size=d)
    return (X + rng.normal(size=d)).astype(np.float32), y


def split(n, d, kind, seed=0):
    X, y = vectors(n + 500, d, seed, kind)
    return X[:n], y[:n], X[n:], y[n:]


def assert_same_decisions(found, expected, y=None, tolerance=1e-2):
    spread = max(float(expected.std()), 1e-12)
    assert np.abs(found - expected).max() <= tolerance * spread
    if y is not None:
        assert abs(auroc(y, found) - auroc(y, expected)) <= 1e-4


@pytest.mark.parametrize("kind", ["plain", "dominant", "separable", "constant", "scales"])
@pytest.mark.parametrize(("n", "d"), [(200, 64), (200, 300), (500, 300), (150, 1024)])
def test_agrees_with_the_oracle(n, d, kind):
    X, y, held, y_held = split(n, d, kind)
    rng = np.random.default_rng(1)
    shuffled = rng.permutation(y)
    weight = rng.integers(0, 3, n).astype(float)
    solver = LogisticSolver(X)
    columns = [(y, None), (shuffled, None), (y, weight)]
    fits = [solver.solve(labels, C_GRID, sample_weight=s) for labels, s in columns]
    for (labels, s), fit in zip(columns, fits, strict=True):
        assert fit.converged.all()
        for j, C in enumerate(C_GRID):
            oracle = reference_fit(X, labels, C, s)
            assert oracle.converged.all()
            assert_same_decisions(fit.decisions(held)[:, j], oracle.decisions(held)[:, 0], y_held)


@pytest.mark.parametrize(("n", "d"), [(120, 20), (60, 90)])
@pytest.mark.parametrize("C", C_GRID)
def test_oracle_agrees_with_scikit_learn(n, d, C):
    X, y = vectors(n, d)
    weight = np.random.default_rng(2).integers(1, 4, n).astype(float)
    X = X.astype(np.float64)
    expected = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(
        X, y, sample_weight=weight
    )
    found = reference_fit(X, y, C, weight)
    np.testing.assert_allclose(found.decisions(X)[:, 0], expected.decision_function(X), atol=1e-6)
    np.testing.assert_allclose(found.intercept, expected.intercept_, atol=1e-6)


@pytest.mark.parametrize(("n", "d"), [(150, 60), (100, 160)])
def test_torch_gives_the_same(n, d):
    X, y = vectors(n, d)
    Y = np.stack([y, 1 - y, np.roll(y, 7)], 1)
    weight = np.random.default_rng(3).integers(0, 2, (n, 3))
    for s in (None, weight):
        one, other = (
            LogisticSolver(X, device=device).solve(Y, 1.0, sample_weight=s)
            for device in (None, "cpu")
        )
        assert other.converged.all()
        assert_same_decisions(other.decisions(X), one.decisions(X), tolerance=1e-3)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_one_column_of_labels_that_can_be_told_apart_takes_few_directions(device):
    """Few rows have any curvature left; with one curvature for all of them it took 54."""
    X, y, held, _ = split(500, 300, "plain")
    fit = LogisticSolver(X, device=device).solve(y, C_GRID)
    assert fit.converged.all()
    assert fit.iterations.max() <= 30
    for j, C in enumerate(C_GRID):
        oracle = reference_fit(X, y, C)
        assert_same_decisions(
            fit.decisions(held)[:, j], oracle.decisions(held)[:, 0], tolerance=2.5e-3
        )


@pytest.mark.gpu
def test_cuda_gives_the_same():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    X, y = vectors(300, 400)
    one, other = (LogisticSolver(X, device=device).solve(y, C_GRID) for device in (None, "cuda"))
    assert_same_decisions(other.decisions(X), one.decisions(X), tolerance=1e-3)


@few
@given(seeds, shapes, strengths)
def test_flipped_labels_negate_decisions(seed, shape, C):
    X, y = vectors(*shape, seed)
    solver = LogisticSolver(X)
    assert_same_decisions(
        -solver.solve(1 - y, C).decisions(X), solver.solve(y, C).decisions(X), tolerance=1e-3
    )


@few
@given(seeds, shapes, strengths)
def test_duplicated_rows_are_a_doubled_C_and_a_doubled_weight(seed, shape, C):
    X, y = vectors(*shape, seed)
    expected = LogisticSolver(X).solve(y, 2 * C).decisions(X)
    twice = LogisticSolver(np.concatenate([X, X])).solve(np.concatenate([y, y]), C)
    assert_same_decisions(twice.decisions(X), expected, tolerance=3e-3)
    assert_same_decisions(
        LogisticSolver(X).solve(y, C, sample_weight=np.full(len(y), 2)).decisions(X),
        expected,
        tolerance=3e-3,
    )


@few
@given(seeds, shapes, strengths)
def test_order_of_rows_and_other_columns_change_nothing(seed, shape, C):
    X, y = vectors(*shape, seed)
    rng = np.random.default_rng(seed)
    Y = np.stack([y, rng.permutation(y), rng.permutation(y)], 1)
    order = rng.permutation(len(y))
    expected = LogisticSolver(X).solve(Y, C).decisions(X)
    assert_same_decisions(
        LogisticSolver(X[order]).solve(Y[order], C).decisions(X), expected, tolerance=3e-3
    )
    alone = np.concatenate(
        [LogisticSolver(X).solve(Y[:, j], C).decisions(X) for j in range(3)], axis=1
    )
    assert_same_decisions(alone, expected, tolerance=3e-3)


@few
@given(seeds, shapes, strengths)
def test_rotation_rotates_and_a_constant_moves_only_the_intercept(seed, shape, C):
    X, y = vectors(*shape, seed)
    fit = LogisticSolver(X).solve(y, C)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(shape[1],) * 2))[0]
    size = np.linalg.norm(fit.coef)
    turned = LogisticSolver(X.astype(np.float64) @ rotation).solve(y, C)
    assert np.linalg.norm(turned.coef - fit.coef @ rotation) <= 1e-3 * size
    shifted = LogisticSolver(X + np.float32(3)).solve(y, C)
    assert np.linalg.norm(shifted.coef - fit.coef) <= 1e-3 * size
    np.testing.assert_allclose(
        shifted.intercept,
        fit.intercept - 3 * fit.coef.sum(1),
        atol=2e-3 * max(1, fit.decisions(X).std()),
    )


@few
@given(seeds, shapes, strengths)
def test_weight_zero_leaves_rows_out(seed, shape, C):
    X, y = vectors(*shape, seed)
    folds = np.random.default_rng(seed).integers(0, 3, len(y))
    kept = np.stack([folds != k for k in range(3)], 1)
    if any(len(np.unique(y[rows])) < 2 for rows in kept.T):
        return
    fits = LogisticSolver(X).solve(y, C, sample_weight=kept)
    assert fits.converged.all()
    for k, rows in enumerate(kept.T):
        alone = LogisticSolver(X[rows]).solve(y[rows], C)
        assert_same_decisions(fits.decisions(X)[:, k], alone.decisions(X)[:, 0], tolerance=3e-3)


def gradient_of(X, y, C, fit, j=0):
    X, w = X.astype(np.float64), fit.coef[j].astype(np.float64)
    wrong = y - 1 / (1 + np.exp(-(X @ w + fit.intercept[j])))
    return w - C * X.T @ wrong, C * wrong.sum()


@pytest.mark.parametrize("d", [40, 400])
def test_converged_is_honest(d):
    X, y = vectors(200, d)
    solver = LogisticSolver(X)
    short = solver.solve(y, 1.0, max_iter=2)
    assert not short.converged.any()
    assert short.iterations[0] == 2
    assert short.gradient[0] > 5e-4
    full = solver.solve(y, 1.0)
    assert full.converged.all()
    assert full.gradient[0] <= 5e-4
    by_w, by_b = gradient_of(
        X - X.mean(0),
        y,
        1.0,
        type(full)(full.coef, full.intercept + full.coef @ X.mean(0), *[None] * 4),
    )
    assert np.linalg.norm(by_w) <= 1e-2 * np.linalg.norm(full.coef)
    assert abs(by_b) <= 1e-4 * len(y)


def test_vectors_that_say_nothing_leave_the_base_rate():
    y = np.repeat([0, 1, 1, 1], 10)
    fit = LogisticSolver(np.full((40, 5), 7.0, np.float32)).solve(y, 1.0)
    assert fit.converged.all()
    np.testing.assert_allclose(fit.decisions(np.zeros((2, 5))), np.log(3), rtol=1e-5)


def test_same_answer_twice():
    X, y = vectors(200, 300)
    one, other = (LogisticSolver(X).solve(y, C_GRID).decisions(X) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_inputs_are_left_alone():
    X, y = vectors(60, 30)
    before = X.copy(), y.copy()
    LogisticSolver(X).solve(y, C_GRID, sample_weight=np.ones(60))
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros(3)}, r"X must be .*\(3,\)"),
        ({"X": np.array([[1.0, np.nan]] * 8)}, r"X must be finite.*nan"),
        ({"X": np.array([[1.0, -np.inf]] * 8)}, r"X must be finite.*-inf"),
        ({"Y": np.zeros(8)}, r"both classes.*no 1.*column 0"),
        ({"Y": np.arange(8)}, r"Y must be 0 or 1.*2"),
        ({"Y": np.zeros(5)}, r"Y must be \(8,\).*\(5,\)"),
        ({"C": 0.0}, r"C must be .*0\.0"),
        ({"C": [1.0, np.nan]}, r"C must be .*nan"),
        ({"C": [1.0, 2.0, 3.0], "Y": np.tile([[0, 1], [1, 0]], (4, 1))}, r"one column.*2, 1, 3"),
        ({"sample_weight": np.full(8, -1.0)}, r"sample_weight must be .*-1"),
        ({"sample_weight": np.tile([0.0, 1.0], 4)}, r"both classes.*no 0"),
    ],
)
def test_errors_name_the_value(change, message):
    given = {
        "X": np.random.default_rng(0).normal(size=(8, 2)),
        "Y": np.tile([0, 1], 4),
        "C": 1.0,
        "sample_weight": None,
    } | change
    with pytest.raises(ValueError, match=message):
        LogisticSolver(given["X"]).solve(
            given["Y"], given["C"], sample_weight=given["sample_weight"]
        )


@pytest.mark.parametrize(("n", "d"), [(300, 16), (60, 90)])
def test_vectors_that_say_nothing_converge_to_the_intercept(n, d):
    y = (np.arange(n) % 3 == 0).astype(np.int64)
    rng = np.random.default_rng(0)
    for X in (np.zeros((n, d)), np.full((n, d), 2.5), 1e-7 * rng.normal(size=(n, d))):
        fits = LogisticSolver(X.astype(np.float32)).solve(np.stack([y, rng.permutation(y)], 1), 1.0)
        assert fits.converged.all()
        assert (fits.iterations <= 100).all()
        np.testing.assert_allclose(
            fits.decisions(X.astype(np.float32)), np.log(y.mean() / (1 - y.mean())), atol=1e-4
        )


def test_two_distinct_vectors_at_a_weak_penalty():
    # the Gram matrix has rank one, so v is not determined by the scores and once ran away
    at = np.random.default_rng(0).standard_normal((2, 128)) * 1e-3 + 0.3
    which = np.array(
        [1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0]
    )
    X = at[which] / np.linalg.norm(at[1] - at[0]) * 2
    y = which.copy()
    y[[0, 2]] = 1 - y[[0, 2]]
    for labels in (which, y):
        for C in (0.1, 1.0, 10.0, 100.0):
            fit, expected = (
                LogisticSolver(X.astype(np.float32)).solve(labels, C),
                reference_fit(X, labels, C),
            )
            assert fit.converged.all()
            np.testing.assert_allclose(fit.decisions(X), expected.decisions(X), rtol=5e-3)


def repeated(n, d, distinct, seed=0):
    """(n, d) float32 of which few are distinct, as short statements have at a token that many
    share."""
    X, _ = vectors(distinct, d, seed, "dominant")
    return X[np.random.default_rng(seed).integers(0, distinct, n)]


def nearly_constant(n, d, seed=0):
    """(n, d) float32 far from zero, with five columns that vary and others that do so in their last
    digits alone."""
    rng = np.random.default_rng(seed)
    X = (10 + 100 * rng.random(d)).astype(np.float32) * np.ones((n, 1), np.float32)
    X *= 1 + (rng.integers(-2, 3, (n, d)) * 2.0**-23).astype(np.float32)
    X[:, :5] += rng.normal(size=(n, 5)).astype(np.float32)
    return X


ALIKE = {
    "repeated": repeated(200, 300, 150),
    "repeated much": repeated(200, 400, 60),
    "nearly constant": nearly_constant(150, 400),
    "nearly constant, tall": nearly_constant(300, 64),
}


@pytest.mark.parametrize("X", ALIKE.values(), ids=ALIKE)
def test_vectors_that_are_nearly_the_same_are_fitted_as_by_scikit_learn(X, monkeypatch):
    """Labels that no vector can tell apart: what the Gram matrix does not see of a step must not
    grow."""
    monkeypatch.setattr(
        LogisticSolver, "_plain", lambda *args: pytest.fail("left the numbers in both precisions")
    )
    lost = []
    whole = LogisticSolver._pass

    def watched(cell, problem, found, *rest):
        whole(cell, problem, found, *rest)
        if not cell.lib.double:
            lost.append(int((~np.isfinite(found.gradient)).sum()))

    monkeypatch.setattr(LogisticSolver, "_pass", staticmethod(watched))
    rng = np.random.default_rng(1)
    Y = np.array([rng.permutation(np.arange(len(X)) % 2) for _ in range(40)]).T
    fits = LogisticSolver(X).solve(Y, 10.0)
    assert fits.converged.all()
    assert max(lost) <= len(Y.T) // 5
    double = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    for k in range(3):
        expected = LogisticRegression(
            C=10.0, solver="newton-cholesky", tol=1e-9, max_iter=1000
        ).fit(double, Y[:, k])
        assert_same_decisions(fits.decisions(X)[:, k], expected.decision_function(double))


def test_columns_that_leave_the_numbers_begin_again_in_double(monkeypatch):
    X, y = vectors(60, 90)
    whole = LogisticSolver._pass

    def broken(cell, problem, found, which, *rest):
        whole(cell, problem, found, which, *rest)
        if not cell.lib.double:
            found.coef[1], found.now.v[1], found.now.f[1], found.now.b[1], found.gradient[1] = (
                np.nan,
            ) * 5

    expected = LogisticSolver(X).solve(y, (0.1, 1.0, 10.0))
    monkeypatch.setattr(LogisticSolver, "_pass", staticmethod(broken))
    found = LogisticSolver(X).solve(y, (0.1, 1.0, 10.0))
    assert found.converged.all()
    assert_same_decisions(found.decisions(X)[:, 1], expected.decisions(X)[:, 1])
