"""What reading a run's examples put right, left out or had to do without, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def data_notes(data: Mapping[str, Any], n: int) -> list[str]:
    """What a reader of the numbers must know of how the examples were read.

    Args:
        data: the record's `data`; older records lack some of its keys.
        n: examples of the run.
    """
    notes = []
    if lost := data.get("n_ungrouped"):
        notes.append(
            f"{lost:,} of {n:,} examples lack the columns that the task groups by, so each question is a group of its own: what "
            f"the task would keep together (such as questions on one person) may stand on both sides of a split."
        )
    return notes
