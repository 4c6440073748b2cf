"""The maps of a finished run: what is to be shown, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from probebench.errors import UnknownNameError
from probebench.maps.heatmap import plot_components, plot_positions, plot_sublayers
from probebench.record.schema import Record
from probebench.record.shown.captions import model_words
from probebench.record.shown.components import SCORES, shown_components, shown_effects
from probebench.record.shown.positions import shown_positions
from probebench.record.shown.sublayers import shown_sublayers
from probebench.record.tables import EFFECTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
MAPS = ("positions", "components", "sublayers", "transfer")


def positions_map(
    record: Record,
    scores: pd.DataFrame,
    *,
    site: str = "",
    layers: Sequence[int] | None = None,
    positions: Sequence[str] | None = None,
    hatch: bool = False,
    **options: Any,
) -> Axes:
    """Layer x position map of test AUROC of one site, its best cell by validation marked."""
    site = site or record.selection.site
    shown = shown_positions(record, scores, site, layers, positions, hatch)
    best = record.sites[site].best
    settings = {
        "pale": shown.pale,
        "letters": shown.letters,
        "selected": best and (best.layer, best.position),
        "title": f"{model_words(record)}" + ("" if site == "resid" else f", {site}"),
        "hatched": shown.hatched,
        "flagged": shown.flagged,
        "best": shown.best,
        "caption": shown.caption,
    }
    return plot_positions(shown.matrix, **{**settings, **options})


def components_map(
    record: Record,
    scores: pd.DataFrame,
    attribution: pd.DataFrame | None,
    *,
    score: str = "auroc",
    target: str = "logprob",
    position: str | None = None,
    layers: Sequence[int] | None = None,
    **options: Any,
) -> tuple[Axes, pd.DataFrame]:
    """Layer x component map of test AUROC at one position, or of what replacing a component
    changes, estimated (`attribution`) or measured (`ablation`); with the table it shows.

    Estimates that do not rank components as replacing them does are not drawn: the map says so.
    """
    if score not in SCORES:
        raise UnknownNameError("score", score, SCORES)
    shown = (
        shown_effects(record, attribution, target, score, layers)
        if score in EFFECTS
        else shown_components(record, scores, position, layers)
    )
    settings = {
        "title": f"{model_words(record)}: {shown.title}",
        "caption": shown.caption,
        "label": shown.label,
        "widths": shown.widths,
        "middle": shown.middle,
        "note": shown.note,
        "best": shown.best,
    }
    return plot_components(shown.matrix, **{**settings, **options}), shown.matrix


def sublayers_map(
    record: Record,
    scores: pd.DataFrame,
    *,
    position: str | None = None,
    top: int | None = None,
    significant: bool = False,
    **options: Any,
) -> tuple[Axes, pd.DataFrame]:
    """The strip of sublayers, and the table it shows."""
    shown = shown_sublayers(record, scores, position, top, significant)
    settings = {"title": f"{model_words(record)}: sublayers", "caption": shown.caption}
    return plot_sublayers(shown.table, **{**settings, **options}), shown.table
