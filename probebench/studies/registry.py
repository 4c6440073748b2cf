"""The registry of studies: what a run says beside its map and its table, one row per section of the
record, and one function per concern that its warnings raise.

To add a study, write a function of a scored run and register it with its row;
`probebench.studies.suite` names the modules. The record's section, its place in a report and what
is said where nobody asked for it follow from the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from probebench.record.schema import Record
from probebench.scoring.comparison import Comparison
from probebench.types import CellFit

if TYPE_CHECKING:
    from probebench.scoring.resplit import Resplits
    from probebench.scoring.score import Result
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.sampling.at_cell import SampleVectors


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A run with its numbers: all that a study may look at."""

    data: RunData
    result: Result
    fitted: Any
    """The selected cell's probe."""
    resplits: Resplits | None
    """What other splits select; None where none were asked for."""
    sampled: SampleVectors | None = None
    """The selected cell's vectors of further answers; None where none were asked for."""


Make = Callable[[Scored], Any]
"""What stands in the section: numbers, names, lists and mappings of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One section of the record."""

    section: str
    """Its name there."""
    make: Make
    asked: Callable[[Plan], bool]
    """Was it asked for? Where not, the section is null."""
    title: str
    """Of its part of a report; empty where another part shows it."""
    unasked: str
    """What a report says where the section is null."""


STUDIES: list[Study] = []


def study(
    section: str,
    *,
    asked: Callable[[Plan], bool] = lambda plan: True,
    title: str = "",
    unasked: str = "",
) -> Callable[[Make], Make]:
    """Register a function that makes one section of the record."""

    def register(make: Make) -> Make:
        STUDIES.append(Study(section, make, asked, title, unasked))
        return make

    return register


# -- concerns --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Concern:
    """What the concerns look at."""

    record: Record
    """All of it but the warnings."""
    fits: Sequence[CellFit]
    comparison: Comparison


Rule = Callable[[Concern], Iterator[str]]
CONCERNS: list[Rule] = []


def concern(rule: Rule) -> Rule:
    """Register a concern; their order is the order of the list."""
    CONCERNS.append(rule)
    return rule
