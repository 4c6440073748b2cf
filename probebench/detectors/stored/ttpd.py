"""TTPD (Bürger et al. 2024): the direction of truth that affirmed and negated statements share, and
the one that tells these apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.registry import Description, Method, Missing, Scores, detector
from probebench.detectors.stored.vectors import Vectors, best, last_token
from probebench.tasks.examples import POLARITY
from probebench.types import Float32s, Floats

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.stage import Runner

AFFIRMED, NEGATED = ("affirmative", "1", "1.0", "true"), ("negated", "-1", "-1.0", "false", "0")
LOOSE = 1e6
"""Inverse strength of the last regression's penalty: next to none, so that it ends where classes
are apart."""


def _method(changed: str) -> Method:
    return Method(access="states", supervision="labels", passes="none", changed=changed)


@detector(
    Description(
        name="ttpd",
        of_answers="TTPD",
        of_statements="TTPD",
        kind="method",
        when="after",
        needs=frozenset({"states", "train labels"}),
        asked="ttpd",
        source="burger2024truth",
        method=_method(
            "centred over all of train, not by topic; regressions with a penalty, that of polarity "
            "at C = 1; the layer by validation"
        ),
    ),
    Description(
        name="ttpd_general",
        of_answers="TTPD, t_G alone",
        of_statements="TTPD, t_G alone",
        kind="method",
        when="after",
        needs=frozenset({"states", "train labels"}),
        asked="ttpd",
        source="burger2024truth",
        method=_method(
            "the form of the published code without polarity; centred over all of train; the layer "
            "by validation"
        ),
    ),
)
def ttpd(data: RunData, runner: Runner) -> Iterator[Scores | Missing]:
    """Both directions where statements have a polarity; the general one alone of anything."""
    vectors = last_token(data)
    train, y = vectors.rows["train"], vectors.y
    truth = np.where(y == 1, 1.0, -1.0)
    polarity = polarities(data)[vectors.places]
    for name in ("ttpd", "ttpd_general"):
        known = polarity if name == "ttpd" else None
        if known is not None and not {-1.0, 1.0} <= set(known[train]) <= {-1.0, 1.0}:
            reason = "needs affirmed and negated statements, told apart by a column 'polarity'"
            yield Missing(name, reason)
            continue
        fits = (((k,), decided(vectors.layer(k), truth, known, train)) for k in vectors.layers)
        yield _scores(name, vectors, fits)


def _scores(name: str, vectors: Vectors, fits: Iterator[tuple[tuple[int], Floats]]) -> Scores:
    found = best(vectors, fits)
    detail = {"layer": found.value[0], "validation_auroc": found.validation_auroc}
    return Scores(name, vectors.spread(found.decisions), detail)


def polarities(data: RunData) -> Floats:
    """(example,) 1 for a statement that affirms, -1 for one that negates, NaN where nothing says
    so."""
    return np.array([_polarity(a.example.fields.get(POLARITY)) for a in data.answers])


def _polarity(value: Any) -> float:
    word = str(value).strip().lower()
    return 1.0 if word in AFFIRMED else -1.0 if word in NEGATED else float("nan")


def decided(
    X: Float32s, truth: Floats, polarity: Floats | None, train: NDArray[np.int64]
) -> Floats:
    """(example,) logits of truth: a regression on the projections to the direction of truth and,
    where it is known, to that of polarity.

    Args:
        X: (example, width).
        truth: (example,) 1 or -1.
        polarity: (example,) 1 or -1; None: unknown.
        train: examples that all is fitted to.
    """
    from sklearn.linear_model import LogisticRegression

    from probebench.probes.estimators import L2Logistic
    from probebench.probes.parts import OneScale

    scaled = OneScale().fit(X[train]).transform(X)
    axes = [general(scaled[train], truth[train], None if polarity is None else polarity[train])]
    if polarity is not None:
        axes.append(L2Logistic(C=1.0).fit(scaled[train], polarity[train]).coef_[0])
    seen = scaled @ np.stack([axis / np.linalg.norm(axis) for axis in axes], axis=1)
    fit = LogisticRegression(C=LOOSE, max_iter=1000).fit(seen[train], truth[train])
    return np.asarray(fit.decision_function(seen), dtype=np.float64)


def general(X: Floats, truth: Floats, polarity: Floats | None) -> Floats:
    """(width,) direction of truth: least squares of centred vectors on truth, and on truth times
    polarity where it is known."""
    columns = [truth] if polarity is None else [truth, truth * polarity]
    found, *_ = np.linalg.lstsq(np.stack(columns, axis=1), X - X.mean(axis=0), rcond=None)
    return np.asarray(found[0])
