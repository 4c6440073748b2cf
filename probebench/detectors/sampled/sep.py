"""Semantic-entropy probes (Kossen et al. 2024): probes of whether the drawn answers would differ,
read from one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.registry import Missing, Scores, detector
from probebench.detectors.sampled.likelihood import drawn_row
from probebench.detectors.sampled.meaning import entropies, judged_clusters
from probebench.detectors.stored.vectors import Vectors, last_token, of_some, one_position
from probebench.errors import RunError
from probebench.metrics.auroc import auroc
from probebench.probes.estimators import L2Logistic
from probebench.probes.parts import OneScale
from probebench.types import Floats, When

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.stage import Runner

BEFORE = "last_q"
CHANGED = (
    "clusters by the judge; one layer, by how well it tells high from low entropy on validation"
)
PAPER = "kossen2024semantic"


@detector(
    drawn_row(
        "sep_before",
        "semantic-entropy probe, before answering",
        PAPER,
        asked="sep",
        access="states",
        needs=frozenset({"states"}),
        passes="the samples, to train it",
        changed=CHANGED,
        relations=False,
    ),
    drawn_row(
        "sep_after",
        "semantic-entropy probe, last answer token",
        PAPER,
        asked="sep",
        access="states",
        needs=frozenset({"states"}),
        passes="the samples, to train it",
        changed=CHANGED,
        relations=False,
    ),
)
def semantic_entropy_probes(data: RunData, runner: Runner) -> Iterator[Scores | Missing]:
    """Minus the logit of high semantic entropy, at the token before the answer and at its last."""
    entropy = -entropies(data, judged_clusters(data))[0]
    yield _probe("sep_before", "before", lambda: one_position(data, BEFORE), entropy)
    yield _probe("sep_after", "after", lambda: last_token(data), entropy)


def _probe(name: str, when: When, read: Callable[[], Vectors], entropy: Floats) -> Scores | Missing:
    """One of the two; a place that was not read leaves the other alone."""
    try:
        vectors = _known(read(), entropy)
    except RunError as error:
        return Missing(name, str(error))
    own, train = entropy[vectors.places], vectors.rows["train"]
    cut = best_cut(own[train])
    high = (own > cut).astype(np.int64)
    if len(set(high[train])) < 2:
        return Missing(name, "all answers of train have the same semantic entropy")
    found = best_layer(vectors, high)
    detail = {"layer": found.layer, "auroc_of_entropy": found.validation_auroc, "cut_nats": cut}
    return Scores(name, vectors.spread(found.decisions), detail, when)


def _known(vectors: Vectors, entropy: Floats) -> Vectors:
    """Those of questions whose entropy is known: some drawn answer says something."""
    there = np.zeros(len(entropy), dtype=bool)
    there[vectors.places] = True
    return of_some(vectors.layers, there & np.isfinite(entropy), vectors.labels, vectors.read)


def best_cut(entropy: Floats) -> float:
    """Where a number splits values into two groups with the least squares inside them (Kossen et
    al. 2024); values above it are high."""
    values = np.unique(entropy[np.isfinite(entropy)])
    if len(values) < 2:
        return float("inf")
    cuts = (values[:-1] + values[1:]) / 2
    there = entropy[np.isfinite(entropy)]

    def inside(cut: float) -> float:
        low, high = there[there <= cut], there[there > cut]
        return float(np.sum((low - low.mean()) ** 2) + np.sum((high - high.mean()) ** 2))

    return float(min(cuts, key=inside))


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What the best layer says."""

    layer: int
    decisions: Floats
    """(place,) minus the logit of high entropy."""
    validation_auroc: float
    """Of high against low entropy."""


def best_layer(vectors: Vectors, high: NDArray[np.int64]) -> Told:
    """The layer that tells high from low entropy best on validation; no label of right and wrong is
    looked at."""
    train, held = vectors.rows["train"], vectors.rows["validation"]
    found = []
    for layer in vectors.layers:
        X = vectors.layer(layer)
        Z = OneScale().fit(X[train]).transform(X)
        fit = L2Logistic(C=1.0).fit(Z[train], high[train])
        logits = np.asarray(fit.decision_function(Z), dtype=np.float64)
        found.append(Told(layer, -logits, auroc(high[held], logits[held])))
    return max(found, key=lambda t: t.validation_auroc if np.isfinite(t.validation_auroc) else -1.0)
