"""SAPLMA (Azaria and Mitchell 2023) and the classifier of MIND (Su et al. 2024): small networks on
the last token of the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from probebench.detectors.registry import Description, Method, Scores, Timed, detector
from probebench.detectors.stored.network import Recipe, epochs, last_epoch
from probebench.detectors.stored.vectors import Vectors, best, last_token
from probebench.types import Floats

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

SHAPE = (256, 128, 64)
SAPLMA = Recipe(hidden=SHAPE, epochs=5, batch=32, rate=1e-3)
"""The batches and the rate are those of the library that the paper trained with."""
DEPTHS = (16, 20, 24, 28, 32)
"""Layers that the paper reads, of 32."""
MIND = Recipe(hidden=SHAPE, epochs=20, batch=32, rate=5e-4, decay=1e-5, dropout=0.2, balanced=True)


def saplma_seconds(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """Of training on each layer."""
    return SAPLMA.seconds(plan, len(DEPTHS))


def mind_seconds(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """Of training once."""
    return MIND.seconds(plan, 1)


@detector(
    Description(
        name="saplma",
        of_answers="SAPLMA",
        of_statements="SAPLMA",
        kind="method",
        when="after",
        needs=frozenset({"states", "train labels"}),
        asked="saplma",
        source="azaria2023internal",
        method=Method(
            access="states",
            supervision="labels",
            passes="none",
            changed="vectors scaled by one number; the layer (of the five depths that the paper "
            "reads) by validation",
        ),
    ),
    price=saplma_seconds,
)
def saplma(data: RunData, runner: Runner) -> Iterator[Scores]:
    """A network of 256, 128 and 64 on the last token, in five depths; the best on validation."""
    vectors, plan = last_token(data), data.plan
    layers = nearest(vectors.layers, plan.handle.identity.n_layers)
    train = vectors.rows["train"]

    def fit(layer: int) -> Floats:
        X = vectors.layer(layer)
        return last_epoch(X, vectors.y[train], train, SAPLMA, plan.seed, plan.fitting.device)

    found = best(vectors, (((layer,), fit(layer)) for layer in layers))
    detail = {"layer": found.value[0], "validation_auroc": found.validation_auroc}
    yield Scores("saplma", vectors.spread(found.decisions), detail)


def nearest(layers: Sequence[int], n_layers: int) -> list[int]:
    """The layers that were read next to the paper's depths, rising, each once."""
    wanted = [depth / 32 * n_layers - 1 for depth in DEPTHS]
    return sorted({min(layers, key=lambda k: (abs(k - w), k)) for w in wanted})


@detector(
    Description(
        name="mind_classifier",
        of_answers="MIND, classifier",
        of_statements="MIND, classifier",
        kind="method",
        when="after",
        needs=frozenset({"states", "train labels"}),
        asked="mind",
        source="su2024unsupervised",
        method=Method(
            access="states",
            supervision="labels",
            passes="none",
            changed="trained on the labels of train, where the paper makes labels by letting the "
            "model continue Wikipedia; vectors scaled by one number; the epoch by AUROC",
        ),
    ),
    price=mind_seconds,
)
def mind(data: RunData, runner: Runner) -> Iterator[Scores]:
    """The network of MIND on the last token of the last layer."""
    vectors, plan = last_token(data), data.plan
    last = plan.handle.identity.n_layers - 1
    decisions, detail = by_epoch(vectors, last, MIND, plan)
    yield Scores("mind_classifier", decisions, detail)


def by_epoch(
    vectors: Vectors, layer: int, recipe: Recipe, plan: Plan
) -> tuple[Floats, dict[str, float]]:
    """A network on one layer, its epoch chosen on validation: (example,) logits, and what was
    chosen."""
    train = vectors.rows["train"]
    fits = epochs(
        vectors.layer(layer), vectors.y[train], train, recipe, plan.seed, plan.fitting.device
    )
    found = best(vectors, (((k,), decide()) for k, decide in enumerate(fits, 1)))
    detail = {"layer": layer, "epoch": found.value[0], "validation_auroc": found.validation_auroc}
    return vectors.spread(found.decisions), detail
