"""Pictures of docs/results.md: what the suite draws of finished runs, and two that set runs side by
side, layer curves and a forest of AUROCs. Written by `scripts/write_results.py`."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import hex2color
from PIL import Image
from scipy.spatial import cKDTree

from probebench.across.draw import draw
from probebench.across.transfer_map import draw_matrix
from probebench.maps.colours import LIGHT, SELECTED, ramp
from probebench.maps.style import save_figure, style
from probebench.record.run import Run
from probebench.text import defined
from probebench.types import layer_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from probebench.record.parts.measured import DetectorFacts

ALIKE = 24
"""How far of 255 a colour may move in any channel when a picture gets fewer."""
GROUND, SHADE = 800, 6
"""From how many pixels on a colour is the ground of cells, and how far it may move."""
LINES = (("#08519c", "-"), ("#1b7837", "--"), ("#333333", "-."))
"""Colour and dashes of models: neither the orange of what was selected nor the violet of what is
below chance."""
BESIDE = {
    "probe": ("probe", SELECTED, "o"),
    "best": ("best simpler signal (text only or embedding, where they are it)", "#08519c", "s"),
    "text": ("text only (TF-IDF)", "#666666", "^"),
    "text_embedding": ("text embedding", "#666666", "v"),
    "probe_random_model": ("same probe, random weights", "#1b7837", "D"),
}
"""Signals of the forest: label, colour, marker."""


def short(run: Run) -> str:
    """A model's name up to its size: `SmolLM2-135M`."""
    return short_name(run.record.model.name)


def short_name(name: str) -> str:
    """That of a file or a folder."""
    name = name.removesuffix(".gguf")
    found = re.match(r".*?-[\d.]+[MB](?=-|$)", name, re.IGNORECASE)
    return found[0] if found else name


def detector(run: Run, name: str | None) -> DetectorFacts | None:
    """A row of the run's table by its name."""
    return next((d for d in run.record.detectors if d.name == name), None)


def depth(run: Run, layer: str) -> float:
    """Where a layer lies, from the embedding row (0) to the last block (1)."""
    return (layer_number(layer) + 1) / run.record.model.n_layers


def keep(paths: Sequence[Path], target: Path) -> Path:
    """Give the one picture that was drawn its name, and leave nothing else behind."""
    for path in paths:
        if path.suffix == ".png":
            target.write_bytes(fewer_colours(path.read_bytes()))
        if path != target:
            path.unlink(missing_ok=True)
    return target


def fewer_colours(picture: bytes) -> bytes:
    """A PNG in 256 colours, in a third of the bytes: every version of it stays in the repository.

    Where the orange of the selected cell would become another colour, that and the colours of the
    scales are among the 256.
    """
    with Image.open(io.BytesIO(picture)) as image:
        whole = image.convert("RGB")
    few = whole.quantize(256, dither=Image.Dither.NONE)
    if _loses(whole, few):
        few = _with_scales(whole)
    out = io.BytesIO()
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


def _loses(whole: Image.Image, few: Image.Image) -> bool:
    """Is the orange of the selected cell another colour once there are few, or the ground of some
    cells one that stands for another value?"""
    before, after = (
        np.asarray(i.convert("RGB"), dtype=np.int16).reshape(-1, 3) for i in (whole, few)
    )
    orange = np.rint(255 * np.array(hex2color(SELECTED)))
    at = (before == orange).all(axis=-1)
    if at.any() and np.abs(after[at] - orange).max() > ALIKE:
        return True
    _, place, size = np.unique(before, axis=0, return_inverse=True, return_counts=True)
    wide = size[place.ravel()] >= GROUND
    return bool(np.abs(after[wide] - before[wide]).max(initial=0) > SHADE)


def _with_scales(whole: Image.Image) -> Image.Image:
    """Each pixel in the nearest of the scales' colours and of the picture's own most frequent."""
    scales = [ramp(c)(np.linspace(0, 1, 25))[:, :3] for c in (LIGHT.above, LIGHT.below)]
    meant = np.rint(255 * np.vstack([hex2color(SELECTED), *scales])).astype(np.uint8)
    own = whole.quantize(256 - len(meant), dither=Image.Dither.NONE).getpalette()
    colours = np.vstack([meant, np.reshape(own[: 3 * (256 - len(meant))], (-1, 3))])
    pixels = np.asarray(whole)
    there, place = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    nearest = cKDTree(colours).query(there)[1]
    few = Image.fromarray(nearest[place].reshape(pixels.shape[:2]).astype(np.uint8), mode="P")
    few.putpalette(colours.astype(np.uint8).tobytes())
    return few


def picture(runs: Sequence[Run], path: Path, kind: str = "positions", /, **options: object) -> Path:
    """A map of the suite under a name of the page."""
    return keep(draw(runs, path.parent, kind=kind, formats=("png",), **options), path)


