"""Semantic entropy (Kuhn et al. 2023; Farquhar et al. 2024): how many things the drawn answers say,
and how the model's probability lies over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.registry import Missing, Scores, Timed, detector
from probebench.detectors.sampled.clusters import (
    by_judge,
    by_similarity,
    discrete_entropy,
    said_of,
    semantic_entropy,
)
from probebench.detectors.sampled.encoded import similarities
from probebench.detectors.sampled.likelihood import drawn, drawn_row, mean_logprob
from probebench.probes.choose import choose
from probebench.probes.labels import split_index
from probebench.types import Floats, LabelledAnswer

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

Found = Sequence[NDArray[np.int64]]
"""(example,) clusters of its drawn answers."""
LEAST = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Similarities from which on two answers may be taken for one."""
ASKED = "semantic-entropy"
PAPER = "farquhar2024detecting"


def entropies(data: RunData, found: Found) -> tuple[Floats, Floats]:
    """(example,) minus semantic entropy, and minus its discrete form, over the answers that say
    something; NaN where none does."""
    both = [entropies_of(*one) for one in zip(found, drawn(data).answers, strict=True)]
    whole, discrete = np.array(both).T
    return -whole, -discrete


def entropies_of(own: NDArray[np.int64], some: Sequence[LabelledAnswer]) -> tuple[float, float]:
    """Semantic entropy of one example's drawn answers, and its discrete form, over those that say
    something; NaN where none does.

    Args:
        own: (sample,) clusters.
        some: the answers.
    """
    values = np.array([mean_logprob(a) for a in some])
    there = np.isfinite(values)
    return semantic_entropy(own[there], values[there]), discrete_entropy(own[there])


def judged_clusters(data: RunData) -> list[NDArray[np.int64]]:
    """(example,) clusters by the judge's equality."""
    return [
        by_judge(data.plan.judge, a.example, some)
        for a, some in zip(data.answers, drawn(data).answers, strict=True)
    ]


@detector(
    drawn_row(
        "semantic_entropy",
        "semantic entropy, by judge (lower)",
        PAPER,
        asked=ASKED,
        access="logits",
        changed="clusters by the equality of the task's judge instead of an inference model",
    ),
    drawn_row(
        "semantic_entropy_discrete",
        "semantic entropy, by judge, discrete (lower)",
        PAPER,
        asked=ASKED,
        changed="clusters by the equality of the task's judge instead of an inference model",
    ),
)
def by_the_judge(data: RunData, runner: Runner) -> Iterator[Scores]:
    """Clusters by what the judge takes for one answer."""
    found = judged_clusters(data)
    whole, discrete = entropies(data, found)
    yield Scores("semantic_entropy", whole, _detail(found))
    yield Scores("semantic_entropy_discrete", discrete, _detail(found))


def encoding(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """Next to nothing beside generating: an encoder's pass over each drawn answer, by the model's
    own passes at most."""
    n = plan.beside.n_drawn
    return n * timed.passing([min(length, 64) for length in lengths])


@detector(
    drawn_row(
        "semantic_entropy_encoder",
        "semantic entropy, by encoder (lower)",
        PAPER,
        asked=ASKED,
        access="logits",
        needs=frozenset({"encoder"}),
        passes="the samples, 1 pass of the encoder over each",
        changed="clusters by the cosine of an encoder's vectors, from a similarity on that "
        "validation chooses",
        supervision="sign",
    ),
    drawn_row(
        "semantic_entropy_encoder_discrete",
        "semantic entropy, by encoder, discrete (lower)",
        PAPER,
        asked=ASKED,
        needs=frozenset({"encoder"}),
        passes="the samples, 1 pass of the encoder over each",
        changed="clusters by the cosine of an encoder's vectors, from a similarity on that "
        "validation chooses",
        supervision="sign",
    ),
    price=encoding,
)
def by_an_encoder(data: RunData, runner: Runner) -> Iterator[Scores | Missing]:
    """Clusters of answers whose vectors are alike."""
    texts = [[said_of(a) for a in some] for some in drawn(data).answers]
    alike = similarities(data, runner, texts)
    tried = {least: [by_similarity(own, least) for own in alike] for least in LEAST}
    values = {least: entropies(data, found) for least, found in tried.items()}
    held = split_index(data.labels.splits)["validation"]
    y = data.labels.y[held]
    for k, name in enumerate(("semantic_entropy_encoder", "semantic_entropy_encoder_discrete")):
        tries = [values[least][k][held] for least in LEAST]
        choice = choose(y, tries, np.flatnonzero(np.isfinite(tries[0])))
        if choice is None:
            yield Missing(name, "validation holds no two classes of answers that say something")
            continue
        least = LEAST[choice.at]
        detail = {"least_similarity": least, **_detail(tried[least])}
        yield Scores(name, values[least][k], detail)


def _detail(found: Found) -> dict[str, float]:
    return {"mean_clusters": float(np.mean([own.max() + 1 for own in found]))}
