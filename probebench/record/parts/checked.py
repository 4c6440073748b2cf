"""Parts of the record that hold checks: the headline on other examples, columns that are one
token."""

from __future__ import annotations

from typing import Annotated

from probebench.record.parts.part import (
    Count,
    Difference,
    DifferenceEnds,
    Items,
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
