"""What all maps are drawn with: axes, coloured cells, ticks, marks and the words around them."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probebench.maps.colours import Scale, palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 12
"""Rows that all have a tick."""
TITLE, CAPTION = 11, 6
"""Their sizes in points."""
LETTERS = 126
"""Letters per inch of a type of one point."""
BESIDE = 0.7
"""Inches to the left of a title."""
GAP = 0.3
"""Columns between a map and the strip beside it."""
LINE = 8
"""Points that a line of type takes."""
ABOVE = 16
"""Points between a map and its title where letters stand between them."""


def axes_of(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """`ax`, or the axes of a new figure of this size in inches."""
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def colour_cells(ax: Axes, matrix: pd.DataFrame, scale: Scale, label: str) -> None:
    """The cells of a table in the colours of a scale; those that are NaN grey."""
    import seaborn as sns

    ax.set_facecolor(palette().absent)
    sns.heatmap(
        matrix.astype(float),
        ax=ax,
        cmap=scale.colours,
        vmin=scale.low,
        vmax=scale.high,
        cbar_kws={"label": label, "pad": 0.02},
        xticklabels=True,
        yticklabels=False,
    )


def label_axes(ax: Axes, x: str, y: str, title: str, caption: str, lettered: bool = False) -> Axes:
    """Names of both axes, a title above (and above the letters of the columns) and a caption below,
    each left out where it is empty."""
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    figure = ax.get_figure(root=True)
    if figure is None:
        return ax
    width = figure.get_figwidth()
    if title:
        beside = [other for other in figure.axes if other is not ax and _wide(other)]
        room = width * ax.get_position().width if beside else width - BESIDE
        lines = _wrapped(title, room, TITLE)
        pad = ABOVE if lettered else None
        ax.set_title(lines, fontsize=TITLE, loc="left", pad=pad, parse_math=False)
    if caption:
        words = _wrapped(caption, width, CAPTION)
        figure.supxlabel(words, fontsize=CAPTION, x=0.01, ha="left", parse_math=False)
    return ax


def _wide(ax: Axes) -> bool:
    """Is this more than the bar of a map's colours?"""
    return bool(ax.get_position().width > 0.1)


def _wrapped(text: str, inches: float, size: float) -> str:
    """Text in lines that a picture of this width holds."""
    per_line = max(int(inches * LETTERS / size), 16)
    return "\n".join(
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, per_line, break_on_hyphens=False)
    )


def layer_ticks(ax: Axes, rows: Sequence[Any], every: int) -> None:
    """Ticks at the embedding row, the first and the last layer, and at every so many between, as
    far as there is room."""
    names = list(map(str, rows))
    every, last = every if len(names) > FEW else 1, len(names) - 1
    first = next((i for i, name in enumerate(names) if name.isdigit()), 0)
    steps = {i for i, name in enumerate(names) if not name.isdigit() or int(name) % every == 0}
    ticks = thinned([0, last, *sorted(steps | {first, last})], apart(ax, len(names)))
    ax.set_yticks([i + 0.5 for i in ticks], [names[i] for i in ticks], rotation=0)


def two_digits(value: float) -> str:
    """A number as it stands in a cell."""
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else f"{value:.1f}"


def write(
    ax: Axes, at: tuple[float, float], text: str, size: float, ink: str, around: Any = None
) -> None:
    """A few letters around a point, in points of type; where lines cross them, in a rim of the
    colour `around`."""
    from matplotlib.patheffects import withStroke

    rim = [] if around is None else [withStroke(linewidth=2, foreground=around)]
    ax.text(*at, text, ha="center", va="center", fontsize=size, color=ink, path_effects=rim)


def write_values(
    ax: Axes,
    values: pd.DataFrame,
    scale: Scale,
    hatched: pd.DataFrame | None = None,
    size: float = 6.5,
) -> None:
    """Two digits in each cell, dark on light and light on dark."""
    for (i, j), value in np.ndenumerate(values.to_numpy(dtype=float)):
        if np.isfinite(value):
            crossed = hatched is not None and bool(hatched.iat[i, j])
            rim = scale.colour(value) if crossed else None
            write(ax, (j + 0.5, i + 0.5), two_digits(value), size, scale.ink(value), rim)


