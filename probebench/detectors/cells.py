"""The probes themselves: the selected cell's, and the best of the embedding row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from probebench.detectors.registry import Description, Scores, detector
from probebench.scoring.select import cell_facts, select
from probebench.states.positions import readable_when
from probebench.types import CellFit

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.stage import Runner

SELECTED = "probe, selected cell"
EMBEDDING_ROW = "probe, embedding row"


@detector(
    Description(
        name="probe",
        of_answers=SELECTED,
        of_statements=SELECTED,
        kind="probe",
        when=None,
        needs=frozenset({"cells"}),
    )
)
def probe(data: RunData, runner: Runner) -> Iterator[Scores]:
    """The cell that is best on validation."""
    yield _scores("probe", data.chosen, data)


@detector(
    Description(
        name="probe_emb",
        of_answers=EMBEDDING_ROW,
        of_statements=EMBEDDING_ROW,
        kind="probe",
        when=None,
        needs=frozenset({"embedding row"}),
    )
)
def probe_emb(data: RunData, runner: Runner) -> Iterator[Scores]:
    """What the token itself says, before any block has read it in its context."""
    yield _scores("probe_emb", select(data.fits, embedding=True), data)


def _scores(name: str, fit: CellFit, data: RunData) -> Scores:
    when = readable_when(fit.cell.position, given=data.statements)
    return Scores(name, fit.decisions, cell_facts(fit), when)
