"""Parts of the record that say what depends on the split: other splits of the same examples, and
folds that test each example once."""

from __future__ import annotations

from typing import Annotated, Literal

from probebench.record.parts.part import (
    Count,
    Items,
    Layer,
    Line,
    Part,
    Place,
    Share,
    ShareEnds,
    at_most,
    fewer,
)


class SplitResult(Part):
    """The cell that one split selects on its validation, and what it gives on its test."""

    seed: Count | None = None
    """The run of this seed has this split; null for a fold."""
    layer: Layer | None = None
    """Null where no cell could be selected."""
    position: Place | None = None
    C: float | None = None
    validation_auroc: Share | None = None
    auroc: Share | None = None
    """On the test examples of this split that have the cell's token."""
    auroc_95: ShareEnds = (None, None)
    n: Count = 0
    n_correct: Count = 0
    reason: Annotated[str, at_most(400)] | None = None
    """Why there is no AUROC."""


class SelectedOften(Part):
    """How many splits select a cell."""

    layer: Layer
    position: Place
    times: Count


class SplitSpread(Part):
    """AUROCs of several splits."""

    n: Count
    """Splits with an AUROC."""
    mean: Share | None
    mean_95: ShareEnds
    """Of the mean, for examples that other splits would share; null where all splits have the same
    test examples."""
    sd: float | None
    min: Share | None
    max: Share | None
    standard_error: float | None
    """What one split says of itself: the root mean square, over splits, of the standard error that
    its interval comes from."""


class CrossFittedFacts(Part):
    """One AUROC of all folds, each example tested once."""

    auroc: Share | None
    auroc_95: ShareEnds
    n: Count
    n_correct: Count
    n_groups: Count
    folds: Annotated[Items[SplitResult], fewer(20)]


class ResplitFacts(Part):
    """What other splits of the same examples give."""

    rule: Literal["all", "train and validation"]
    """Which examples are shared out anew: all, or, where a task keeps its own test split, all but
    these."""
    site: Line
    asked: Count
    """Splits asked for."""
    spread: SplitSpread
    selected: Annotated[Items[SelectedOften], fewer(2000)]
    """The cells that splits select, the most frequent first."""
    own_cell: Count
    """Splits that select the run's own cell."""
    splits: Annotated[Items[SplitResult], fewer(1001)]
    cross_fitted: CrossFittedFacts | None
    """Null where a task keeps its own test split."""
