"""Probes: scikit-learn classifiers of one cell.

To add one, write a function of an inverse L2 strength and the vectors' width that returns an estimator, and register it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted, validate_data

from probebench.errors import UnknownNameError

C_GRID: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse L2 strengths tried for every cell; the best validation AUROC wins, the smaller C on a tie."""
MAX_ITER, TOL = 2000, 1e-6
WIDE = 1024
"""Above this width a Newton step costs more than it saves."""
Factory = Callable[[float, int], Any]


@dataclass(frozen=True, slots=True)
class Probe:
    """A kind of classifier and the values of C to choose from."""

    name: str
    make: Factory
    """(C, width) -> unfitted estimator with `fit` and `decision_function`."""
    grid: tuple[float, ...] = C_GRID


PROBES: dict[str, Probe] = {}


def probe(grid: tuple[float, ...] = C_GRID) -> Callable[[Factory], Factory]:
    """Register a factory under its function's name."""

    def register(make: Factory) -> Factory:
        name = make.__name__.replace("_", "-")
        PROBES[name] = Probe(name, make, grid)
        return make

    return register


def get_probe(name: str) -> Probe:
    """A probe by name.

    Raises:
        UnknownNameError: no such probe.
    """
    if name not in PROBES:
        raise UnknownNameError("probe", name, PROBES)
    return PROBES[name]


class OneScale(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Centre each feature, then divide all of them by one number: the root mean square of the centred training vectors.

    Unlike a scale per feature this keeps angles and lengths, so a probe does not depend on the basis that the model
    happens to write its vectors in. DECISIONS.md has the evidence.
    """

    def fit(self, X: Any, y: Any = None) -> OneScale:
        """Learn centre and scale from (example, width) training vectors."""
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        self.mean_ = X.mean(axis=0, dtype=np.float64)
        rms = float(np.sqrt(np.mean((X - self.mean_) ** 2, dtype=np.float64)))
        self.scale_ = rms if rms > 0 else 1.0
        return self

    def transform(self, X: Any) -> Any:
        """(example, width) vectors, centred and scaled, in float64."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return (X - self.mean_) / self.scale_


@probe()
def logistic(C: float, width: int) -> Any:
    """Centre, divide by one scale learned on train, then L2 logistic regression with an unpenalised intercept.

    The objective is scikit-learn's, C times the summed log loss plus half the squared weights. Up to `WIDE` features it
    is solved by Newton steps with a Cholesky factor, a handful of iterations where lbfgs needs hundreds; above by lbfgs.
    """
    solver = "newton-cholesky" if width <= WIDE else "lbfgs"
    return make_pipeline(OneScale(), LogisticRegression(C=C, solver=solver, tol=TOL, max_iter=MAX_ITER))


@probe(grid=(1.0,))
def orgad2025(C: float, width: int) -> Any:
    """scikit-learn's defaults on raw vectors, as in Orgad et al. 2025; often not converged, and the record says so."""
    return LogisticRegression(C=C)
