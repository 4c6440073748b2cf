"""A probe card as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probebench.errors import UsageError
from probebench.files import place, write_atomic
from probebench.record.run import Run
from probebench.report.probecard.card import probe_card
from probebench.report.probecard.markdown import to_markdown

REQUIRED = (
    "baselines.random_feature",
    "baselines.capacity_sweep",
    "baselines.shuffled_source",
    "license",
)
"""Fields that the registry's schema requires and a card may lack."""
CARD = "probe_card"
"""File stem of a card beside its run."""
FORMATS = (".json", ".md")


def write_card(
    run: Run, out: str | None = None, licence: str | None = None
) -> tuple[list[Path], list[str]]:
    """Write a card, and say which fields of the registry it lacks.

    Args:
        run: a finished run.
        out: a file ending in .json or .md; both files beside the run when None.
        licence: under which the probe is given on.

    Raises:
        UsageError: a file of another ending.
        RunError: the disk is full or not writable.
    """
    card = probe_card(run, licence)
    paths = [place(out)] if out else [run.folder / f"{CARD}{ending}" for ending in FORMATS]
    if paths[0].suffix not in FORMATS:
        raise UsageError(
            f"A probe card is written to a file ending in {' or '.join(FORMATS)}; got {str(out)!r}."
        )
    texts = {
        ".json": json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        ".md": to_markdown(card),
    }
    for path in paths:
        write_atomic(path, texts[path.suffix].encode())
    return paths, lacking(card)


def lacking(card: Mapping[str, Any]) -> list[str]:
    """Fields that the registry requires and this card does not have."""
    absent = []
    for path in REQUIRED:
        at: Any = card
        for part in path.split("."):
            at = at.get(part) if isinstance(at, Mapping) else None
        if at is None:
            absent.append(path)
    return absent
