"""Our own estimators, as scikit-learn has them: two classes, real-valued decisions, positive for
the second.

A fit that does not converge says so in `converged_`, never by a warning. The arithmetic of a
decision stands in one function per kind (`scaled`, `affine`, `hidden`), so that a saved probe
repeats it to the last bit.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from probebench.probes.parts import FLOATS, TwoClasses, hidden
from probebench.types import AnyFloats


class L2Logistic(TwoClasses):
    """Logistic regression with an L2 penalty and a free intercept: scikit-learn's objective, C
    sum_i s_i loss_i + |w|^2 / 2.

    Args:
        C: inverse strength of the penalty.
        solver: `batched` for probebench's own (`probebench.probes.logistic.solver`), `sklearn` for
            lbfgs on centred vectors.
        tol: relative gradient norm (`batched`) or lbfgs tolerance (`sklearn`) at which the fit has
            converged.
        max_iter: most iterations.

    Attributes:
        coef_: (1, width) weights.
        intercept_: (1,).
        converged_: whether the tolerance was reached.
        n_iter_: (1,) iterations.
    """

    def __init__(
        self, C: float = 1.0, solver: str = "batched", tol: float = 1e-6, max_iter: int = 2000
    ) -> None:
        self.C = C
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> L2Logistic:
        """Fit to (example, width) vectors, (example,) classes and, if given, (example,) weights of
        the losses."""
        if self.solver not in ("batched", "sklearn"):
            raise ValueError(
                f"The 'solver' parameter of L2Logistic must be 'batched' or 'sklearn'. Got "
                f"{self.solver!r} instead."
            )
        C = self._positive("C")
        X, index = self._read(X, y)
        weights = None
        if sample_weight is not None:
            weights = self._read_weights(sample_weight, X, index)
            X, index, weights = X[weights > 0], index[weights > 0], weights[weights > 0]
        if self.solver == "sklearn":
            return self._fit_lbfgs(X, index, weights, C)
        from probebench.probes.logistic.solver import LogisticSolver

        fits = LogisticSolver(X).solve(
            index, C, sample_weight=weights, tol=self.tol, max_iter=self.max_iter
        )
        self.coef_, self.intercept_ = (
            np.asarray(fits.coef, dtype=np.float64),
            np.asarray(fits.intercept, dtype=np.float64),
        )
        self.converged_, self.n_iter_ = bool(fits.converged[0]), np.asarray(fits.iterations)
        return self

    def _fit_lbfgs(
        self, X: AnyFloats, index: NDArray[np.int64], weights: AnyFloats | None, C: float
    ) -> L2Logistic:
        from sklearn.linear_model import LogisticRegression

        # moves only the intercept, and saves lbfgs most of its iterations
        centre = np.average(X, axis=0, weights=weights)
        model = LogisticRegression(C=C, tol=self.tol, max_iter=self.max_iter)
        self.converged_ = _quietly(
            model, X - centre.astype(np.float64), index, sample_weight=weights
        )
        self.coef_, self.n_iter_ = model.coef_, model.n_iter_
        self.intercept_ = model.intercept_ - centre @ model.coef_[0]
        return self

    def predict_proba(self, X: Any) -> AnyFloats:
        """(example, class) probabilities."""
        from scipy.special import expit

        decisions = self.decision_function(X)
        return np.column_stack([expit(-decisions), expit(decisions)])


class MassMean(TwoClasses):
    """The difference of the class means as direction, their midpoint as threshold.

    Marks and Tegmark 2024 (arXiv:2310.06824), section 5, theta = mean of the true minus mean of the
    false. Their variant for independent examples, with the inverse covariance within the classes,
    is `ShrunkLDA`.

    Attributes:
        coef_: (1, width) difference of means.
        intercept_: (1,) minus the difference times the midpoint.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MassMean:
        """Fit to (example, width) vectors, (example,) classes and, if given, (example,) weights."""
        X, index = self._read(X, y)
        weights = self._read_weights(sample_weight, X, index)
        wrong, correct = (
            np.average(X[index == k], axis=0, weights=weights[index == k]) for k in (0, 1)
        )
        self.coef_ = (correct - wrong)[None]
        self.intercept_ = -self.coef_ @ ((correct + wrong) / 2)
        return self


class ShrunkLDA(TwoClasses):
    """Linear discriminant analysis with one covariance, shrunk towards a multiple of the identity
    after Ledoit and Wolf (2004).

    With fewer examples than features all it needs is the (example, example) Gram matrix of the
    vectors, centred within their class, and Woodbury's identity. Unlike scikit-learn's
    `shrinkage="auto"` there is one shrinkage for both classes and no scale per feature, so the
    probe does not depend on the basis.

    Attributes:
        coef_: (1, width).
        intercept_: (1,) with the log odds of the classes in training.
        shrinkage_: weight of the identity, from 0 to 1.
    """

    def fit(self, X: Any, y: Any) -> ShrunkLDA:
        """Fit to (example, width) vectors and (example,) classes."""
        X, index = self._read(X, y)
        means = np.array([X[index == k].mean(axis=0, dtype=np.float64) for k in (0, 1)])
        Z, (n, width) = X - means[index], X.shape
        wide = n < width
        gram = Z @ Z.T if wide else Z.T @ Z  # the smaller one
        variance, difference = np.trace(gram) / n / width, means[1] - means[0]
        self.shrinkage_ = _ledoit_wolf(Z, gram)
        # the shrunk covariance is a I + b Z'Z
        a = max(self.shrinkage_, float(np.finfo(float).eps)) * variance or 1.0
        b = (1 - self.shrinkage_) / n
        w = (
            (difference - b * Z.T @ _solve(b * gram, a, Z @ difference)) / a
            if wide
            else _solve(b * gram, a, difference)
        )
        self.coef_, counts = w[None], np.bincount(index)
        self.intercept_ = np.log(counts[1:] / counts[0]) - self.coef_ @ means.mean(axis=0)
        return self


