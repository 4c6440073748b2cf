"""What the strip of sublayers shows."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from probebench.record.schema import Record
from probebench.record.shown.captions import (
    caption,
    n_words,
    probe_words,
    smallest_words,
    width_words,
)
from probebench.record.tables import (
    FDR,
    SUBLAYERS,
    TOP,
    cells,
    default_position,
    plain_position,
    sublayers_table,
)


@dataclass(frozen=True, slots=True, eq=False)
class ShownSublayers:
    """What the strip of sublayers shows."""

    table: pd.DataFrame
    """A row per sublayer, as in `sublayers_table`."""
    caption: str


def shown_sublayers(
    record: Record,
    scores: pd.DataFrame,
    position: str | None = None,
    top: int | None = None,
    significant: bool = False,
) -> ShownSublayers:
    """The sublayers, with which of them are selected.

    Raises:
        UsageError: as `sublayers_table`.
    """
    position = plain_position(position or default_position(record), record.positions)
    sites = [site for own in SUBLAYERS.values() for site in own]
    own = cells(scores)[lambda t: t.site.isin(sites) & (t.position == position)]
    table = sublayers_table(record, scores, position=position, top=top, significant=significant)
    rule = (
        f"test AUROC above shuffled labels at a false-discovery rate of {FDR:.0%}"
        if significant
        else f"the {TOP if top is None else top} highest validation AUROCs"
    )
    lines = [
        f"Selected (coloured): {rule}; {probe_words(record)} on attn.o and mlp.down at "
        f"{position}, {n_words(record, own)}. Below each number its test AUROC.",
        *smallest_words(record, own, shown=len(own)),
        "Numbering: attention of layer l is sublayer 2l + 1, its MLP 2l + 2.",
        *(["Hatched: no probe there."] if table.auroc.isna().any() else []),
        *([width_words(record)] if record.probe.width else []),
    ]
    return ShownSublayers(table, caption(record, lines))
