"""What a run knows once its cells are fitted: all that detectors, studies and the record are made
from."""

from __future__ import annotations

from dataclasses import dataclass

from probebench.probes.fit import Job
from probebench.probes.labels import Labels
from probebench.stages.plan import Plan
from probebench.stages.sampling.samples import Samples
from probebench.stages.second_judge import Opinions
from probebench.stages.states import StoredStates
from probebench.types import CellFit, LabelledAnswer


@dataclass(frozen=True, slots=True, eq=False)
class RunData:
    """Everything of one run before it is scored, complete when it is made."""

    plan: Plan
    answers: tuple[LabelledAnswer, ...]
    states: StoredStates
    job: Job
    """Vectors, labels and kind of probe."""
    fits: tuple[CellFit, ...]
    """Every cell's probe, in the order of the map."""
    chosen: CellFit
    """The cell selected on validation."""
    opinions: Opinions | None
    """(example,) what the judge model says; None where none was asked."""
    samples: Samples | None = None
    """Further answers to each question; None where none were asked for."""

    @property
    def labels(self) -> Labels:
        """Labels, splits and groups."""
        return self.job.labels

    @property
    def statements(self) -> bool:
        """Are the answers given statements, with one text each and nothing generated?"""
        return self.plan.statements
