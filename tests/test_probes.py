"""Probes are scikit-learn classifiers: its own checks, agreement with its estimators, and names
from elsewhere."""

import sys
import warnings

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from probebench.errors import UnknownNameError, UsageError
from probebench.metrics.auroc import auroc
from probebench.probes.estimators import HiddenLayer, L2Logistic, L2Ridge, MassMean, ShrunkLDA
from probebench.probes.kinds import C_GRID, PROBES, get_probe, linear_map
from probebench.probes.parts import OneScale

OURS = [
    OneScale(),
    L2Logistic(),
    L2Logistic(solver="sklearn", tol=1e-10),
    MassMean(),
    ShrunkLDA(),
    L2Ridge(),
    HiddenLayer(),
]
LINEAR = [name for name in sorted(PROBES) if name != "mlp"]


def data(n=200, width=30, seed=0):
    """Two classes of correlated vectors off the origin, one mean shifted."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    X = rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) + 5
    return (X + 2 * y[:, None] * rng.normal(size=width)).astype(np.float32), y


def expected_failures(estimator):
    """Checks that an estimator fails for a reason; `test_weights_are_repetitions` checks the same
    by our own means."""
    check = "check_sample_weight_equivalence_on_dense_data"
    if isinstance(estimator, L2Logistic) and estimator.solver == "batched":
        # asked for to 1e-7; weighted and repeated vectors have other means, and are rounded to
        # float32 once these are taken off
        return {check: "vectors in single precision: equal to 1e-5"}
    if tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 9):
        # it makes two classes of three by the first label it meets, which differs between its
        # weighted and its repeated examples
        return {
            check: (
                "scikit-learn 1.6 gives the two fits different classes where only two are allowed"
            )
        }
    return {}


@parametrize_with_checks(OURS, expected_failed_checks=expected_failures)
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", sorted(PROBES))
def test_every_probe_is_a_scikit_learn_classifier(name):
    X, y = data()
    made = get_probe(name).make(get_probe(name).grid[0], X.shape[1])
    again = clone(made)
    with warnings.catch_warnings():
        # scikit-learn's defaults are left to complain
        warnings.simplefilter("error" if name != "orgad2025" else "ignore")
        made.fit(X, y)
        again.fit(X, y)
        assert (
            cross_val_score(
                make_pipeline(StandardScaler(), clone(made)), X, y, scoring="roc_auc", cv=3
            ).mean()
            > 0.8
        )
    decisions = made.decision_function(X)
    assert decisions.shape == (len(X),)
    assert decisions.dtype.kind == "f"
    np.testing.assert_array_equal(decisions, again.decision_function(X))
    np.testing.assert_array_equal(made.predict(X), (decisions > 0).astype(int))
    assert auroc(y, decisions) > 0.9


@pytest.mark.parametrize("name", sorted(PROBES))
def test_flipped_labels_flip_decisions(name):
    X, y = data()
    a, b = (
        get_probe(name).make(1e-2, X.shape[1]).fit(X, labels).decision_function(X)
        for labels in (y, 1 - y)
    )
    # its units start where the seed puts them, so the two fits differ, though not by much
    if name == "mlp":
        assert auroc(y, b) < 0.1
    else:
        np.testing.assert_allclose(a, -b, rtol=1e-3, atol=1e-3 * np.abs(a).max())


@pytest.mark.parametrize("name", [n for n in LINEAR if n != "orgad2025"])
@pytest.mark.parametrize("width", [12, 80])
def test_a_probe_does_not_depend_on_the_basis(name, width):
    X, y = data(60, width)
    rotation, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(width, width)))
    a, b = (
        get_probe(name).make(1e-2, width).fit(Z, y).decision_function(Z)
        for Z in (X, X @ rotation + 3)
    )
    np.testing.assert_allclose(a, b, atol=2e-4 * np.abs(a).max())


@pytest.mark.parametrize("solver", ["batched", "sklearn"])
@pytest.mark.parametrize("shape", [(150, 20), (40, 120)])
@pytest.mark.parametrize("C", [1e-4, 1e-2, 1.0])
def test_logistic_equals_scikit_learn(solver, shape, C):
    X, y = data(*shape)
    Z = OneScale().fit_transform(X) + 0.5  # off the origin: centring is the estimator's own affair
    reference = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(
        Z, y
    )
    model = L2Logistic(C, solver=solver).fit(Z, y)
    expected = reference.decision_function(Z)
    np.testing.assert_allclose(
        model.decision_function(Z), expected, atol=1e-3 * np.abs(expected).max()
    )
    np.testing.assert_allclose(model.predict_proba(Z), reference.predict_proba(Z), atol=1e-3)
    assert model.converged_
    assert model.n_iter_.shape == (1,)
    assert (model.coef_.shape, model.intercept_.shape) == ((1, shape[1]), (1,))


def test_unconverged_logistic_says_so_without_a_warning():
    X, y = data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = L2Logistic(10.0, solver="sklearn", max_iter=2).fit(X, y)
    assert not model.converged_
    assert model.n_iter_.max() <= 2
    assert L2Logistic(10.0, solver="sklearn").fit(X, y).converged_


@pytest.mark.parametrize(
    "estimator", [L2Logistic(1e-2), L2Logistic(1e-2, solver="sklearn"), MassMean(), L2Ridge(1e-2)]
)
def test_weights_are_repetitions(estimator):
    X, y = data(80, 10)
    weights = np.random.default_rng(1).integers(0, 4, 80)
    a = clone(estimator).fit(X, y, sample_weight=weights)
    b = clone(estimator).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(a.decision_function(X), b.decision_function(X), rtol=1e-5, atol=1e-5)


def test_mass_mean_is_the_difference_of_means():
    # Marks and Tegmark's own code: direction = pos_mean - neg_mean
    X, y = data()
    X = X.astype(np.float64)
    model = MassMean().fit(X, y)
    theta = X[y == 1].mean(0) - X[y == 0].mean(0)
    np.testing.assert_allclose(model.coef_[0], theta)
    assert model.decision_function([(X[y == 1].mean(0) + X[y == 0].mean(0)) / 2])[
        0
    ] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shape", [(120, 30), (60, 60), (40, 130)])
def test_lda_equals_scikit_learn_with_the_same_shrinkage(shape):
    X, y = data(*shape)
    X = X.astype(np.float64)
    model = ShrunkLDA().fit(X, y)
    within = X - np.array([X[y == k].mean(0) for k in (0, 1)])[y]
    covariance, shrinkage = ledoit_wolf(within, assume_centered=True)
    assert model.shrinkage_ == pytest.approx(shrinkage, rel=1e-9)

    # scikit-learn asks per class and pools; the same answer for both is the pooled one
    class Given:
        def fit(self, X):
            self.covariance_ = covariance
            return self

    reference = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Given()).fit(X, y)
    np.testing.assert_allclose(
        model.coef_, reference.coef_, rtol=1e-5, atol=1e-7 * np.abs(reference.coef_).max()
    )
    np.testing.assert_allclose(model.intercept_, reference.intercept_, rtol=1e-5)


def test_lda_without_variance_within_classes():
    y = np.arange(20) % 2
    model = ShrunkLDA().fit(np.outer(y, [1.0, 2.0, 3.0]), y)
    assert (model.predict(np.outer(y, [1.0, 2.0, 3.0])) == y).all()


@pytest.mark.parametrize("shape", [(120, 30), (40, 130)])
def test_ridge_equals_scikit_learn(shape):
    X, y = data(*shape)
    Z, weights = OneScale().fit_transform(X), np.random.default_rng(2).random(len(X))
    for sample_weight in (None, weights):
        reference = RidgeClassifier(alpha=100.0, tol=1e-10).fit(Z, y, sample_weight)
        model = L2Ridge(1e-2).fit(Z, y, sample_weight)
        np.testing.assert_allclose(
            model.coef_, np.atleast_2d(reference.coef_), rtol=1e-6, atol=1e-10
        )
        np.testing.assert_allclose(model.intercept_, reference.intercept_, rtol=1e-6, atol=1e-10)


def test_mlp_reads_what_no_line_can():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(1200, 8)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    train, test = slice(0, 800), slice(800, None)
    values = {}
    for name in ("mlp", "logistic"):
        model = get_probe(name).make(1.0, 8).fit(X[train], y[train])
        values[name] = auroc(y[test], model.decision_function(X[test]))
    assert values["mlp"] > 0.9
    assert values["logistic"] < 0.6


@pytest.mark.parametrize(
    "estimator", [L2Logistic(0.0), L2Ridge(-1.0), HiddenLayer(0.0), L2Logistic(solver="lbfgs")]
)
def test_wrong_parameters_are_named(estimator):
    X, y = data(40, 3)
    with pytest.raises(
        ValueError,
        match=r"The '(C|solver)' parameter of (L2Logistic|L2Ridge|HiddenLayer) must be .*Got",
    ):
        estimator.fit(X, y)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([n for n in LINEAR if n != "orgad2025"]), st.integers(1, 40), st.integers(0, 99)
)
def test_linear_probes_fold_into_one_affine_map(name, width, seed):
    X, y = data(60, width, seed)
    model = get_probe(name).make(1e-2, width).fit(X, y)
    found = linear_map(model)
    assert found is not None
    weight, bias = found
    assert weight.shape == (width,)
    decisions = model.decision_function(X)
    np.testing.assert_allclose(
        X @ weight + bias, decisions, rtol=1e-6, atol=1e-8 * (1 + np.abs(decisions).max())
    )


ELSEWHERE = [
    LogisticRegression(),
    LinearSVC(),
    SVC(kernel="linear"),
    make_pipeline(StandardScaler(), LogisticRegression()),
    make_pipeline(StandardScaler(with_mean=False), OneScale(), "passthrough", L2Ridge()),
]


@pytest.mark.parametrize("model", ELSEWHERE)
def test_linear_estimators_from_elsewhere_fold_too(model):
    X, y = data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    weight, bias = linear_map(model)
    np.testing.assert_allclose(X @ weight + bias, model.decision_function(X), rtol=1e-3, atol=1e-3)


def test_what_is_not_affine_is_not_folded():
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures

    X, y = data()
    steps = [PolynomialFeatures(2), PCA(5), PCA(), MinMaxScaler()]
    models = [
        get_probe("mlp").make(1.0, 30),
        RandomForestClassifier(),
        SVC(),
        *(make_pipeline(s, L2Ridge()) for s in steps),
    ]
    assert [linear_map(model.fit(X, y)) for model in models] == [None] * len(models)


def test_names_and_grids():
    assert set(PROBES) == {"logistic", "mass-mean", "lda", "ridge", "mlp", "orgad2025"}
    assert get_probe("logistic").grid == C_GRID
    assert np.isnan(get_probe("lda").grid[0])  # no choice of C: the record says null
    assert get_probe("orgad2025").make(1.0, 5).get_params() == LogisticRegression().get_params()
    with pytest.raises(UnknownNameError, match="Did you mean 'logistic'"):
        get_probe("logistics")


MODULE = """
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.ensemble import IsolationForest
not_callable = 3
seen = []
def both(C, width):
    seen.append((C, width))
    return LogisticRegression(C=C)
