"""Parts of the record that say how far each detector keeps errors down by not answering."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from probebench.record.parts.part import Count, Items, Line, Part, Share, ShareEnds, at_most, fewer


class RiskAt(Part):
    """What stays wrong where part of the test examples is answered."""

    n_answered: Count
    coverage: Share
    risk: Share | None
    risk_95: ShareEnds


class LevelFacts(Part):
    """The threshold that validation allows at one level, and what it gives on test."""

    level: Share
    """Part of the answers given that may be wrong."""
    threshold: float | None
    """Answers of a higher decision are given; null where none is allowed, or all are given."""
    answers_all: bool
    n_answered_validation: Count
    n_wrong_validation: Count
    reason: Annotated[str, at_most(400)] | None = None
    """Why no threshold is allowed."""
    n_answered: Count | None = None
    coverage: Share | None = None
    coverage_95: ShareEnds = (None, None)
    risk: Share | None = None
    risk_95: ShareEnds = (None, None)


class DetectorLevels(Part):
    """One detector at every level."""

    name: Line
    label: Line
    levels: Annotated[Items[LevelFacts], fewer(20)]


class RiskCurve(Part):
    """Risk against coverage of one detector on test."""

    name: Line
    label: Line
    points: Annotated[Items[RiskAt], fewer(100)]


class Abstention(Part):
    """Answers withheld by their decisions: thresholds from validation, coverage and risk on
    test."""

    delta: Share
    """How often a threshold may break its level."""
    n: Count
    """Test examples of the table."""
    n_wrong: Count
    base_risk: Share | None
    """Part of all these answers that is wrong."""
    n_validation: Count
    effective_validation: Annotated[float, Field(ge=0)]
    """Independent answers that those of validation are worth at least."""
    detectors: Annotated[Items[DetectorLevels], fewer(200)]
    curves: Annotated[Items[RiskCurve], fewer(2)]
    """The probe's, and that of the baseline best on validation."""
