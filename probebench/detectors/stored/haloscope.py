"""HaloScope (Du et al. 2024): a network trained on labels that the largest directions of unlabelled
answers give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from probebench.detectors.registry import Description, Method, Scores, Timed, detector
from probebench.detectors.stored.network import Recipe, last_epoch
from probebench.detectors.stored.vectors import Chosen, Vectors, best, last_token
from probebench.types import Float32s, Floats

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

COMPONENTS = 10
"""Most directions that are summed over."""
QUANTILES = tuple(k / 10 for k in range(1, 10))
"""Parts of train that may be taken for wrong."""
RECIPE = Recipe(hidden=(1024,), epochs=50, batch=512, rate=0.05, momentum=0.9, decay=3e-4)


def seconds(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """Of training at each threshold."""
    return RECIPE.seconds(plan, len(QUANTILES))


@detector(
    Description(
        name="haloscope",
        of_answers="HaloScope",
        of_statements="HaloScope",
        kind="method",
        when="after",
        needs=frozenset({"states", "train labels"}),
        asked="haloscope",
        source="du2024haloscope",
        method=Method(
            access="states",
            supervision="sign",
            passes="none",
            changed="which side of the score is wrong by train; thresholds at tenths, the network "
            "on the score's layer only; vectors scaled by one number",
        ),
    ),
    price=seconds,
)
def haloscope(data: RunData, runner: Runner) -> Iterator[Scores]:
    """The score's layer and number of directions, then its threshold, are chosen on validation; the
    network learns to tell what lies on either side."""
    vectors, plan = last_token(data), data.plan
    score = best_score(vectors)
    layer, k = score.value
    X, train = vectors.layer(layer), vectors.rows["train"]
    own = score.decisions[train]

    def fit(part: float) -> Floats:
        above = own > np.quantile(own, part)
        return last_epoch(X, above.astype(int), train, RECIPE, plan.seed, plan.fitting.device)

    found = best(vectors, (((i,), fit(part)) for i, part in enumerate(QUANTILES)))
    detail = {
        "layer": layer,
        "components": k,
        "taken_for_wrong": QUANTILES[found.value[0]],
        "score_validation_auroc": score.validation_auroc,
        "validation_auroc": found.validation_auroc,
    }
    yield Scores("haloscope", vectors.spread(found.decisions), detail)


def best_score(vectors: Vectors) -> Chosen:
    """The membership score, signed by train, of the layer and number of directions that validation
    chooses; its value is both."""
    train = vectors.rows["train"]
    return best(
        vectors,
        (
            ((layer, k), vectors.signed(-score))
            for layer in vectors.layers
            for k, score in enumerate(membership(vectors.layer(layer), train), 1)
        ),
    )


def membership(X: Float32s, train: np.ndarray) -> Floats:
    """(k, example) mean over the k largest directions of centred train of the singular value times
    the squared projection."""
    from scipy.sparse.linalg import svds

    centred = (X - X[train].mean(axis=0, dtype=np.float64)).astype(np.float64)
    most = min(COMPONENTS, *(n - 1 for n in (len(train), X.shape[1])))
    start = np.random.default_rng(0).standard_normal(min(len(train), X.shape[1]))
    _, sizes, directions = svds(centred[train], k=most, v0=start)
    order = np.argsort(-sizes)
    each = sizes[order] * (centred @ directions[order].T) ** 2
    return np.asarray((each.cumsum(axis=1) / np.arange(1, most + 1)).T)