def draw_transfers(matrix: pd.DataFrame, runs: Sequence[Run], target: Path) -> Path:
    """The map of the page's own table of transfer, whose runs may have no hidden states left.

    Args:
        matrix: its AUROCs (`results_tables.read_transfers`).
        runs: rows of its tasks.
        target: the picture.
    """
    n = [run.record.detectors[0].n for run in runs]
    with style("publication"):
        axes = draw_matrix(matrix, [run.record for run in runs], n)
        return keep(save_figure(axes, target.parent, target.stem, ("png",)), target)


def relative_curve(run: Run, position: str) -> pd.DataFrame:
    """Test AUROC with its interval by depth, from the embedding row (0) to the last block (1)."""
    values = {m: run.matrix(m)[position] for m in ("auroc", "auroc_low", "auroc_high")}
    table = pd.DataFrame(values)
    table["depth"] = [depth(run, layer) for layer in table.index]
    return table


def draw_curves(by_task: dict[str, list[Run]], target: Path, position: str) -> Path:
    """One panel per task, one line per model."""
    names = list(dict.fromkeys(short(run) for runs in by_task.values() for run in runs))
    columns = min(4, len(by_task))
    lines = -(-len(by_task) // columns)
    with style("publication"):
        figure, axes = plt.subplots(
            lines, columns, figsize=(2.6 * columns, 2.3 * lines + 0.5), sharey=True, squeeze=False
        )
        for ax, (task, runs) in zip(axes.flat, by_task.items(), strict=False):
            ax.axhline(0.5, color="#888888", linewidth=0.8, linestyle=":")
            for run in runs:
                curve = relative_curve(run, position)
                colour, dashes = LINES[names.index(short(run)) % len(LINES)]
                ax.fill_between(
                    curve.depth,
                    curve.auroc_low,
                    curve.auroc_high,
                    color=colour,
                    alpha=0.12,
                    linewidth=0,
                )
                ax.plot(curve.depth, curve.auroc, dashes, c=colour, lw=1.4, label=short(run))
            ax.set(title=task, ylim=(0.2, 1.02), xlim=(0, 1), xticks=[0, 0.5, 1])
            _calm(ax)
        for ax in axes.flat[len(by_task) :]:
            ax.set_visible(False)
        for ax in axes[:, 0]:
            ax.set_ylabel("Test AUROC")
        figure.supxlabel(
            f"Depth: 0 is the embedding row, 1 the last block; token {position}", fontsize=9
        )
        handles = {
            label: handle
            for ax in axes.flat
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            handles.values(), handles, loc="upper center", ncols=3, frameon=False, fontsize=8
        )
        figure.tight_layout(rect=(0, 0, 1, 0.94))
        return keep(save_figure(axes[0, 0], target.parent, target.stem, ("png",)), target)


def signals(run: Run) -> dict[str, tuple[float, float, float]]:
    """AUROC and interval ends of the signals of the forest, on the examples of the run's table; the
    best simpler signal stands there once."""
    record, found = run.record, {}
    against = record.readable and (record.readable.after or record.readable.before)
    best = against.best_baseline.name if against else None
    for key in BESIDE:
        row = detector(run, best if key == "best" else key)
        if row is not None and key == best:
            continue
        if row is not None and all(map(defined, row.auroc_95)):
            found[key] = (row.auroc, *row.auroc_95)
    return found


def draw_forest(runs: Sequence[Run], target: Path) -> Path:
    """A line per run: the probe and simpler signals with their intervals."""
    with style("publication"):
        figure, ax = plt.subplots(figsize=(8.2, 0.42 * len(runs) + 1.5))
        ax.axvline(0.5, color="#888888", linewidth=0.8, linestyle=":")
        offsets = dict(zip(BESIDE, np.linspace(-0.3, 0.3, len(BESIDE)), strict=True))
        for y, run in enumerate(runs):
            for key, (value, low, high) in signals(run).items():
                label, colour, marker = BESIDE[key]
                ax.hlines(y + offsets[key], low, high, color=colour, linewidth=1)
                ax.plot(value, y + offsets[key], marker, color=colour, markersize=4, label=label)
        ax.set_yticks(range(len(runs)), [f"{r.record.task.name}, {short(r)}" for r in runs])
        ax.set(xlim=(0, 1.02), ylim=(len(runs) - 0.4, -0.6), xlabel="Test AUROC, 95 % intervals")
        handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        shown = {label: handles[label] for label, _, _ in BESIDE.values() if label in handles}
        figure.legend(shown.values(), shown, loc="upper center", ncols=3, frameon=False, fontsize=8)
        _calm(ax)
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.45 / figure.get_figheight()))
        return keep(save_figure(ax, target.parent, target.stem, ("png",)), target)


def _calm(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="both", color="#e6e6e6", linewidth=0.5)
    ax.set_axisbelow(True)
