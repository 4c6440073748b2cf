"""What a comparison of two runs found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from probebench.text import interval, number
from probebench.types import Interval


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two detectors."""

    folder: str
    model: str
    task: str
    version: int | None
    """Of the task."""
    detector: str
    label: str
    """The detector in words."""
    n_test: int
    """Test examples of the run."""
    n_not_in_other: int
    """Of these, examples that the other run does not have."""
    n_trained_in_other: int
    """Of these, examples that stand in train or validation of the other run."""
    n_without_decision: int
    """Examples in test of both that this detector cannot score."""
    correct: int
    """Common examples that are correct by this run's labels."""
    auroc: float
    auroc_95: Interval
    """Cluster bootstrap over the common examples."""


@dataclass(frozen=True, slots=True)
class RunComparison:
    """What `compare` finds."""

    a: Side
    b: Side
    n: int
    """Common examples: in test of both runs, with a decision of both detectors. Every number is
    over these."""
    n_groups: int
    n_by_text: int
    """Of the common examples, those found by their question because their ids differ."""
    n_different_labels: int
    n_different_answers: int
    """Common examples to which the two runs hold different answers."""
    own_labels: bool
    """True where each run is scored against its own labels."""
    difference: float
    """AUROC of A minus AUROC of B."""
    difference_95: Interval
    """Paired cluster bootstrap: the same groups drawn for both."""
    p: float
    """Two-sided p of a difference of zero, of the same resamples: below .05 exactly where
    `difference_95` leaves out 0."""
    difference_95_delong: Interval
    """Paired DeLong, examples independent; NaN with different labels, for which it is not
    defined."""
    delong_p: float
    """Two-sided p of a difference of zero by DeLong; NaN with different labels, or where the
    difference has no variance."""
    differs: Mapping[str, tuple[Any, Any]]
    """What the two runs differ in."""
    notes: tuple[str, ...]
    """What a reader must know."""

    def __repr__(self) -> str:
        """Both numbers and what can be said of their difference."""
        a, b = (f"{side.label} of {side.folder} {number(side.auroc)}" for side in (self.a, self.b))
        ends = (self.difference_95.low, self.difference_95.high)
        return (
            f"<{a} against {b}: {number(self.difference, signed=True)} "
            f"{interval(ends, signed=True)}, n = {self.n:,}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON: intervals as [low, high]."""
        found = asdict(self)
        for place in (found, found["a"], found["b"]):
            place.update(
                {
                    k: [v["low"], v["high"]]
                    for k, v in place.items()
                    if isinstance(v, dict) and set(v) == {"low", "high"}
                }
            )
        return found
