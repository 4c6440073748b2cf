"""Layer curves of a task's page: test AUROC by depth at the token that each selected cell reads, a
line per model, drawn without scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probebench.leaderboard.board.models import model_of
from probebench.types import layer_number

if TYPE_CHECKING:
    from probebench.leaderboard.board.entries import Entry
    from probebench.leaderboard.board.models import Model

BOX = (46.0, 594.0, 10.0, 222.0)
"""Left, right, upper and lower end of the plot, in the picture's units."""
LEAST = 0.3
"""AUROC at the lower end; what is below stands there."""
MOST = 8
"""Lines that can be told apart: those of the best selected cells."""


@dataclass(frozen=True, slots=True)
class LayerCurve:
    """One line."""

    model: Model
    position: str
    """Token that the selected cell reads."""
    auroc: float
    """Of the selected cell, on test."""
    path: str
    """Of an SVG `path`; broken where a layer has no number."""


def layer_curve(entry: Entry) -> LayerCurve | None:
    """The line of a submission; None for figures from papers and old versions of a task."""
    chosen = entry.selection
    if chosen is None or not entry.current:
        return None
    line = {
        c.layer: c.auroc
        for c in entry.cells
        if c.site == chosen.site and c.position == chosen.position
    }
    own = line.get(chosen.layer)
    if own is None:
        return None
    blocks = entry.n_layers or max(max(map(layer_number, line)) + 1, 1)
    points = [
        ((layer_number(layer) + 1) / blocks, line.get(layer))
        for layer in entry.layers
        if layer in line
    ]
    return LayerCurve(model_of(entry), chosen.position, own, " ".join(_strokes(points)))


def across(depth: float) -> float:
    """Where a depth, 0 to 1, stands in the picture."""
    return BOX[0] + depth * (BOX[1] - BOX[0])


def down(auroc: float) -> float:
    """Where an AUROC stands in the picture."""
    return BOX[3] - (max(auroc, LEAST) - LEAST) / (1 - LEAST) * (BOX[3] - BOX[2])


def best_curves(curves: Sequence[LayerCurve]) -> list[LayerCurve]:
    """Those that are drawn, best selected cell first."""
    return sorted(curves, key=lambda c: (-c.auroc, c.model.name))[:MOST]


def _strokes(points: Sequence[tuple[float, float | None]]) -> Iterator[str]:
    pen = "M"
    for depth, auroc in points:
        if auroc is None:
            pen = "M"
            continue
        yield f"{pen}{across(depth):.1f} {down(auroc):.1f}"
        pen = "L"