only_width = lambda width: LogisticRegression(C=1 / width)
nothing = lambda: LogisticRegression()
a_class = lambda: LogisticRegression
regressor = lambda: Ridge()
outliers = lambda: IsolationForest()
number = lambda: 3
needs = lambda gamma: LogisticRegression()
class Duck:
    def fit(self, X, y): return self
    def predict_proba(self, X): return X
class Mute:
    def fit(self, X, y): return self
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "elsewhere_probes.py").write_text(MODULE)
    (tmp_path / "broken_probes.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    yield "elsewhere_probes"
    for name in ("elsewhere_probes", "broken_probes"):
        sys.modules.pop(name, None)


def test_any_estimator_by_import_path(module):
    import pickle

    both = get_probe(f"{module}:both")
    assert (both.name, both.grid) == (f"{module}:both", C_GRID)
    assert both.make(0.1, 7).C == 0.1
    assert sys.modules[module].seen == [(C_GRID[0], 1), (0.1, 7)]
    assert pickle.loads(pickle.dumps(both)).make(0.5, 3).C == 0.5  # goes to other processes
    assert get_probe(f"{module}:only_width").make(0.1, 4).C == 0.25
    assert np.isnan(get_probe(f"{module}:nothing").grid).all()
    assert get_probe(f"{module}:Duck").make(1.0, 4)
    svc = get_probe("sklearn.svm:LinearSVC")
    assert svc.grid == C_GRID
    assert svc.make(0.3, 9).get_params()["C"] == 0.3


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("no_such_module_here:make", UsageError, "cannot import 'no_such_module_here'.*PYTHONPATH"),
        ("broken_probes:make", UsageError, "cannot import 'broken_probes'.*no_such_library"),
        ("elsewhere_probes:boht", UnknownNameError, "Did you mean 'both'"),
        ("elsewhere_probes:not_callable", UsageError, "is of type int, not something to call"),
        (
            "elsewhere_probes:a_class",
            UsageError,
            "made the class LogisticRegression, not an object",
        ),
        (
            "elsewhere_probes:regressor",
            UsageError,
            "made an object of type Ridge, which is a scikit-learn estimator but no classifier",
        ),
        ("elsewhere_probes:outliers", UsageError, "made an object of type IsolationForest"),
        ("elsewhere_probes:number", UsageError, "made an object of type int, which has no fit"),
        ("elsewhere_probes:Mute", UsageError, "neither decision_function nor predict_proba"),
        ("elsewhere_probes:needs", UsageError, "the factory failed with TypeError.*gamma"),
        ("elsewhere_probes:", UsageError, "Write package.module:factory"),
        (":make", UsageError, "Write package.module:factory"),
    ],
)
def test_wrong_import_paths_say_what_is_wrong(module, path, error, message):
    with pytest.raises(error, match=message):
        get_probe(path)
