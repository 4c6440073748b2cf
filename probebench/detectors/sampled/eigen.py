"""EigenScore (Chen et al. 2024, INSIDE): how far the drawn answers lie apart inside the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from probebench.detectors.registry import Scores, Timed, detector
from probebench.detectors.sampled.likelihood import drawn, drawn_row, held_rows
from probebench.detectors.signals import words as own_tokens
from probebench.detectors.stored.asked import last_states
from probebench.detectors.stored.vectors import LAST, vectors_size
from probebench.types import AnyFloats

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

ALPHA = 0.001
"""Added to the diagonal, as published."""


def seconds(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """A pass over each drawn answer of validation and test."""
    n = plan.beside.n_drawn
    held = [x for x, split in zip(lengths, plan.splits, strict=True) if split != "train"]
    return n * timed.passing(held)


def stored(plan: Plan) -> int:
    """A vector of each drawn answer of validation and test."""
    n = plan.beside.n_drawn
    return vectors_size(plan, n * sum(split != "train" for split in plan.splits), 1)


@detector(
    drawn_row(
        "eigenscore",
        "EigenScore (lower)",
        "chen2024inside",
        asked="eigenscore",
        access="states",
        needs=frozenset({"states"}),
        passes="the samples, 1 pass over each",
        changed="without clipping features, which changes what is generated; the covariance of the "
        "published code, over the width; validation and test only",
        relations=False,
    ),
    price=seconds,
    disk=stored,
)
def eigenscore(data: RunData, runner: Runner) -> Iterator[Scores]:
    """Minus the mean logarithm of the eigenvalues of the covariance of the drawn answers' last
    tokens, in the middle layer."""
    samples, held = drawn(data), held_rows(data.labels)
    layer = middle(data.plan.handle.identity.n_layers)
    ids = [
        a.answer.prompt_ids + a.answer.answer_ids[own_tokens(a)]
        for i in held
        for a in samples.answers[i]
    ]
    X = last_states(data.plan, runner, ids, (layer,)).cell(layer, LAST)
    decisions = np.full(len(data.answers), np.nan)
    for k, i in enumerate(held):
        decisions[i] = -score(X[k * samples.n : (k + 1) * samples.n])
    yield Scores("eigenscore", decisions, {"layer": layer})


def middle(n_layers: int) -> int:
    """The block whose output is entry L/2 of all hidden states, that of the embedding being entry
    0: the one that is published."""
    return max(n_layers // 2 - 1, 0)


def score(X: AnyFloats) -> float:
    """Mean logarithm of the eigenvalues of (sample, width) vectors' covariance over width."""
    covariance = np.cov(np.asarray(X, dtype=np.float64)) + ALPHA * np.eye(len(X))
    return float(np.mean(np.log(np.linalg.eigvalsh(covariance))))
