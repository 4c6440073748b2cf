"""Which numbers of a finished run each map shows, and what its caption says. Reads the record and
its tables only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probebench.errors import UnknownNameError, UsageError
from probebench.maps.colours import CHANCE
from probebench.maps.heatmap import plot_components, plot_positions, plot_sublayers
from probebench.models.blocks.layouts import COMPONENTS
from probebench.record.captions import (
    caption,
    chance_words,
    marked_words,
    model_words,
    n_words,
    probe_words,
    width_words,
)
from probebench.record.schema import Record
from probebench.record.tables import (
    EFFECTS,
    FDR,
    NO_SHUFFLES,
    SAME,
    SUBLAYERS,
    TARGETS,
    TOP,
    attribution_table,
    cell_table,
    cells,
    components_table,
    default_position,
    narrowed,
    plain_position,
    same_token_letters,
    sublayers_table,
)
from probebench.record.words import agreement_words, ranked
from probebench.text import extremes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
MAPS = ("positions", "components", "sublayers", "transfer")
SCORES = ("auroc", *EFFECTS)
PATHS = (
    "One path each: attn.v and attn.o; mlp.up, mlp.gate and mlp.down. Columns do not add up: no "
    "shares."
)
SEE = "What replacing them changes: --score ablation."


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
    if site not in record.sites:
        raise UnknownNameError("site", site, record.sites)
    best = record.sites[site].best
    matrix = narrowed(cell_table(record, scores, site, "value"), layers, positions)
    own = cells(scores)[lambda t: t.site == site]
    stuck = own[~own.converged]
    lines = [
        f"{probe_words(record)} on site {site}, test AUROC, {n_words(record, own)}.",
        "No cell could be fitted." if best is None else marked_words(best),
        *chance_words(record, site),
    ]
    if matrix.isna().to_numpy().any():
        lines.append("Grey: no such token in enough answers.")
    if (matrix.to_numpy(dtype=float) < CHANCE).any():
        lines.append("Violet: below chance.")
    hatched = None
    if hatch:
        if not np.isfinite(cell_table(record, scores, site, "q").to_numpy(dtype=float)).any():
            raise UsageError(NO_SHUFFLES)
        hatched = (
            ~(narrowed(cell_table(record, scores, site, "q"), layers, positions) <= FDR)
            & matrix.notna()
        )
        lines.append(f"Hatched: not above shuffled labels at a false-discovery rate of {FDR:.0%}.")
    if len(stuck):
        lines.append(f"!: {len(stuck)} fits that did not converge.")
    pale = [p for p in record.selection.barred if p in matrix.columns]
    letters = same_token_letters(record, list(matrix.columns))
    if pale:
        lines.append("Pale names: too few validation answers have the token; never selected.")
    if letters:
        lines.append(f"One letter above: one token in at least {SAME:.0%} of the answers.")
    settings = {
        "pale": pale,
        "letters": letters,
        "selected": best and (best.layer, best.position),
        "title": f"{model_words(record)}" + ("" if site == "resid" else f", {site}"),
        "hatched": hatched,
        "flagged": list(zip(stuck.layer, stuck.position, strict=True)),
    }
    return plot_positions(matrix, **{**settings, "caption": caption(record, lines), **options})


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
        _effects(record, attribution, target, score)
        if score in EFFECTS
        else _scores(record, scores, position)
    )
    settings = {
        "title": f"{model_words(record)}: {shown.title}",
        "caption": caption(record, shown.lines),
        "label": shown.label,
        "widths": shown.widths,
        "middle": shown.middle,
        "note": shown.note,
    }
    matrix = narrowed(shown.matrix, layers)
    return plot_components(matrix, **{**settings, **options}), matrix


@dataclass(frozen=True, slots=True, eq=False)
class _Components:
    """What a map of components shows."""

    matrix: pd.DataFrame
    """Layers down, components across."""
    title: str
    label: str
    """What the colours mean."""
    lines: list[str]
    """Of the caption."""
    widths: dict[str, str] | None = None
    """Of each component, where they are printed."""
    middle: float | None = None
    """Of the colours; None for amounts."""
    note: str = ""
    """What stands there instead of numbers."""


def _scores(record: Record, scores: pd.DataFrame, position: str | None) -> _Components:
    """Test AUROC of each component at one position."""
    position = plain_position(position or default_position(record), record.positions)
    own = cells(scores)[lambda t: t.site.isin(COMPONENTS) & (t.position == position)]
    lines = [
        f"{probe_words(record)} on each component's vectors at {position}, {n_words(record, own)}.",
        width_words(record),
    ]
    if components_table(record, scores, position).isna().to_numpy().any():
        lines.append("Grey: the layer does not have it, or it was not read.")
    if len(stuck := own[~own.converged]):
        first = stuck.iloc[0]
        lines.append(
            f"{len(stuck)} fits did not converge, the first: {first.site}, layer {first.layer}."
        )
    return _Components(
        components_table(record, scores, position),
        f"test AUROC at {position}",
        "Test AUROC",
        lines,
        component_widths(record),
        middle=CHANCE,
    )


def _effects(
    record: Record, attribution: pd.DataFrame | None, target: str, score: str
) -> _Components:
    """What replacing each component changes in a target; of a run of protocol 1, each component's
    share of gradient x activation."""
    matrix, n = attribution_table(record, attribution, target, score)
    title = f"{score} to {TARGETS[target].removeprefix('the ')}"
    if record.attribution is None:
        lines = [
            f"Mean absolute gradient x activation of {TARGETS[target]}, as a share of the layer's "
            "seven components;",
            f"{n} test answers. By an earlier version: near zero wherever a norm follows, and held "
            "against no replacement.",
        ]
        return _Components(matrix, title, "Share of the layer", lines, middle=1 / len(COMPONENTS))
    unit = "nats" if target == "logprob" else "units of the decision"
    what = (
        f"Mean absolute change of {TARGETS[target]}, in {unit}, when a component is replaced by "
        "its mean"
    )
    empty = bool(matrix.isna().to_numpy().any())
    grey = ["Grey: the layer does not have it, or nothing of it reaches the target."] * empty
    if score == "ablation":
        lines = [f"{what}: measured for {n} test answers.", PATHS, *grey]
        return _Components(matrix, title, f"Mean absolute change, {unit}", lines)
    said = agreement_words(record, target) or "Held against no replacement."
    lines = [f"{what}: estimated by gradients for {n} test answers.", said, PATHS, *grey]
    if not ranked(record, target):
        note = "Not drawn: these estimates do not rank components\nas replacing them does."
        matrix, lines = matrix * np.nan, [*lines[:2], SEE]
        return _Components(matrix, title, f"Mean absolute change, {unit}", lines, note=note)
    return _Components(matrix, title, f"Mean absolute change, {unit}", lines)


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
    position = plain_position(position or default_position(record), record.positions)
    own = cells(scores)[
        lambda t: (
            t.site.isin([s for sites in SUBLAYERS.values() for s in sites])
            & (t.position == position)
        )
    ]
    table = sublayers_table(record, scores, position=position, top=top, significant=significant)
    rule = (
        f"test AUROC above shuffled labels at a false-discovery rate of {FDR:.0%}"
        if significant
        else f"the {TOP if top is None else top} highest validation AUROCs"
    )
    lines = [
        f"Selected (coloured): {rule}; {probe_words(record)} on attn.o and mlp.down at "
        f"{position}, {n_words(record, own)}. Below each number its test AUROC.",
        "Numbering: attention of layer l is sublayer 2l + 1, its MLP 2l + 2.",
        *(["Hatched: no probe there."] if table.auroc.isna().any() else []),
        *([width_words(record)] if record.probe.width else []),
    ]
    settings = {"title": f"{model_words(record)}: sublayers", "caption": caption(record, lines)}
    return plot_sublayers(table, **{**settings, **options}), table


def component_widths(record: Record) -> dict[str, str]:
    """Widths to print below each component."""
    to = record.probe.width
    words = {}
    for site in COMPONENTS:
        if site in record.sites and (own := record.sites[site].widths):
            words[site] = extremes(own) + (f"→{to:,}" if to else "")
    return words
