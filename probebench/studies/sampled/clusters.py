"""Which of several answers to one question are the same one.

As in the published code of Orgad et al. (2025), arXiv:2410.02707: two exact answers are the same
where one is part of the other, whatever their case. An answer joins the first one that it agrees
with; in the published code it counts for every such answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probebench.detectors.sampled.clusters import clusters as in_clusters
from probebench.tasks.examples import normalise
from probebench.types import LabelledAnswer

REFUSED = "\0refused"
"""The one answer that all refusals are."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Answers that are the same."""

    key: str
    """The first of them, normalised."""
    members: tuple[int, ...]
    """Which of the samples, the first one first."""


def said(a: LabelledAnswer, *, refused: bool) -> str | None:
    """What one answer says, normalised: its exact answer, or that it refuses; None where no exact
    answer was found."""
    if refused:
        return REFUSED
    if a.exact is None:
        return None
    return normalise(a.answer.text[a.exact.start : a.exact.end]) or None


def clusters(keys: Sequence[str | None]) -> list[Cluster]:
    """Samples that say the same, in the order of their first ones; those that say nothing are in
    none."""
    there = [(k, key) for k, key in enumerate(keys) if key is not None]
    numbers = in_clusters(len(there), lambda i, j: _same(there[i][1], there[j][1]))
    found: dict[int, list[tuple[int, str]]] = {}
    for own, number in zip(there, numbers.tolist(), strict=True):
        found.setdefault(number, []).append(own)
    return [Cluster(own[0][1], tuple(k for k, _ in own)) for own in found.values()]


def largest(found: Iterable[Cluster]) -> Cluster | None:
    """The one with the most samples, the first of equals; None of none."""
    return max(found, key=lambda c: len(c.members), default=None)


def _same(a: str, b: str) -> bool:
    if REFUSED in (a, b):
        return a == b
    return a in b or b in a