def hatch(ax: Axes, where: pd.DataFrame) -> None:
    """Hatch the cells that are True."""
    import matplotlib.pyplot as plt

    for i, j in np.argwhere(where.to_numpy(dtype=bool)):
        ax.add_patch(
            plt.Rectangle(
                (j, i), 1, 1, fill=False, hatch="////", edgecolor=palette().pale, linewidth=0
            )
        )


def frame(ax: Axes, at: tuple[int, int], colour: str, width: float) -> None:
    """A frame around one cell.

    Args:
        ax: where the map is drawn.
        at: column and row of the cell.
        colour: of the frame.
        width: of its line, in points.
    """
    import matplotlib.pyplot as plt

    ax.add_patch(
        plt.Rectangle(at, 1, 1, fill=False, edgecolor=colour, linewidth=width, clip_on=False)
    )


def mark_columns(
    ax: Axes, names: Sequence[str], pale: Collection[str], letters: Mapping[str, str]
) -> None:
    """Pale names below some columns, small letters above others."""
    for j, (tick, name) in enumerate(zip(ax.get_xticklabels(), names, strict=True)):
        tick.set_color(palette().pale if name in pale else tick.get_color())
        if name in letters:
            ax.text(j + 0.5, -0.05, letters[name], ha="center", va="bottom", fontsize=6.5)


def flag(ax: Axes, at: tuple[int, int], ink: str) -> None:
    """An exclamation mark in the upper right corner of one cell, given as column and row."""
    x, y = at[0] + 0.97, at[1] + 0.03
    ax.text(x, y, "!", ha="right", va="top", fontsize=7, color=ink, weight="bold")


def side_strip(ax: Axes, best: pd.Series, scale: Scale, selected: int | None) -> None:
    """A column of its own at the right edge, one value of each row, in the map's colours; numbers
    in as many rows as there is room for, of the selected, the first and the last row before
    others."""
    import matplotlib.pyplot as plt

    figure, mesh, rows = ax.get_figure(root=True), ax.collections[0], len(best)
    assert figure is not None  # a map is always drawn on a figure
    at = ax.get_xlim()[1] + GAP
    values = best.to_numpy(dtype=float)
    ax.pcolormesh(
        [at, at + 1], np.arange(rows + 1), values[:, None], cmap=mesh.cmap, norm=mesh.norm
    )
    face = figure.get_facecolor()
    ax.add_patch(plt.Rectangle((at - GAP, 0), GAP, rows, color=face, linewidth=0, zorder=3))
    ax.set_xlim(0, at + 1)
    steps = apart(ax, rows)
    first = [i for i in (selected, 0, rows - 1) if i is not None]
    for i in thinned([*first, *range(0, rows, steps)], steps):
        if np.isfinite(values[i]):
            write(ax, (at + 0.5, i + 0.5), two_digits(values[i]), 6.5, scale.ink(values[i]))
    name = textwrap.fill(str(best.name), 10)
    place = {"xy": (at + 0.5, 0), "xycoords": ax.get_xaxis_transform()}
    ax.annotate(
        name,
        **place,
        xytext=(0, -5),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=6.5,
    )


def apart(ax: Axes, rows: int) -> int:
    """Of so many rows of a map, every how many can have a line of type."""
    figure = ax.get_figure(root=True)
    assert figure is not None  # a map is always drawn on a figure
    return int(np.ceil(LINE * rows / (72 * figure.get_figheight() * ax.get_position().height)))


def thinned(rows: Iterable[int], steps: int) -> list[int]:
    """Those rows that are no nearer than so many to one that comes before them, in order."""
    chosen: list[int] = []
    for row in rows:
        if all(abs(row - other) >= steps for other in chosen):
            chosen.append(row)
    return sorted(chosen)


def block_edges(positions: Sequence[str]) -> list[int]:
    """Where the answer's first tokens, the exact answer, the counted-back tokens and the further
    columns meet."""
    names = list(positions)
    starts = [name for name in ("exact_answer_before_first", "-8") if name in names]
    edges = [names.index(name) for name in starts]
    if "-1" in names and names[-1] != "-1":
        edges.append(names.index("-1") + 1)
    return [edge for edge in edges if edge > 0]
