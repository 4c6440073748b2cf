"""What a map of positions shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from probebench.errors import UnknownNameError, UsageError
from probebench.maps.colours import below_chance
from probebench.maps.heatmap import numbered
from probebench.record.schema import Record
from probebench.record.shown.captions import (
    BEST,
    VIOLET,
    caption,
    chance_words,
    marked_words,
    n_words,
    probe_words,
)
from probebench.record.tables import (
    FDR,
    NO_SHUFFLES,
    SAME,
    best_of_layers,
    cell_table,
    cells,
    narrowed,
    same_token_letters,
)
from probebench.record.words import terms


@dataclass(frozen=True, slots=True, eq=False)
class ShownPositions:
    """What a map of positions shows."""

    matrix: pd.DataFrame
    """Layers down, positions across."""
    caption: str
    pale: list[str]
    """Positions that are never selected."""
    letters: dict[str, str]
    """Of positions that are one token."""
    flagged: list[tuple[str, str]]
    """Layer and position of fits that did not converge."""
    hatched: pd.DataFrame | None
    best: pd.Series | None
    """Of each layer one number; None where all stand in their cells."""


def shown_positions(
    record: Record,
    scores: pd.DataFrame,
    site: str,
    layers: Sequence[int] | None = None,
    positions: Sequence[str] | None = None,
    hatch: bool = False,
) -> ShownPositions:
    """Test AUROC of the cells of one site.

    Raises:
        UnknownNameError: a site, layer or position that the run did not read.
        UsageError: it has no shuffled labels to hatch by.
    """
    if site not in record.sites:
        raise UnknownNameError("site", site, record.sites)
    matrix = narrowed(cell_table(record, scores, site, "value"), layers, positions)
    q = cell_table(record, scores, site, "q")
    if hatch and not np.isfinite(q.to_numpy(dtype=float)).any():
        raise UsageError(NO_SHUFFLES)
    own = _on(matrix, scores, site)
    stuck = own[~own.converged]
    pale = [p for p in record.selection.barred if p in matrix.columns]
    letters = same_token_letters(record, list(matrix.columns))
    best = None
    if not numbered(matrix):
        validation = cell_table(record, scores, site, "value", "validation")
        best = best_of_layers(matrix.drop(columns=pale), validation)
    lines = {
        **_whats_read(record, own, site, matrix, whole=matrix.shape == q.shape),
        "Grey: no such token in enough answers.": matrix.isna().to_numpy().any(),
        VIOLET: below_chance(matrix),
        f"Hatched: not above shuffled labels at a false-discovery rate of {FDR:.0%}.": hatch,
        f"!: {len(stuck)} fits that did not converge.": len(stuck),
        "Pale names: too few validation answers have the token; never selected.": pale,
        f"Columns with one letter above them: one and the same token in at least {SAME:.0%} of the "
        f"{terms(record).what}.": letters,
        BEST.format("position"): best is not None,
    }
    return ShownPositions(
        matrix,
        caption(record, [line for line, there in lines.items() if there]),
        pale,
        letters,
        list(zip(stuck.layer, stuck.position, strict=True)),
        ~(narrowed(q, layers, positions) <= FDR) & matrix.notna() if hatch else None,
        best,
    )


def _on(matrix: pd.DataFrame, scores: pd.DataFrame, site: str) -> pd.DataFrame:
    """The cells of a site that are on the map."""
    layers, positions = list(matrix.index), list(matrix.columns)
    return cells(scores)[
        lambda t: (t.site == site) & t.layer.isin(layers) & t.position.isin(positions)
    ]


def _whats_read(
    record: Record, own: pd.DataFrame, site: str, matrix: pd.DataFrame, *, whole: bool
) -> dict[str, bool]:
    """The first lines of a caption, and whether each is of something on the map: numbers of
    examples of the cells shown, the selected cell, the map against shuffled labels."""
    best = record.sites[site].best
    shown = best is not None and best.layer in matrix.index and best.position in matrix.columns
    return {
        f"Test AUROC of one {probe_words(record)} per layer (down) and position (across), site "
        f"{site}, {n_words(record, own)}.": True,
        "No cell could be fitted.": best is None,
        "" if best is None else marked_words(best): shown,
        **dict.fromkeys(chance_words(record, site, whole=whole), True),
    }
