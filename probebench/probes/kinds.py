"""Probes: scikit-learn classifiers of one cell.

To add one, write a function of an inverse L2 strength and the vectors' width that returns an
estimator, and register it. An estimator from elsewhere needs no registration:
`package.module:factory` names it.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from probebench.errors import UnknownNameError, UsageError
from probebench.probes.estimators import HiddenLayer, L2Logistic, L2Ridge, MassMean, ShrunkLDA
from probebench.probes.parts import OneScale

C_GRID: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse L2 strengths tried for every cell; the best validation AUROC wins, the smaller C on a
tie."""
NO_CHOICE: tuple[float, ...] = (float("nan"),)
"""The grid of a probe without a C: one fit, and the record says null."""
Factory = Callable[[float, int], Any]
LINEAR = {"alain2016understanding": "Linear probes"}
"""What every linear probe rests on."""
SOLVERS = ("batched", "sklearn")


@dataclass(frozen=True, slots=True)
class Probe:
    """A kind of classifier and the values of C to choose from."""

    name: str
    make: Factory
    """(C, width) -> unfitted estimator with `fit` and `decision_function` or `predict_proba`."""
    grid: tuple[float, ...] = C_GRID
    batched: bool = False
    """Whether `probebench.probes.logistic` gives the same fits for many labels and C at once."""
    source: str | None = None
    """SHA-256 of the module that a factory from elsewhere stands in; None for the suite's own."""
    cites: Mapping[str, str] = field(default_factory=dict)
    """Papers that it rests on, by their key in `report/methods.bib`, and what for."""


PROBES: dict[str, Probe] = {}


def probe(
    grid: tuple[float, ...] = C_GRID, batched: bool = False, cites: Mapping[str, str] | None = None
) -> Callable[[Factory], Factory]:
    """Register a factory under its function's name."""

    def register(make: Factory) -> Factory:
        name = make.__name__.replace("_", "-")
        PROBES[name] = Probe(name, make, grid, batched, cites=cites or {})
        return make

    return register


def get_probe(name: str, solver: str = SOLVERS[0]) -> Probe:
    """A probe by its name, or by the import path `package.module:factory` of an estimator from
    elsewhere.

    Args:
        name: the probe.
        solver: `batched`, or `sklearn` for scikit-learn's own logistic regression, one fit after
            the other.

    Raises:
        UnknownNameError: no such probe or solver, or no such factory in the module.
        UsageError: the module cannot be imported, or the factory does not make a classifier.
    """
    if solver not in SOLVERS:
        raise UnknownNameError("solver", solver, SOLVERS)
    if ":" in name:
        return _imported(name)
    if name not in PROBES:
        raise UnknownNameError(
            "probe", name, PROBES, "Or name an estimator of your own: package.module:factory."
        )
    found = PROBES[name]
    if found.batched and solver == "sklearn":
        return replace(found, make=logistic_by_sklearn, batched=False)
    return found


def logistic_by_sklearn(C: float, width: int) -> Any:
    """The same as `logistic`, by scikit-learn: the reference."""
    return make_pipeline(OneScale(), L2Logistic(C, solver="sklearn"))


@probe(batched=True, cites=LINEAR)
def logistic(C: float, width: int) -> Any:
    """Centre, divide by one scale learned on train, then L2 logistic regression with an unpenalised
    intercept."""
    return make_pipeline(OneScale(), L2Logistic(C))


@probe(grid=NO_CHOICE, cites={**LINEAR, "marks2023geometry": "The mass-mean probe"})
def mass_mean(C: float, width: int) -> Any:
    """The difference of the class means (Marks and Tegmark 2024, arXiv:2310.06824)."""
    return make_pipeline(OneScale(), MassMean())


@probe(grid=NO_CHOICE, cites={**LINEAR, "ledoit2004well": "The shrunk covariance of the probe lda"})
def lda(C: float, width: int) -> Any:
    """Mass-mean with the inverse covariance within classes, shrunk after Ledoit and Wolf."""
    return make_pipeline(OneScale(), ShrunkLDA())


@probe(cites=LINEAR)
def ridge(C: float, width: int) -> Any:
    """Least squares on -1 and 1 with an L2 penalty."""
    return make_pipeline(OneScale(), L2Ridge(C))


@probe(grid=(1e-2, 1e-1, 1.0))
def mlp(C: float, width: int) -> Any:
    """One hidden layer: is there more to read than a line can?"""
    return make_pipeline(OneScale(), HiddenLayer(C))


@probe(grid=(1.0,), cites=LINEAR)
def orgad2025(C: float, width: int) -> Any:
    """scikit-learn's defaults on raw vectors, as in Orgad et al. 2025; often not converged, and the
    record says so."""
    return LogisticRegression(C=C)


