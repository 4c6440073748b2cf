"""What a map of components shows: scores, or what replacing them changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from probebench.maps.colours import CHANCE, below_chance
from probebench.maps.heatmap import numbered
from probebench.models.blocks.layouts import COMPONENTS
from probebench.record.schema import Record
from probebench.record.shown.captions import (
    BEST,
    LARGEST,
    VIOLET,
    caption,
    n_words,
    probe_words,
    smallest_words,
    width_words,
)
from probebench.record.tables import (
    EFFECTS,
    TARGETS,
    attribution_table,
    best_of_layers,
    cells,
    components_table,
    default_position,
    narrowed,
    plain_position,
)
from probebench.record.words import agreement_words, ranked
from probebench.text import extremes

SCORES = ("auroc", *EFFECTS)
PATHS = (
    "attn.v and attn.o lie on one path, and so do mlp.up, mlp.gate and mlp.down: what one does the "
    "other does too, so the numbers of a layer are no shares of a whole."
)
SEE = "What replacing them changes: --score ablation."


@dataclass(frozen=True, slots=True, eq=False)
class ShownComponents:
    """What a map of components shows."""

    matrix: pd.DataFrame
    """Layers down, components across."""
    title: str
    label: str
    """What the colours mean."""
    caption: str
    widths: dict[str, str] | None = None
    """Of each component, where they are printed."""
    middle: float | None = None
    """Of the colours; None for amounts."""
    note: str = ""
    """What stands there instead of numbers."""
    best: pd.Series | None = None
    """Of each layer one number; None where all stand in their cells, or for the largest."""


def shown_components(
    record: Record,
    scores: pd.DataFrame,
    position: str | None = None,
    layers: Sequence[int] | None = None,
) -> ShownComponents:
    """Test AUROC of each component at one position.

    Raises:
        UsageError: the run read no component.
    """
    position = plain_position(position or default_position(record), record.positions)
    matrix = narrowed(components_table(record, scores, position), layers)
    whole = cells(scores)[lambda t: t.site.isin(COMPONENTS) & (t.position == position)]
    own = whole[whole.layer.isin(list(matrix.index))]
    best = None
    if not numbered(matrix):
        best = best_of_layers(
            matrix, components_table(record, scores, position, split="validation")
        )
    stuck = own[~own.converged]
    first = f"{stuck.iloc[0].site}, layer {stuck.iloc[0].layer}" if len(stuck) else ""
    lines = {
        f"Test AUROC of one {probe_words(record)} per layer (down) and component (across) at "
        f"{position}, {n_words(record, own)}.": True,
        width_words(record): True,
        **dict.fromkeys(smallest_words(record, whole, shown=len(own)), True),
        "Grey: the layer does not have it, or it was not read.": matrix.isna().to_numpy().any(),
        VIOLET: below_chance(matrix),
        f"{len(stuck)} fits did not converge, the first: {first}.": len(stuck),
        BEST.format("component"): best is not None,
    }
    return ShownComponents(
        matrix,
        f"test AUROC at {position}",
        "Test AUROC",
        caption(record, [line for line, there in lines.items() if there]),
        component_widths(record),
        middle=CHANCE,
        best=best,
    )


def shown_effects(
    record: Record,
    attribution: pd.DataFrame | None,
    target: str,
    score: str,
    layers: Sequence[int] | None = None,
) -> ShownComponents:
    """What replacing each component changes in a target, estimated (`attribution`) or measured
    (`ablation`); of a run of protocol 1, each component's share of gradient x activation.

    Estimates that do not rank components as replacing them does are not shown: a note says so.

    Raises:
        UsageError: the run did not measure it.
    """
    whole, n = attribution_table(record, attribution, target, score)
    matrix = narrowed(whole, layers)
    title = f"{score} to {TARGETS[target].removeprefix('the ')}"
    largest = [] if numbered(matrix) else [LARGEST]
    if record.attribution is None:
        lines = [
            f"Mean absolute gradient x activation of {TARGETS[target]}, as a share of the layer's "
            "seven components;",
            f"{n} test answers. By an earlier version: near zero wherever a norm follows, and held "
            "against no replacement.",
            *largest,
        ]
        said, share = caption(record, lines), 1 / len(COMPONENTS)
        return ShownComponents(matrix, title, "Share of the layer", said, middle=share)
    unit = "nats" if target == "logprob" else "units of the decision"
    what = (
        f"Mean absolute change of {TARGETS[target]}, in {unit}, when a component is replaced by "
        "its mean"
    )
    empty = bool(matrix.isna().to_numpy().any())
    grey = ["Grey: the layer does not have it, or nothing of it reaches the target."] * empty
    label, note = f"Mean absolute change, {unit}", ""
    if score == "ablation":
        lines = [f"{what}: measured for {n} test answers.", PATHS, *grey, *largest]
    else:
        said = agreement_words(record, target) or "Held against no replacement."
        lines = [f"{what}: estimated by gradients for {n} test answers.", said]
        if ranked(record, target):
            lines += [PATHS, *grey, *largest]
        else:
            note = "Not drawn: these estimates do not rank components\nas replacing them does."
            matrix, lines = matrix * np.nan, [*lines, SEE]
    return ShownComponents(matrix, title, label, caption(record, lines), note=note)


def component_widths(record: Record) -> dict[str, str]:
    """Widths to print below each component."""
    to = record.probe.width
    words = {}
    for site in COMPONENTS:
        if site in record.sites and (own := record.sites[site].widths):
            words[site] = extremes(own) + (f"→{to:,}" if to else "")
    return words
