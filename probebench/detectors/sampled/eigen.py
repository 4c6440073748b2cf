"""EigenScore (Chen et al. 2024, INSIDE): how far the drawn answers lie apart inside the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from probebench.detectors.registry import Scores, Timed, detector
from probebench.detectors.sampled.likelihood import drawn, drawn_row
from probebench.detectors.signals import words as own_tokens
from probebench.detectors.stored.asked import last_states
from probebench.detectors.stored.vectors import LAST
from probebench.types import AnyFloats

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

ALPHA = 0.001
"""Added to the diagonal, as published."""


def seconds(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """A pass over each drawn answer."""
    n = 0 if plan.beside.drawing is None else plan.beside.drawing.n
    return n * timed.passing(lengths)


@detector(
    drawn_row(
        "eigenscore",
        "EigenScore (lower)",
        "chen2024inside",
        asked="eigenscore",
        access="states",
        needs=frozenset({"states"}),
        passes="the samples, 1 pass over each",
        changed="without clipping features, which changes what is generated",
        relations=False,
    ),
    price=seconds,
)
def eigenscore(data: RunData, runner: Runner) -> Iterator[Scores]:
    """Minus the mean logarithm of the eigenvalues of the covariance of the drawn answers' last
    tokens, in the middle block."""
    samples = drawn(data).answers
    layer = data.plan.handle.identity.n_layers // 2
    ids = [
        a.answer.prompt_ids + a.answer.answer_ids[own_tokens(a)] for some in samples for a in some
    ]
    reader = last_states(data.plan, runner, ids, (layer,))
    X, n = reader.cell(layer, LAST), len(samples[0])
    found = [score(X[i : i + n]) for i in range(0, len(X), n)]
    yield Scores("eigenscore", -np.array(found), {"layer": layer})


def score(X: AnyFloats) -> float:
    """Mean logarithm of the eigenvalues of (sample, width) vectors' covariance over width."""
    covariance = np.cov(np.asarray(X, dtype=np.float64)) + ALPHA * np.eye(len(X))
    return float(np.mean(np.log(np.linalg.eigvalsh(covariance))))
