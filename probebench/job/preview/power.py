"""Which difference of two AUROCs a run could tell from none, from its test examples and groups
alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

import numpy as np

from probebench.files import clean_json
from probebench.metrics.power import detectable_difference, group_effect
from probebench.stages.plan import Plan

AREA = 0.8
"""AUROC that both detectors are taken to have."""
SHARED = 0.5
"""Correlation that the decisions of the two are taken to have within a class."""
ALIKE = 0.5
"""Correlation that the decisions of a group are taken to have, and its labels where they are not
known."""
ACCURACIES = (0.5, 0.8)
"""Shares of correct answers that stand for what is not known before the answers."""


@dataclass(frozen=True, slots=True)
class Detectable:
    """What one number of correct test answers would allow."""

    accuracy: float
    """Share of correct test answers."""
    assumed: bool
    """Was that share assumed? False where the labels are there."""
    n_correct: int
    n_wrong: int
    group_effect: float
    """By how much groups raise the variance."""
    difference: float
    """Of two AUROCs, found in 80 % of repetitions by a two-sided test at 5 %; NaN where a class has
    no test answer."""


@dataclass(frozen=True, slots=True)
class Power:
    """What the test split of a run allows."""

    n: int
    """Test examples."""
    groups: int
    detectable: tuple[Detectable, ...]
    """At each assumed accuracy; one where the labels are there."""

    def facts(self) -> dict[str, Any]:
        """For programs, with what is assumed."""
        return {
            "n_test": self.n,
            "groups": self.groups,
            "assumed": {"auroc": AREA, "correlation": SHARED, "group_correlation": ALIKE},
            "detectable": [clean_json(asdict(d)) for d in self.detectable],
        }

    def words(self) -> str:
        """In a sentence, with what is assumed."""
        found = " or ".join(_words(d) for d in self.detectable)
        return (
            f"{self.n:,} test examples in {self.groups:,} groups show (in 80 % of repetitions, at "
            f"5 %) that two AUROCs differ if they differ by {found}; assumed: AUROC {AREA:g}, "
            f"decisions of the two correlated {SHARED:g}, of a group {ALIKE:g}"
        )


def power(plan: Plan) -> Power:
    """What the test split of a run allows."""
    test = [i for i, split in enumerate(plan.splits) if split == "test"]
    groups, labels = [plan.examples[i].group for i in test], [plan.given_labels[i] for i in test]
    known = [label for label in labels if label is not None]
    if test and len(known) == len(test):
        found: Sequence[Detectable] = [_known(groups, known)]
    else:
        found = [_assumed(groups, accuracy) for accuracy in ACCURACIES]
    return Power(len(test), len(set(groups)), tuple(found))


def _known(groups: Sequence[str], labels: Sequence[int]) -> Detectable:
    n1, n = sum(labels), len(labels)
    effect = group_effect(groups, ALIKE, np.array(labels))
    found = detectable_difference(AREA, SHARED, n1, n - n1, effect)
    return Detectable(n1 / n, False, n1, n - n1, effect, found)


def _assumed(groups: Sequence[str], accuracy: float) -> Detectable:
    n = len(groups)
    n1 = round(accuracy * n)
    effect = group_effect(groups, ALIKE, labels_alike=ALIKE)
    found = detectable_difference(AREA, SHARED, n1, n - n1, effect)
    return Detectable(accuracy, True, n1, n - n1, effect, found)


def _words(d: Detectable) -> str:
    difference = "an unknown amount" if isnan(d.difference) else f"{d.difference:.3f}"
    return f"{difference} {'if' if d.assumed else 'with'} {d.accuracy:.0%} correct"
