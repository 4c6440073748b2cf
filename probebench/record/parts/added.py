"""Part of the record that says what the probe adds to all baselines together."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from probebench.record.parts.measured import DetectorName
from probebench.record.parts.part import (
    Count,
    Difference,
    DifferenceEnds,
    Items,
    Part,
    Share,
    ShareEnds,
    at_most,
    fewer,
)

Names = Annotated[Items[DetectorName], fewer(200)]


class Stacked(Part):
    """A stack of decisions, fitted on validation."""

    auroc: Share | None
    auroc_95: ShareEnds
    C: float


class Partial(Part):
    """Correlation of the probe's ranks with the labels, given those of the best baseline."""

    given: DetectorName
    """The baseline with the highest validation AUROC."""
    given_label: Annotated[str, at_most(120)]
    correlation: Annotated[float | None, Field(ge=-1, le=1)]
    correlation_95: DifferenceEnds
    n: Count


class Nearest(Part):
    """The baseline whose paired interval has the lowest lower end."""

    name: DetectorName
    label: Annotated[str, at_most(120)]
    difference: Difference | None
    difference_95: DifferenceEnds
    n: Count


class AgainstAll(Part):
    """The probe against each baseline."""

    n: Count
    """Baselines."""
    better: bool
    """Does every paired interval lie above 0?"""
    undecided: Names
    worse: Names
    """Baselines that beat the probe."""
    nearest: Nearest


class Added(Part):
    """All baselines of the probe's time stacked on validation, with and without the probe."""

    baselines: Names
    n: Count
    n_correct: Count
    n_validation: Count
    without: Stacked
    with_probe: Stacked
    difference: Difference | None
    """AUROC with the probe minus without it."""
    difference_95: DifferenceEnds
    difference_p: Share | None
    partial: Partial | None
    against_all: AgainstAll
