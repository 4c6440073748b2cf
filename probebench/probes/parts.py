"""What our estimators are made of: the arithmetic of a decision, one scale, two classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from probebench.types import AnyFloats

FLOATS = [np.float64, np.float32]  # what vectors may be; anything else becomes the first


def scaled(X: AnyFloats, centre: AnyFloats, scale: float) -> AnyFloats:
    """(example, width) vectors, centred and divided by one number."""
    return np.asarray((X - centre) / scale)


def affine(X: AnyFloats, coef: AnyFloats, intercept: AnyFloats) -> AnyFloats:
    """(example,) decisions of weights (1, width) and an intercept (1,)."""
    return np.asarray(X @ coef.T + intercept).ravel()


def hidden(X: AnyFloats, layers: list[tuple[AnyFloats, AnyFloats]]) -> AnyFloats:
    """(example,) decisions through layers of (weights (in, out), bias (out,)), rectified between
    them."""
    for weights, bias in layers[:-1]:
        X = np.maximum(X @ weights + bias, 0)
    weights, bias = layers[-1]
    return np.asarray(X @ weights + bias).ravel()


class OneScale(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Centre each feature, then divide all of them by one number: the root mean square of the
    centred training vectors.

    Unlike a scale per feature this keeps angles and lengths, so a probe does not depend on the
    basis that the model happens to write its vectors in. DECISIONS.md has the evidence.
    """

    def fit(self, X: Any, y: Any = None) -> OneScale:
        """Learn centre and scale from (example, width) training vectors."""
        X = validate_data(self, X, dtype=FLOATS)
        self.mean_ = X.mean(axis=0, dtype=np.float64)
        rms = float(np.sqrt(np.mean((X - self.mean_) ** 2, dtype=np.float64)))
        self.scale_ = rms if rms > 0 else 1.0
        return self

    def transform(self, X: Any) -> Any:
        """(example, width) vectors, centred and scaled, in float64."""
        check_is_fitted(self)
        return scaled(validate_data(self, X, dtype=FLOATS, reset=False), self.mean_, self.scale_)


class TwoClasses(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What our classifiers share: targets of two classes, and predictions by the sign of the
    decision."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _read(self, X: Any, y: Any) -> tuple[AnyFloats, NDArray[np.int64]]:
        """Checked (example, width) vectors and (example,) targets: 1 for the second class in order,
        0 for the first."""
        X, y = validate_data(self, X, y, dtype=FLOATS)
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind != "binary":
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {kind}."
            )
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs two classes; y holds one class only, "
                f"{self.classes_[0]!r}."
            )
        return X, index

    def _read_weights(
        self, sample_weight: Any, X: AnyFloats, index: NDArray[np.int64]
    ) -> AnyFloats:
        """Checked (example,) weights, none negative, some of each class above zero."""
        weights = np.asarray(
            _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        )
        for k in (0, 1):
            if not weights[index == k].any():
                raise ValueError(
                    f"{type(self).__name__} needs two classes; sample_weight leaves class "
                    f"{self.classes_[k]!r} out."
                )
        return weights

    def _positive(self, name: str) -> float:
        value = getattr(self, name)
        if not value > 0:
            raise ValueError(
                f"The {name!r} parameter of {type(self).__name__} must be above 0. Got {value!r} "
                "instead."
            )
        return float(value)

    def decision_function(self, X: Any) -> AnyFloats:
        """(example,) decisions, positive for `classes_[1]`."""
        check_is_fitted(self)
        return affine(
            validate_data(self, X, dtype=FLOATS, reset=False), self.coef_, self.intercept_
        )

    def predict(self, X: Any) -> Any:
        """(example,) the class on whose side the decision falls."""
        decisions = self.decision_function(X)  # first: it complains when nothing was fitted
        return self.classes_[(decisions > 0).astype(int)]
