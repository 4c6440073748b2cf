"""Which kind of run a directory holds."""

from __future__ import annotations

from pathlib import Path

from probebench.errors import BadFileError

SPANS = "spans.json"
"""The record of a run at tokens inside answers (`probebench.record.inside.spans`)."""


def holds_spans(folder: Path) -> bool:
    """Is it a run at tokens inside answers?"""
    return (folder / SPANS).is_file()


def refuse_spans(folder: Path) -> None:
    """Complain about a run at tokens inside answers.

    Raises:
        BadFileError: it is one, with what shows it.
    """
    if holds_spans(folder):
        raise BadFileError(
            f"{folder} is a run at tokens inside answers, which has no map of places and no row of "
            f"the leaderboard. `probebench report {folder}` shows it."
        ) from None
