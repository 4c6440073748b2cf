"""Maps: finished numbers in, a picture out. Nothing here computes a score or imports torch.

Every map is a function of a table and an optional Axes, so that it can be drawn into a figure of
one's own.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probebench.errors import UnknownNameError
from probebench.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VMIN, VMAX = 0.5, 1.0
FEW = 6
"""Rows that all have a tick."""
LETTERS = 21
"""Letters of a caption per inch."""
FORMATS = ("png", "svg", "pdf")
ABSENT, SELECTED, BLUE, RED, GREY = "#d0d0d0", "#d95f02", "#2f6fb3", "#c0392b", "#e4e4e4"
STYLES: dict[str, dict[str, Any]] = {
    "publication": {
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "text.color": "#111111",
        "font.size": 9,
    },
    "screen": {
        "figure.facecolor": "#14181d",
        "savefig.facecolor": "#14181d",
        "text.color": "#e8e8e8",
        "axes.labelcolor": "#e8e8e8",
        "xtick.color": "#e8e8e8",
        "ytick.color": "#e8e8e8",
        "axes.edgecolor": "#8a8f96",
        "font.size": 10.5,
    },
}
"""Both bring their own opaque background, so that a map reads the same on a white and on a dark
page."""


@contextmanager
def style(name: str) -> Iterator[None]:
    """Draw and save inside this to have one of the two looks.

    Raises:
        UnknownNameError: no such style.
    """
    import matplotlib.pyplot as plt

    if name not in STYLES:
        raise UnknownNameError("style", name, STYLES)
    with plt.rc_context(
        {**STYLES[name], "svg.hashsalt": "probebench", "svg.fonttype": "none", "pdf.fonttype": 42}
    ):
        yield


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
) -> Axes:
    """Layer x position map in the published style: layers downwards, white to dark blue, absent
    cells grey.

    Args:
        matrix: layers (`emb`, `0`, `1`, ...) down, positions across, NaN where a cell is absent or
            masked.
        selected: (layer, position) to mark.
        ax: where to draw; a new figure when None.
        vmin: value drawn white; 0.5 when None.
        vmax: value drawn darkest; 1.0 when None.
        title: above the map.
        caption: in small type below it.
        label: what the colours mean.
        hatched: boolean table like `matrix`, True for cells to hatch: those not distinguishable
            from chance.
        flagged: (layer, position) of cells to mark with an exclamation mark: their fit did not
            converge.
    """
    import matplotlib.pyplot as plt

    low, high = VMIN if vmin is None else vmin, VMAX if vmax is None else vmax
    ax = _axes(ax, (2.2 + 0.46 * matrix.shape[1], 2.2 + max(0.22 * matrix.shape[0], 2.0)))
    _draw(ax, matrix, "Blues", low, high, label)
    if matrix.shape[0] <= 12 and matrix.shape[1] <= 16:
        _write_values(ax, matrix, lambda v: (v - low) / (high - low) > 0.55)
    _layer_ticks(ax, matrix.index, every=2)
    ax.set_xticklabels(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    if "emb" in matrix.index:
        ax.axhline(list(matrix.index).index("emb") + 1, color="#666666", linewidth=0.8)
    for edge in _block_edges(matrix.columns):
        ax.axvline(edge, color="#999999", linewidth=0.8, linestyle=":")
    if hatched is not None:
        _hatch(ax, hatched.reindex(index=matrix.index, columns=matrix.columns, fill_value=False))
    places = {
        (layer, name): (j, i)
        for i, layer in enumerate(matrix.index)
        for j, name in enumerate(matrix.columns)
    }
    for cell in flagged:
        if cell in places:
            ax.text(
                places[cell][0] + 0.97,
                places[cell][1] + 0.03,
                "!",
                ha="right",
                va="top",
                fontsize=7,
                color=RED,
                weight="bold",
            )
    if selected in places:
        ax.add_patch(
            plt.Rectangle(
                places[selected], 1, 1, fill=False, edgecolor=SELECTED, linewidth=2.2, clip_on=False
            )
        )
    return _words(ax, "Token", "Layer", title, caption)


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
) -> Axes:
    """Layer x component map: blue below, white at, orange above the middle of the data; absent
    cells grey.

    Args:
        matrix: layers down, components (`attn.q`, ...) across, NaN where a layer does not have one.
        widths: of each component, its width in words, written below its name.
        ax: where to draw; a new figure when None.
        vmin: value drawn darkest blue; the smallest when None.
        vmax: value drawn darkest orange; the largest when None.
        title: above the map; says which quantity is drawn.
        caption: in small type below it.
        label: what the colours mean.
    """
    from matplotlib.colors import LinearSegmentedColormap

    values = matrix.to_numpy(dtype=float)
    finite = values[np.isfinite(values)]
    low = vmin if vmin is not None else float(finite.min(initial=1.0))
    high = vmax if vmax is not None else float(finite.max(initial=0.0))
    low, high = (low, high) if low < high else (low - 0.01, low + 0.01)
    ax = _axes(ax, (2.2 + 0.72 * matrix.shape[1], 2.4 + max(0.2 * matrix.shape[0], 2.0)))
    colours = LinearSegmentedColormap.from_list(
        "blue-white-orange", ["#1f5fa8", "#9cc3e6", "#ffffff", "#f7bd84", "#d9690a"]
    )
    _draw(ax, matrix, colours, low, high, label)
    if matrix.shape[0] <= 12:
        _write_values(ax, matrix, lambda v: abs((v - low) / (high - low) - 0.5) > 0.42)
    _layer_ticks(ax, matrix.index, every=3)
    names = [
        f"{name}\n{widths[name]}" if widths and name in widths else str(name)
        for name in matrix.columns
    ]
    ax.set_xticks(np.arange(len(names)) + 0.5, names, rotation=0, fontsize=7.5)
    return _words(ax, "Component", "Layer", title, caption)


def plot_sublayers(
    strip: pd.DataFrame, *, ax: Axes | None = None, title: str = "", caption: str = ""
) -> Axes:
    """Two rows of numbered sublayers, `MLP` (2, 4, ...) above `ATT` (1, 3, ...): selected ones blue
    and red, others grey.

    Args:
        strip: one row per sublayer with columns `sublayer` (1, 2, ...), `kind` (`ATT` or `MLP`) and
            `selected`; rows whose `auroc` is NaN are drawn hatched.
        ax: where to draw; a new figure when None.
        title: above the strip.
        caption: in small type below it; says the rule of selection and the numbering.
    """
    import matplotlib.pyplot as plt

    n = int((strip["sublayer"].max() + 1) // 2)
    width = max(6.0, 1.2 + 0.34 * n)
    ax = _axes(ax, (width, 1.4 + 2 * (width - 0.8) / n))
    for row in strip.itertuples():
        x, y = (row.sublayer - 1) // 2, 1 if row.kind == "ATT" else 0
        chosen, colour = bool(row.selected), BLUE if row.kind == "MLP" else RED
        missing = not np.isfinite(row.auroc)
        ax.add_patch(
            plt.Rectangle(
                (x, y),
                1,
                1,
                facecolor=colour if chosen else GREY,
                edgecolor="white",
                hatch="////" if missing else None,
            )
        )
        ax.text(
            x + 0.5,
            y + 0.5,
            str(row.sublayer),
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if chosen else "#333333",
        )
    ax.set(xlim=(0, n), ylim=(2, 0), aspect="equal")
    ax.set_xticks([])
    ax.set_yticks([0.5, 1.5], ["MLP", "ATT"])
    ax.tick_params(length=0)
    for edge in ax.spines.values():
        edge.set_visible(False)
    return _words(ax, "", "", title, caption)


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
        vmin: value drawn white; 0.5 when None.
        vmax: value drawn darkest; 1.0 when None.
        title: above the map.
        caption: in small type below it.
        label: what the colours mean.
    """
    import matplotlib.pyplot as plt

    low, high = VMIN if vmin is None else vmin, VMAX if vmax is None else vmax
    n = max(matrix.shape)
    ax = _axes(ax, (2.8 + 0.62 * n, 2.2 + 0.55 * n))
    _draw(ax, matrix, "Blues", low, high, label)
    _write_values(ax, matrix, lambda v: (v - low) / (high - low) > 0.55, size=8)
    for i, name in enumerate(matrix.index):
        if name in matrix.columns:
            at = list(matrix.columns).index(name), i
            ax.add_patch(
                plt.Rectangle(
                    at, 1, 1, fill=False, edgecolor="#777777", linewidth=1.0, clip_on=False
                )
            )
        else:
            ax.axhline(i, color="#666666", linewidth=0.8)
    ax.set_xticks(
        np.arange(matrix.shape[1]) + 0.5,
        list(matrix.columns),
        rotation=45,
        ha="right",
        rotation_mode="anchor",
    )
    ax.set_yticks(np.arange(matrix.shape[0]) + 0.5, list(matrix.index), rotation=0)
    return _words(ax, "Test task", "Train task", title, caption)


