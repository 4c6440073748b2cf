"""Which kind of run a directory holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from probebench.errors import BadFileError
from probebench.files import joined, readable

SPANS = "spans.json"
"""The record of a run at tokens inside answers (`probebench.record.inside.spans`)."""


DISCARDED = "keeps no hidden states: it was run with --discard-states. Run it again without."
"""Of a run, behind its folder."""


def are_freed(folder: Path, states: str | None) -> bool:
    """Is the folder gone in which a run kept its hidden states?

    Args:
        folder: of the run.
        states: where its record says that they are; None where they were never kept.
    """
    return states is not None and not joined(folder, states).is_dir()


def freed_words(record: Path) -> str:
    """What there is to say of such a run, behind its folder."""
    return (
        f"keeps its hidden states no longer: they were freed. To have them again, delete {record} "
        "and run the same command again."
    )


@contextmanager
def table_of(folder: Path, name: str) -> Iterator[Any]:
    """A table of a run, to be read by arrow.

    Raises:
        BadFileError: it is not there, or cannot be read.
    """
    try:
        yield readable(folder / name)
    except FileNotFoundError:
        raise BadFileError(
            f"{folder} is not a whole run: it has no {name}. Run `probebench eval` again."
        ) from None
    except (OSError, ValueError) as error:  # what arrow cannot read is a ValueError
        said = (str(error).splitlines() or ["empty"])[0]
        raise BadFileError(f"{folder / name} cannot be read: {said}") from None


def read_table(folder: Path, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A table of a run, or some of its columns; errors as `table_of`."""
    with table_of(folder, name) as path:
        return pd.read_parquet(path, columns=columns and list(columns))


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
