"""Parts of the record that say what several drawn answers to each question add: error types,
answer selection, soft targets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from probebench.record.parts.part import (
    Count,
    Difference,
    DifferenceEnds,
    Ends,
    Items,
    Layer,
    Part,
    Place,
    Share,
    ShareEnds,
)

Correlation = Annotated[float, Field(ge=-1, le=1)]


class ErrorTypeFacts(Part):
    """One error type: how many test questions are of it, and a probe that tells them from the
    rest."""

    type: str
    meaning: str
    n: Count
    """In all splits."""
    n_test: Count
    of_test: Count
    share: Share | None
    share_95: ShareEnds
    auroc: Share | None
    auroc_95: ShareEnds
    C: float | None
    n_probed: Count
    """Test questions that the probe scores."""
    reason: str | None
    """Why there is no probe."""


class Gap(Part):
    """A paired difference of two accuracies."""

    difference: Difference | None
    difference_95: DifferenceEnds


class Way(Part):
    """One way of choosing an answer."""

    way: str
    n: Count
    accuracy: Share | None
    accuracy_95: ShareEnds
    minus_greedy: Gap | None
    """Null of the greedy answer itself."""
    probe_minus: Gap | None
    """The probe's choice minus this one; null of itself."""


class TypeSelection(Part):
    """The same among the test questions of one error type."""

    type: str
    ways: Items[Way]


class Selection(Part):
    """Accuracy on test by ways of choosing one of the drawn answers."""

    n: Count
    ways: Items[Way]
    by_type: Items[TypeSelection]
    n_undecided: Count
    """Questions of which no drawn answer has the probe's token."""


class RankFacts(Part):
    """A rank correlation on test."""

    spearman: Correlation | None
    spearman_95: Ends


class SoftTargets(Part):
    """How well the share of correct answers is read off the greedy answer."""

    n: Count
    mean_share: Share | None
    alpha: float | None
    soft_probe: RankFacts
    """A ridge regression fitted to the shares."""
    probe: RankFacts
    """The selected probe's decisions."""
    difference: float | None
    difference_95: Ends


class Sampled(Part):
    """What several drawn answers to each question say."""

    n_samples: Count
    temperature: float
    top_p: Share
    site: str
    layer: Layer
    position: Place
    share_correct: Share
    """Of all drawn answers."""
    types: Items[ErrorTypeFacts]
    selection: Selection
    soft_targets: SoftTargets
