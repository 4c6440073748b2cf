"""Maps: finished numbers in, a picture out. Nothing here computes a score or imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VMIN, VMAX = 0.5, 1.0


def plot_positions(
    matrix: pd.DataFrame,
    selected: tuple[str, str] | None = None,
    *,
    ax: Axes | None = None,
    vmin: float = VMIN,
    vmax: float = VMAX,
    title: str = "",
    caption: str = "",
    label: str = "Test AUROC",
) -> Axes:
    """Layer x position map in the published style: layers downwards, white to dark blue, absent cells grey.

    Args:
        matrix: layers (`emb`, `0`, `1`, ...) down, positions across, NaN where a cell is absent or masked.
        selected: (layer, position) to mark.
        ax: where to draw; a new figure when None.
        vmin: value drawn white.
        vmax: value drawn darkest.
        title: above the map.
        caption: in small type below it.
        label: what the colours mean.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    n_layers, n_positions = matrix.shape
    if ax is None:
        size = (2.2 + 0.46 * n_positions, 2.2 + max(0.22 * n_layers, 2.0))
        _, ax = plt.subplots(figsize=size, layout="constrained")
    values = matrix.astype(float)
    ax.set_facecolor("#d0d0d0")
    sns.heatmap(
        values,
        ax=ax,
        cmap="Blues",
        vmin=vmin,
        vmax=vmax,
        cbar_kws={"label": label, "pad": 0.02},
        xticklabels=True,
        yticklabels=False,
    )
    if n_layers <= 12 and n_positions <= 16:
        _write_values(ax, values, vmin, vmax)
    ticks = [i for i, name in enumerate(matrix.index) if not str(name).isdigit() or int(name) % 2 == 0]
    ax.set_yticks([i + 0.5 for i in ticks], [str(matrix.index[i]) for i in ticks], rotation=0)
    ax.set_xticklabels(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    if "emb" in matrix.index:
        ax.axhline(list(matrix.index).index("emb") + 1, color="#666666", linewidth=0.8)
    for edge in _block_edges(matrix.columns):
        ax.axvline(edge, color="#bbbbbb", linewidth=0.8, linestyle=":")
    if selected is not None and selected[0] in matrix.index and selected[1] in matrix.columns:
        at = list(matrix.columns).index(selected[1]), list(matrix.index).index(selected[0])
        ax.add_patch(plt.Rectangle(at, 1, 1, fill=False, edgecolor="#d95f02", linewidth=2.2, clip_on=False))
    ax.set_xlabel("Token")
    ax.set_ylabel("Layer")
    if title:
        ax.set_title(title, fontsize=11, loc="left")
    if caption:
        ax.figure.supxlabel(caption, fontsize=6, color="#555555", x=0.01, ha="left")
    return ax


def _write_values(ax: Axes, values: pd.DataFrame, vmin: float, vmax: float) -> None:
    """Two digits in each cell, dark on light and light on dark."""
    for (i, j), value in np.ndenumerate(values.to_numpy()):
        if np.isfinite(value):
            dark = (value - vmin) / (vmax - vmin) > 0.55
            text = f"{value:.2f}".removeprefix("0") if value < 0.995 else "1.0"
            ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=6.5, color="white" if dark else "#333333")


def _block_edges(positions: Sequence[str]) -> list[int]:
    """Where the answer's first tokens, the exact answer and the counted-back tokens meet."""
    starts = [name for name in ("exact_answer_before_first", "-8") if name in positions]
    return [list(positions).index(name) for name in starts if list(positions).index(name) > 0]


def save_figure(ax: Axes, folder: Path, name: str, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write a map as pictures, the same bytes for the same numbers."""
    import matplotlib.pyplot as plt

    paths, figure = [], ax.get_figure(root=True)
    assert figure is not None  # a map is always drawn on a figure
    for kind in formats:
        path = folder / f"{name}.{kind}"
        temporary = folder / f".{name}.tmp.{kind}"
        metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
        with plt.rc_context({"svg.hashsalt": "probebench", "svg.fonttype": "none"}):
            figure.savefig(temporary, format=kind, dpi=200, metadata=metadata)
        temporary.replace(path)
        paths.append(path)
    plt.close(figure)
    return paths


def map_from_record(record: dict[str, Any], matrix: pd.DataFrame, **options: Any) -> Axes:
    """The layer x position map of a finished run."""
    selection, test = record["selection"], record["counts"]["test"]
    positive = "true" if record["task"]["kind"] == "statements" else "correct"
    low, high = ("n/a" if end is None else f"{end:.2f}" for end in selection["test_auroc_95"])
    title = f"{record['model']['name']} on {record['task']['name']}"
    caption = (
        f"{record['probe']['name']} probe on site {selection['site']}, test AUROC, n = {test['n']} ({test['correct']} {positive}); "
        f"marked: cell selected on validation,\nlayer {selection['layer']}, {selection['position']}, "
        f"{selection['test_auroc']:.3f} [{low}, {high}]. Positive class: {positive}; grey: too few such tokens. "
        f"Protocol {record['protocol_version']}, probebench {record['package']['version']}."
    )
    settings = {"selected": (selection["layer"], selection["position"]), "title": title, "caption": caption, **options}
    return plot_positions(matrix, **settings)
