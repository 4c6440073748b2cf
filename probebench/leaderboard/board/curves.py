"""Layer curves of a task's page: test AUROC by depth at the token that each selected cell reads, a
line per model, drawn without scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
BANDS = 4
"""Lines up to which their intervals are drawn too."""


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
    band: str = ""
    """The same of its 95 % intervals, each stretch closed."""


def layer_curve(entry: Entry) -> LayerCurve | None:
    """The line of a submission; None for figures from papers and old versions of a task."""
    chosen = entry.selection
    if chosen is None or not entry.current:
        return None
    line = {
        c.layer: c for c in entry.cells if c.site == chosen.site and c.position == chosen.position
    }
    own = line[chosen.layer].auroc if chosen.layer in line else None
    if own is None:
        return None
    blocks = entry.n_layers or max(max(map(layer_number, line)) + 1, 1)
    cells = [
        ((layer_number(layer) + 1) / blocks, line[layer]) for layer in entry.layers if layer in line
    ]
    path = " ".join(_strokes([(depth, c.auroc) for depth, c in cells]))
    band = " ".join(_closed([(depth, c.low, c.high) for depth, c in cells]))
    return LayerCurve(model_of(entry), chosen.position, own, path, band)


def across(depth: float) -> float:
    """Where a depth, 0 to 1, stands in the picture."""
    return BOX[0] + depth * (BOX[1] - BOX[0])


def down(auroc: float) -> float:
    """Where an AUROC stands in the picture."""
    return BOX[3] - (max(auroc, LEAST) - LEAST) / (1 - LEAST) * (BOX[3] - BOX[2])


def best_curves(curves: Sequence[LayerCurve]) -> list[LayerCurve]:
    """Those that are drawn, best selected cell first."""
    return sorted(curves, key=lambda c: (-c.auroc, c.model.name))[:MOST]


def colours(drawn: Sequence[LayerCurve], order: Mapping[str, int]) -> list[tuple[int, LayerCurve]]:
    """The lines with numbers of colours: a model has its own on every page, and where two want one,
    the later takes the next that is free.

    Args:
        drawn: as `best_curves` gives them.
        order: slug of a model -> its place among all.
    """
    free, taken = set(range(MOST)), {}
    for slug in sorted((c.model.slug for c in drawn), key=order.__getitem__):
        wanted = order[slug] % MOST
        taken[slug] = wanted if wanted in free else min(free)
        free.remove(taken[slug])
    return [(taken[c.model.slug], c) for c in drawn]


def places(curves: Iterable[LayerCurve]) -> dict[str, int]:
    """Slug of a model -> its place: most lines first, then by name."""
    count = Counter(c.model.slug for c in curves)
    return {slug: i for i, slug in enumerate(sorted(count, key=lambda s: (-count[s], s)))}


def _closed(cells: Sequence[tuple[float, float | None, float | None]]) -> Iterator[str]:
    """Outlines around runs of intervals: along the upper ends and back along the lower ones."""
    run: list[tuple[float, float, float]] = []
    for depth, low, high in (*cells, (0.0, None, None)):
        if low is not None and high is not None:
            run.append((depth, low, high))
            continue
        if len(run) > 1:
            upper = _strokes([(d, high) for d, _, high in run])
            lower = _strokes([(d, low) for d, low, _ in reversed(run)])
            yield " ".join([*upper, *("L" + s[1:] for s in lower), "Z"])
        run = []


def _strokes(points: Sequence[tuple[float, float | None]]) -> Iterator[str]:
    pen = "M"
    for depth, auroc in points:
        if auroc is None:
            pen = "M"
            continue
        yield f"{pen}{across(depth):.1f} {down(auroc):.1f}"
        pen = "L"