@dataclass(frozen=True, slots=True)
class ImportedFactory:
    """A factory from elsewhere, called with those of C and width that it takes by name."""

    path: str
    function: Callable[..., Any]
    takes: tuple[str, ...]

    def __call__(self, C: float, width: int) -> Any:
        """An unfitted classifier.

        Raises:
            UsageError: the factory fails, or makes something else.
        """
        given = {"C": C, "width": width}
        try:
            made = self.function(**{name: given[name] for name in self.takes})
        except Exception as error:  # whatever a stranger's code raises
            raise UsageError(
                f"Probe {self.path!r}: the factory failed with {type(error).__name__}: {error}"
            ) from error
        why = _why_no_classifier(made)
        if why:
            raise UsageError(
                f"Probe {self.path!r} made {why}. It must make an unfitted scikit-learn "
                "classifier: with fit, and with decision_function or predict_proba."
            )
        return _seeded(made)


def _seeded(made: Any) -> Any:
    """The same with every open random state fixed, so that two fits of one cell are one."""
    if hasattr(made, "get_params"):
        open_ = [
            name
            for name, value in made.get_params().items()
            if name.split("__")[-1] == "random_state" and value is None
        ]
        made.set_params(**dict.fromkeys(open_, 0))
    return made


def _why_no_classifier(made: Any) -> str:
    """What an object is instead of a classifier; empty when it is one."""
    from sklearn.base import is_classifier

    if isinstance(made, type):
        return f"the class {made.__name__}, not an object of it"
    what = f"an object of type {type(made).__name__}"
    if not callable(getattr(made, "fit", None)):
        return f"{what}, which has no fit"
    if hasattr(made, "__sklearn_tags__") and not is_classifier(made):
        return f"{what}, which is a scikit-learn estimator but no classifier"
    if not (hasattr(made, "decision_function") or hasattr(made, "predict_proba")):
        return f"{what}, which has neither decision_function nor predict_proba"
    return ""


def _imported(path: str) -> Probe:
    """A probe by import path, built once here, so that a wrong one is found before a model runs."""
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"Probe {path!r} is not an import path. Write package.module:factory.")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # an import runs any code there is
        raise UsageError(
            f"Probe {path!r}: cannot import {module_name!r} ({type(error).__name__}: {error}). A "
            "module of your own must be installed, or its folder named in PYTHONPATH."
        ) from error
    try:
        function = getattr(module, attribute)
    except AttributeError:
        names = [name for name in dir(module) if not name.startswith("_")]
        raise UnknownNameError(f"probe factory in {module_name}", attribute, names) from None
    if not callable(function):
        raise UsageError(
            f"Probe {path!r} is of type {type(function).__name__}, not something to call. Name a "
            "class or a function."
        )
    takes = tuple(name for name in ("C", "width") if name in _parameters(function))
    make = ImportedFactory(path, function, takes)
    grid = C_GRID if "C" in takes else NO_CHOICE
    make(grid[0], 1)
    file = getattr(module, "__file__", None)
    return Probe(
        path,
        make,
        grid,
        source=hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None,
    )


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some built-in callables do not say
        return ()


class LinearMap(NamedTuple):
    """A fitted probe as one affine map on raw vectors: decision = x . weight + bias."""

    weight: NDArray[np.float64]
    """(width,)."""
    bias: float


def linear_map(fitted: Any) -> LinearMap | None:
    """Fold scalers and a linear classifier into one affine map on raw vectors; None when the probe
    is not affine.

    Folds any `Pipeline` of centring and scaling steps before a classifier with `coef_` and
    `intercept_`. The map is compared with the probe's own decisions, so a step that does something
    else with its numbers is not taken for affine.
    """
    steps = (
        [step for _, step in fitted.steps if step not in (None, "passthrough")]
        if isinstance(fitted, Pipeline)
        else [fitted]
    )
    coef, intercept = (getattr(steps[-1], name, None) for name in ("coef_", "intercept_"))
    width = getattr(fitted, "n_features_in_", None)
    if coef is None or intercept is None or np.size(coef) != width or np.size(intercept) != 1:
        return None
    if not hasattr(fitted, "decision_function"):  # probabilities are no affine map
        return None
    weight, bias = np.asarray(coef, dtype=np.float64).ravel(), float(np.ravel(intercept)[0])
    centre, spread = np.zeros(width), np.ones(width)
    for scaler in reversed(steps[:-1]):
        mean = getattr(scaler, "mean_", None) if getattr(scaler, "with_mean", True) else None
        spread = np.ones(width) * _or(getattr(scaler, "scale_", None), 1.0)
        centre = np.zeros(width) + _or(mean, 0.0)
        weight = weight / spread
        bias -= float(weight @ centre)
    # vectors such as the first step was fitted to
    X = centre + spread * np.random.default_rng(0).normal(size=(8, width))
    decisions = np.asarray(fitted.decision_function(X))
    near = 1e-6 * (1 + np.abs(decisions).max())
    return (
        LinearMap(weight, bias)
        if np.allclose(X @ weight + bias, decisions, rtol=0, atol=near)
        else None
    )


def _or(value: Any, otherwise: float) -> Any:
    return otherwise if value is None else np.asarray(value, dtype=np.float64)