class L2Ridge(TwoClasses):
    """Least squares on targets of -1 and 1 with a penalty of |w|^2 / C: scikit-learn's
    `RidgeClassifier(alpha=1 / C)`, in double precision.

    Args:
        C: inverse strength of the penalty.

    Attributes:
        coef_: (1, width).
        intercept_: (1,).
    """

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> L2Ridge:
        """Fit to (example, width) vectors, (example,) classes and, if given, (example,) weights."""
        from sklearn.linear_model import RidgeClassifier

        model = RidgeClassifier(alpha=1 / self._positive("C"))
        X, index = self._read(X, y)
        weights = self._read_weights(sample_weight, X, index)
        with warnings.catch_warnings():  # a ridge below rounding: the shortest solution instead
            warnings.filterwarnings("ignore", "Singular matrix")
            model.fit(X.astype(np.float64), index, weights)
        # versions differ in whether two classes have one row or none
        self.coef_ = np.atleast_2d(model.coef_)
        self.intercept_ = np.atleast_1d(model.intercept_)
        return self


class HiddenLayer(TwoClasses):
    """One hidden layer of rectified units, scikit-learn's `MLPClassifier` by L-BFGS in single
    precision with a fixed seed.

    Stopped after a fixed number of steps, which is part of the model: the loss is not convex, and
    no examples need be kept back, of which twins might stay. Decisions are log odds, which unlike
    probabilities have no ties at 0 and 1.

    Args:
        C: inverse strength of the L2 penalty, scikit-learn's `alpha=1 / C`.
        units: width of the hidden layer.
        steps: L-BFGS steps.
        seed: of the first weights.

    Attributes:
        layers_: pairs of weights (in, out) and bias (out,).
        n_iter_: steps made.
    """

    def __init__(self, C: float = 0.1, units: int = 64, steps: int = 50, seed: int = 0) -> None:
        self.C = C
        self.units = units
        self.steps = steps
        self.seed = seed

    def fit(self, X: Any, y: Any) -> HiddenLayer:
        """Fit to (example, width) vectors and (example,) classes."""
        from sklearn.neural_network import MLPClassifier

        alpha = 1 / self._positive("C")
        X, index = self._read(X, y)
        model = MLPClassifier(
            (self.units,), solver="lbfgs", alpha=alpha, max_iter=self.steps, random_state=self.seed
        )
        _quietly(model, X.astype(np.float32), index)
        self.layers_, self.n_iter_ = (
            list(zip(model.coefs_, model.intercepts_, strict=True)),
            model.n_iter_,
        )
        return self

    def decision_function(self, X: Any) -> AnyFloats:
        """(example,) log odds, positive for `classes_[1]`."""
        check_is_fitted(self)
        return hidden(validate_data(self, X, dtype=FLOATS, reset=False), self.layers_)


def _quietly(model: Any, X: AnyFloats, index: NDArray[np.int64], **fit: Any) -> bool:
    """Fit; whether it converged, in place of the library's warning that it did not."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, index, **fit)
    for warning in caught:
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _solve(gram: AnyFloats, ridge: float, right: AnyFloats) -> AnyFloats:
    """(gram + ridge I)^-1 right for a positive semi-definite Gram matrix."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    matrix = gram.astype(np.float64) + ridge * np.eye(len(gram))
    try:
        return np.asarray(cho_solve(cho_factor(matrix), right))
    except LinAlgError:  # a ridge below rounding: the shortest solution instead
        return np.asarray(np.linalg.lstsq(matrix, right, rcond=None)[0])


def _ledoit_wolf(Z: AnyFloats, gram: AnyFloats) -> float:
    """Ledoit and Wolf's shrinkage of Z'Z / n from (example, width) centred Z and either of its Gram
    matrices.

    Follows `sklearn.covariance.ledoit_wolf_shrinkage`; |Z'Z|_F = |ZZ'|_F, and the sum of the
    squares' outer products is the sum over examples of |z|^4.
    """
    n, width = Z.shape
    variance = np.trace(gram) / n / width
    squared = float((gram**2).sum()) / n**2
    distance = squared - width * variance**2
    noise = (float(((Z**2).sum(axis=1) ** 2).sum()) / n - squared) / n
    return float(min(noise, distance) / distance) if distance > 0 and noise > 0 else 0.0
