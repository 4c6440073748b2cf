"""Maps: finished numbers in, a picture out. Nothing here computes a score or imports torch.

Every map is a function of a table and an optional Axes, so that it can be drawn into a figure of
one's own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from probebench.maps.axes import (
    GAP,
    axes_of,
    block_edges,
    colour_cells,
    flag,
    frame,
    hatch,
    label_axes,
    layer_ticks,
    mark_columns,
    side_strip,
    two_digits,
    write,
    write_values,
)
from probebench.maps.colours import BLUE, CHANCE, RED, SELECTED, Scale, palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TALL, WIDE = 40, 16
"""Rows and columns of maps that have their numbers written in them, and rows that make a picture
taller."""


def numbered(matrix: pd.DataFrame) -> bool:
    """Has a map of this table its numbers in its cells? Larger ones have a strip beside them."""
    return len(matrix.index) <= TALL and len(matrix.columns) <= WIDE


def _size(matrix: pd.DataFrame, column: float, row: float, below: float) -> tuple[float, float]:
    """Inches of a picture, of whose columns and rows these are the inches."""
    columns = matrix.shape[1] + (0 if numbered(matrix) else 1 + GAP)
    return 2.2 + column * columns, below + max(row * min(matrix.shape[0], TALL), 2.0)


def _beside(
    ax: Axes, matrix: pd.DataFrame, best: pd.Series | None, scale: Scale, row: int | None = None
) -> None:
    """The strip of a map that has no numbers."""
    if not numbered(matrix):
        highest = matrix.max(axis=1).rename("highest")
        side_strip(ax, highest if best is None else best, scale, row)


def plot_positions(
    matrix: pd.DataFrame,
    selected: tuple[str, str] | None = None,
    *,
    ax: Axes | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    title: str = "",
    caption: str = "",
    label: str = "Test AUROC",
    hatched: pd.DataFrame | None = None,
    flagged: Collection[tuple[str, str]] = (),
    pale: Collection[str] = (),
    letters: Mapping[str, str] | None = None,
    best: pd.Series | None = None,
) -> Axes:
    """Layer x position map in the published style: layers downwards, white at chance to dark blue,
    violet below chance, absent cells grey.

    Args:
        matrix: layers (`emb`, `0`, `1`, ...) down, positions across, NaN where a cell is absent or
            masked.
        selected: (layer, position) to mark.
        ax: where to draw; a new figure when None.
        vmin: lower end of the colours; when None chance, which is white, or the tenth below the
            least value.
        vmax: value drawn darkest; 1.0 when None.
        title: above the map.
        caption: in small type below it.
        label: what the colours mean.
        hatched: boolean table like `matrix`, True for cells to hatch: those not distinguishable
            from chance.
        flagged: (layer, position) of cells to mark with an exclamation mark: fits not converged.
        pale: positions whose names are pale: they are never selected.
        letters: of some positions a letter above the column: those of one letter are one token.
        best: of each layer what stands beside a map too large for numbers; None: the highest.
    """
    scale = Scale.of_aurocs(matrix, vmin, vmax)
    ax = axes_of(ax, _size(matrix, 0.46, 0.22, 2.2))
    colour_cells(ax, matrix, scale, label)
    if hatched is not None:
        hatched = hatched.reindex(index=matrix.index, columns=matrix.columns, fill_value=False)
        hatch(ax, hatched)
    if numbered(matrix):
        write_values(ax, matrix, scale, hatched)
    layer_ticks(ax, matrix.index, every=2)
    ax.set_xticklabels(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    mark_columns(ax, list(matrix.columns), pale, letters or {})
    _part(ax, matrix)
    places = {
        (layer, name): (j, i)
        for i, layer in enumerate(matrix.index)
        for j, name in enumerate(matrix.columns)
    }
    for cell in (cell for cell in flagged if cell in places):
        flag(ax, places[cell], scale.ink(float(matrix.at[cell])))
    if selected in places:
        frame(ax, places[selected], SELECTED, 2.2)
    _beside(ax, matrix, best, scale, places[selected][1] if selected in places else None)
    return label_axes(ax, "Token", "Layer", title, caption, bool(letters))


def _part(ax: Axes, matrix: pd.DataFrame) -> None:
    """Lines between the embedding row and the layers, and between blocks of positions."""
    if "emb" in matrix.index:
        ax.axhline(list(matrix.index).index("emb") + 1, color=palette().pale, linewidth=0.8)
    for edge in block_edges(matrix.columns):
        ax.axvline(edge, color=palette().pale, linewidth=0.8, linestyle=":")


def plot_components(
    matrix: pd.DataFrame,
    *,
    widths: dict[str, str] | None = None,
    ax: Axes | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    title: str = "",
    caption: str = "",
    label: str = "Test AUROC",
    middle: float | None = CHANCE,
    note: str = "",
    best: pd.Series | None = None,
) -> Axes:
    """Layer x component map: violet below, white at, blue above the middle; amounts without one
    from white to green; absent cells grey.

    Args:
        matrix: layers down, components (`attn.q`, ...) across, NaN where a layer does not have one.
        widths: of each component, its width in words, written below its name.
        ax: where to draw; a new figure when None.
        vmin: lower end of the colours; when None that of other maps of AUROC, or of other numbers
            the smallest, or the middle.
        vmax: upper end of the colours; when None 1.0, or of other numbers the largest.
        title: above the map; says which quantity is drawn.
        caption: in small type below it.
        label: what the colours mean.
        middle: of the colours: chance for AUROCs, or the share that all would have; None for
            amounts from 0 on.
        note: written across the map, where nothing is drawn.
        best: of each layer what stands beside a map too large for numbers, under its name; None:
            the highest.
    """
    scale = (
        Scale.of_aurocs(matrix, vmin, vmax)
        if middle == CHANCE
        else Scale.around(matrix, middle, vmin, vmax)
    )
    ax = axes_of(ax, _size(matrix, 0.72, 0.2, 2.4))
    colour_cells(ax, matrix, scale, label)
    if numbered(matrix):
        write_values(ax, matrix, scale)
    layer_ticks(ax, matrix.index, every=3)
    names = [
        f"{name}\n{widths[name]}" if widths and name in widths else str(name)
        for name in matrix.columns
    ]
    ax.set_xticks(np.arange(len(names)) + 0.5, names, rotation=0, fontsize=7.5)
    if not note:
        _beside(ax, matrix, best, scale)
    else:
        ax.text(0.5, 0.5, note, transform=ax.transAxes, ha="center", va="center", fontsize=9)
    return label_axes(ax, "Component", "Layer", title, caption)


def plot_sublayers(
    strip: pd.DataFrame, *, ax: Axes | None = None, title: str = "", caption: str = ""
) -> Axes:
    """Two rows of numbered sublayers, `MLP` (2, 4, ...) above `ATT` (1, 3, ...), each with its
    AUROC: selected ones blue and red, others grey.

    Args:
        strip: one row per sublayer with columns `sublayer` (1, 2, ...), `kind` (`ATT` or `MLP`) and
            `selected`; rows whose `auroc` is NaN are drawn hatched.
        ax: where to draw; a new figure when None.
        title: above the strip.
        caption: in small type below it; says the rule of selection and the numbering.
    """
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    n = int((strip["sublayer"].max() + 1) // 2)
    width = max(6.0, 1.2 + 0.34 * n)
    ax, grey = axes_of(ax, (width, 1.4 + 2 * (width - 0.8) / n)), palette().grey
    face = mpl.rcParams["figure.facecolor"]
    for row in strip.itertuples():
        x, y = (row.sublayer - 1) // 2, 1 if row.kind == "ATT" else 0
        colour = (BLUE if row.kind == "MLP" else RED) if row.selected else grey
        there, ink = np.isfinite(row.auroc), "white" if row.selected else palette().near
        ax.add_patch(
            plt.Rectangle(
                (x, y), 1, 1, facecolor=colour, edgecolor=face, hatch=None if there else "////"
            )
        )
        write(ax, (x + 0.5, y + (0.34 if there else 0.5)), str(row.sublayer), 7.5, ink)
        if there:
            write(ax, (x + 0.5, y + 0.72), two_digits(row.auroc), 6, ink)
    chosen = strip.selected.astype(bool)
    key = [
        (colour, words)
        for colour, words, there in (
            (BLUE, "MLP, selected", (chosen & (strip.kind == "MLP")).any()),
            (RED, "attention, selected", (chosen & (strip.kind == "ATT")).any()),
            (grey, "not selected", not chosen.all()),
        )
        if there
    ]
    ax.legend(
        handles=[plt.Rectangle((0, 0), 1, 1, facecolor=c, label=words) for c, words in key],
        loc="upper right",
        bbox_to_anchor=(1, 0),
        ncols=len(key),
        frameon=False,
        fontsize=6.5,
        borderaxespad=0.2,
    )
    ax.set(xlim=(0, n), ylim=(2, 0), aspect="equal")
    ax.set_xticks([])
    ax.set_yticks([0.5, 1.5], ["MLP", "ATT"])
    ax.tick_params(length=0)
    for edge in ax.spines.values():
        edge.set_visible(False)
    return label_axes(ax, "", "", title, caption)


def plot_transfer(
    matrix: pd.DataFrame,
    *,
    ax: Axes | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    title: str = "",
    caption: str = "",
    label: str = "Test AUROC",
) -> Axes:
    """Train task x test task map with the numbers in the cells; the diagonal is the probe on its
    own task.

    Args:
        matrix: train tasks down, test tasks across, NaN where a probe cannot be applied. A line
            parts rows that are no test task, such as a probe of several tasks, from what is above
            them.
        ax: where to draw; a new figure when None.
        vmin: lower end of the colours; when None chance, which is white, or the tenth below the
            least value.
        vmax: value drawn darkest; 1.0 when None.
        title: above the map.
        caption: in small type below it.
        label: what the colours mean.
    """
    scale = Scale.of_aurocs(matrix, vmin, vmax)
    n = max(matrix.shape)
    ax = axes_of(ax, (2.8 + 0.62 * n, 2.2 + 0.55 * n))
    colour_cells(ax, matrix, scale, label)
    write_values(ax, matrix, scale, size=8)
    for i, name in enumerate(matrix.index):
        if name in matrix.columns:
            at = list(matrix.columns).index(name), i
            frame(ax, at, palette().pale, 1.0)
        else:
            ax.axhline(i, color=palette().pale, linewidth=0.8)
    ax.set_xticks(
        np.arange(matrix.shape[1]) + 0.5,
        list(matrix.columns),
        rotation=45,
        ha="right",
        rotation_mode="anchor",
    )
    ax.set_yticks(np.arange(matrix.shape[0]) + 0.5, list(matrix.index), rotation=0)
    return label_axes(ax, "Test task", "Train task", title, caption)
