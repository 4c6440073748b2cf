"""Parts of the record that hold near twins across the split, and the headline without them."""

from __future__ import annotations

from typing import Annotated

from probebench.record.parts.part import (
    Count,
    Difference,
    DifferenceEnds,
    Items,
    Line,
    Part,
    Share,
    ShareEnds,
    at_most,
    fewer,
)


class TwinPair(Part):
    """A test text and its nearest one of another split."""

    id: Annotated[str, at_most(400)]
    near: Annotated[str, at_most(400)]
    """Id of the other."""
    split: Line
    cosine: float


class WithoutTwins(Part):
    """The headline over the compared test examples that are no near twins."""

    n: Count
    n_correct: Count
    probe_auroc: Share | None = None
    probe_auroc_95: ShareEnds = (None, None)
    baseline: Line | None = None
    """Best on validation."""
    baseline_auroc: Share | None = None
    baseline_auroc_95: ShareEnds = (None, None)
    difference: Difference | None = None
    """Probe minus baseline."""
    difference_95: DifferenceEnds = (None, None)
    reason: Annotated[str, at_most(400)] | None = None
    """Why a number is null."""


class NearTwins(Part):
    """Test texts whose nearest text of train or validation is nearly the same."""

    bar: float
    """Cosine of character n-grams above which two texts are near twins."""
    n_test: Count
    n: Count
    """Test texts with a near twin in train or validation."""
    share: Share | None
    by_split: dict[str, Count]
    """Test texts with a near twin in each."""
    examples: Annotated[Items[TwinPair], fewer(20)]
    without: WithoutTwins