def save_figure(ax: Axes, folder: Path, name: str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write a map as pictures, the same bytes for the same numbers, and close its figure."""
    import matplotlib.pyplot as plt

    paths, figure = [], ax.get_figure(root=True)
    assert figure is not None  # a map is always drawn on a figure
    for kind in formats:
        path, content = folder / f"{name}.{kind}", io.BytesIO()
        metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(
            kind, {}
        )
        with plt.rc_context(
            {"svg.hashsalt": "probebench", "svg.fonttype": "none", "pdf.fonttype": 42}
        ):
            figure.savefig(content, format=kind, dpi=200, metadata=metadata)
        write_atomic(path, content.getvalue())
        paths.append(path)
    plt.close(figure)
    return paths


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def _draw(
    ax: Axes, matrix: pd.DataFrame, colours: Any, low: float, high: float, label: str
) -> None:
    import seaborn as sns

    ax.set_facecolor(ABSENT)
    sns.heatmap(
        matrix.astype(float),
        ax=ax,
        cmap=colours,
        vmin=low,
        vmax=high,
        cbar_kws={"label": label, "pad": 0.02},
        xticklabels=True,
        yticklabels=False,
    )


def _words(ax: Axes, x: str, y: str, title: str, caption: str) -> Axes:
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    if title:
        ax.set_title(title, fontsize=11, loc="left")
    figure = ax.get_figure(root=True)
    if caption and figure is not None:
        per_line = max(int(figure.get_figwidth() * LETTERS), 40)
        lines = [part for line in caption.splitlines() for part in textwrap.wrap(line, per_line)]
        figure.supxlabel("\n".join(lines), fontsize=6, x=0.01, ha="left")
    return ax


def _layer_ticks(ax: Axes, rows: Sequence[Any], every: int) -> None:
    """Ticks at every so many layers and at the embedding row; with wide steps at the last layer
    too, as published."""
    names = list(map(str, rows))
    last = len(names) - 1 if every > 2 else None
    every = every if len(names) > FEW else 1
    ticks = [
        i
        for i, name in enumerate(names)
        if not name.isdigit() or int(name) % every == 0 or i == last
    ]
    ax.set_yticks([i + 0.5 for i in ticks], [names[i] for i in ticks], rotation=0)


def _write_values(ax: Axes, values: pd.DataFrame, dark: Any, size: float = 6.5) -> None:
    """Two digits in each cell, dark on light and light on dark."""
    for (i, j), value in np.ndenumerate(values.to_numpy(dtype=float)):
        if np.isfinite(value):
            text = f"{value:.2f}".removeprefix("0") if value < 0.995 else "1.0"
            ax.text(
                j + 0.5,
                i + 0.5,
                text,
                ha="center",
                va="center",
                fontsize=size,
                color="white" if dark(value) else "#333333",
            )


def _hatch(ax: Axes, where: pd.DataFrame) -> None:
    import matplotlib.pyplot as plt

    for i, j in np.argwhere(where.to_numpy(dtype=bool)):
        ax.add_patch(
            plt.Rectangle((j, i), 1, 1, fill=False, hatch="////", edgecolor="#9a9a9a", linewidth=0)
        )


def _block_edges(positions: Sequence[str]) -> list[int]:
    """Where the answer's first tokens, the exact answer, the counted-back tokens and the further
    columns meet."""
    names = list(positions)
    starts = [name for name in ("exact_answer_before_first", "-8") if name in names]
    edges = [names.index(name) for name in starts]
    if "-1" in names and names[-1] != "-1":
        edges.append(names.index("-1") + 1)
    return [edge for edge in edges if edge > 0]
