"""Parts of the record that hold checks: the headline on other examples, columns that are one token,
near twins across the split."""

from __future__ import annotations

from typing import Annotated

from probebench.record.parts.part import (
    Count,
    Difference,
    DifferenceEnds,
    Items,
    Line,
    Part,
    Place,
    Share,
    ShareEnds,
    at_most,
    fewer,
)

Words = Annotated[str, at_most(120)]


class Subset(Part):
    """Probe and best baseline without some test examples."""

    without: Words
    n_left_out: Count
    n: Count
    n_correct: Count
    auroc: Share | None
    auroc_95: ShareEnds
    baseline: Words | None = None
    """The one with the highest validation AUROC; null where there is none."""
    baseline_label: Words | None = None
    baseline_auroc: Share | None = None
    baseline_auroc_95: ShareEnds = (None, None)
    difference: Difference | None = None
    difference_95: DifferenceEnds = (None, None)


class Commonest(Part):
    """The commonest answer of a class."""

    answer: Words
    n: Count
    of: Count
    share: Share | None


class CommonestByClass(Part):
    """Of both classes."""

    correct: Commonest
    wrong: Commonest


class WithinAnswers(Part):
    """AUROC over pairs of a correct and a wrong answer that say the same."""

    auroc: Share | None
    auroc_95: ShareEnds
    n: Count
    """Test examples whose answer is given rightly and wrongly."""
    pairs: Count
    answers: Count
    """Different answers that are."""


class Said(Part):
    """Which answers are given, and the probe among equal ones."""

    commonest: CommonestByClass
    within: WithinAnswers


class Coincidence(Part):
    """A column that is often the same token as an earlier one."""

    position: Place
    same_as: Place
    share: Share


class Coincidences(Part):
    """Columns of the map that are one token."""

    columns: Count
    tokens_per_answer: float | None
    """Different tokens among the columns, on average."""
    same: Annotated[Items[Coincidence], fewer(60)]


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
