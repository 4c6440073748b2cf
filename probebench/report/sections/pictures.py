"""The figures of a report: the run's maps, and plots of numbers that the record holds."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from probebench.errors import UsageError
from probebench.maps.axes import SELECTED
from probebench.maps.style import style
from probebench.record.maps import n_words
from probebench.record.run import Run
from probebench.record.tables import cells, default_position
from probebench.record.words import terms
from probebench.report.blocks import Column, Figure, Number, Row, Table
from probebench.report.format import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = {"light": "publication", "dark": "screen"}
"""Colour scheme of the reader -> look of the figures."""
GRID = "#8a8f96"
INK = {"publication": "#2f6fb3", "screen": "#7db4e8"}


def data_uri(figure: Figure, scheme: str) -> str:
    """A figure as an SVG in an address of its own; the same bytes for the same numbers.

    Args:
        figure: what to draw.
        scheme: `light` or `dark`.
    """
    import matplotlib.pyplot as plt

    buffer = io.StringIO()
    with style(STYLES[scheme]):
        ax = figure.plot()
        whole = ax.get_figure(root=True)
        assert whole is not None  # a figure is always drawn on one
        whole.savefig(
            buffer, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.04
        )
        plt.close(whole)
    text = re.sub(
        r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->",
        "",
        buffer.getvalue(),
        flags=re.DOTALL,
    )
    text = re.sub(r"\n\s*", "\n", text).strip()
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def positions_figure(run: Run) -> tuple[Figure, Table]:
    """The layer x position map of the selected cell's site, and its numbers."""
    s = run.record["selection"]
    site = s["site"]
    matrix = run.matrix("auroc", site=site)
    what, right, _ = terms(run.record)
    caption = (
        f"Test AUROC of one probe per layer (down) and token position (across), site {site}; "
        f"positive class: {right}. "
        f"Framed: the cell chosen on validation, layer {s['layer']}, {s['position']}, "
        f"{number(s['test_auroc'])} "
        f"{interval(s['test_auroc_95'])}, n = {s['n_test']:,}. Each cell is over the test {what} "
        "that have its token "
        f"({n_words(run.record, cells(run.scores)[lambda t: t.site == site])}). Grey: too few such "
        "tokens. Each cell is unbiased; "
        f"the highest of them all is not."
    )
    chosen = (
        f"Chosen on validation: layer {s['layer']}, {s['position']}, {number(s['test_auroc'])}, n "
        f"= {s['n_test']:,}."
    )
    alt = f"Heatmap of test AUROC, {spread(matrix, 'layer', 'position')} {chosen}"
    figure = Figure(
        caption, alt, partial(run.plot, "positions", site=site, title="", caption=""), wide=True
    )
    return figure, matrix_table(
        matrix, "map", f"Test AUROC by layer and position, site {site}", "Layer"
    )


def component_figures(run: Run) -> list[tuple[Figure, Table]]:
    """Maps of components, attribution and sublayers, as far as the run read them."""
    found = []
    position = default_position(run.record)
    try:
        matrix = run.components(position=position)
        n = n_words(run.record, cells(run.scores)[lambda t: t.position == position])
        caption = (
            f"Test AUROC of one probe per layer and component at {position}, {n}. Grey: not there "
            "in this layer, or not read."
        )
        alt = f"Heatmap of test AUROC, {spread(matrix, 'layer', 'component')}"
        figure = Figure(
            caption, alt, partial(run.plot, "components", title="", caption=""), wide=True
        )
        found.append(
            (
                figure,
                matrix_table(
                    matrix,
                    "components",
                    f"Test AUROC by layer and component at {position}",
                    "Layer",
                ),
            )
        )
    except UsageError:
        pass
    try:
        strip = run.sublayers(position=position)
        chosen = ", ".join(
            f"{row.kind} {row.sublayer} ({number(row.auroc)})"
            for row in strip[strip.selected].itertuples()
        )
        caption = (
            f"Sublayers with the highest validation AUROC at {position}, n = "
            f"{_range(strip.n[strip.n > 0])} test examples: "
            f"attention of layer l is number 2l + 1, its MLP 2l + 2. "
            f"Blue: MLP, red: attention."
        )
        figure = Figure(
            caption,
            f"Strip of {len(strip)} sublayers; selected, with test AUROC: {chosen}.",
            partial(run.plot, "sublayers", title="", caption=""),
            wide=True,
        )
        columns = (
            Column("Sublayer"),
            Column("Kind"),
            Column("Layer", True),
            Column("Validation", True),
            Column("Test", True),
        )
        rows = [
            Row(
                (str(r.sublayer), r.kind, str(r.layer), _cell(r.validation_auroc), _cell(r.auroc)),
                bool(r.selected),
            )
            for r in strip.itertuples()
        ]
        found.append(
            (
                figure,
                Table(
                    "sublayers",
                    f"AUROC of each sublayer's output at {position}",
                    columns,
                    tuple(rows),
                    folded=True,
                ),
            )
        )
    except UsageError:
        pass
    for target, words in (
        ("logprob", "the log-probability of the exact answer"),
        ("probe", "the selected probe's decision"),
    ):
        try:
            matrix = run.components(f"attribution_{target}")
        except UsageError:
            continue
        caption = (
            f"Gradient x activation of {words}, mean absolute value, as a share of the layer's "
            "components."
        )
        plot = partial(
            run.plot, "components", score="attribution", target=target, title="", caption=""
        )
        figure = Figure(
            caption, f"Heatmap of shares, {spread(matrix, 'layer', 'component')}", plot, wide=True
        )
        found.append(
            (
                figure,
                matrix_table(
                    matrix, f"attribution-{target}", f"Share of attribution to {words}", "Layer"
                ),
            )
        )
    return found


def _range(n: pd.Series) -> str:
    """One number of examples, or the lowest and the highest."""
    return "-".join(dict.fromkeys(f"{int(v):,}" for v in (n.min(), n.max()))) if len(n) else "0"


def matrix_table(matrix: pd.DataFrame, name: str, caption: str, corner: str) -> Table:
    """The numbers behind a map, folded away."""
    columns = (Column(corner), *(Column(str(c), right=True) for c in matrix.columns))
    rows = [Row((str(i), *(_cell(v) for v in matrix.loc[i]))) for i in matrix.index]
    return Table(name, caption, columns, tuple(rows), folded=True)


def detectors_figure(record: Mapping[str, Any]) -> Figure:
    """Every detector's AUROC with its interval, best to be read beside the table."""
    rows = [d for d in record["detectors"] if d["auroc"] is not None and np.isfinite(d["auroc"])]
    alt = (
        "AUROC with 95 % interval: "
        + "; ".join(f"{d['label']} {number(d['auroc'])} {interval(d['auroc_95'])}" for d in rows)
        + "."
    )
    n = record["comparison"]["n_compared"]
    caption = (
        f"Test AUROC with 95 % interval of every detector on the same {n:,} "
        f"{terms(record).what}; the line at 0.5 is chance."
    )
    return Figure(caption, alt, partial(plot_detectors, rows))


def plot_detectors(rows: Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """One point and interval per detector, from the top down, the probe in orange."""
    ax = _axes(ax, (4.7, 0.8 + 0.22 * len(rows)))
    ink = _ink()
    for y, d in enumerate(rows):
        colour = SELECTED if y == 0 else ink
        low, high = d["auroc_95"]
        if low is not None and high is not None:
            ax.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="round")
        ax.plot([d["auroc"]], [y], "o", color=colour, markersize=4.5)
    ax.axvline(0.5, color=GRID, linewidth=0.8, linestyle=":")
    ax.set_yticks(range(len(rows)), [_tick(d["label"]) for d in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("Test AUROC")
    return _calm(ax, "x")


def plot_reliability(bins: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Share of the positive class against the probability given, one point and interval per bin.

    Args:
        bins: `mean_predicted`, `fraction_correct`, `low` and `high`.
        ax: where to draw; a new figure when None.
    """
    ax = _axes(ax, (4.2, 3.7))
    ax.plot([0, 1], [0, 1], color=GRID, linewidth=0.8, linestyle=":")
    ink = _ink()
    ax.vlines(bins.mean_predicted, bins.low, bins.high, color=ink, linewidth=1.2)
    ax.plot(
        bins.mean_predicted, bins.fraction_correct, "o-", color=ink, linewidth=0.8, markersize=4.5
    )
    ax.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
        xlabel="Probability given",
        ylabel="Share observed",
    )
    return _calm(ax, "both")


def plot_learning_curve(points: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Test AUROC against the number of training examples, with intervals.

    Args:
        points: `n_train`, `auroc`, `low`, `high` (NaN where not known).
        ax: where to draw; a new figure when None.
    """
    ax = _axes(ax, (5.2, 3.2))
    ink = _ink()
    known = np.isfinite(points.low) & np.isfinite(points.high)
    if known.any():
        ax.fill_between(
            points.n_train[known],
            points.low[known],
            points.high[known],
            color=ink,
            alpha=0.2,
            linewidth=0,
        )
    ax.plot(points.n_train, points.auroc, "o-", color=ink, markersize=4, linewidth=1.4)
    ax.axhline(0.5, color=GRID, linewidth=0.8, linestyle=":")
    ax.set_xscale("log")
    ax.set_xticks(list(points.n_train), [f"{int(n):,}" for n in points.n_train])
    ax.minorticks_off()
    ax.set(xlabel="Training examples", ylabel="Test AUROC")
    return _calm(ax, "y")


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def _calm(ax: Axes, grid: Literal["x", "y", "both"]) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color=GRID, alpha=0.22, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(length=0)
    ax.patch.set_alpha(0)
    return ax


def _ink() -> str:
    import matplotlib as mpl

    return INK["screen" if mpl.rcParams["figure.facecolor"] != "white" else "publication"]


def _tick(label: str, letters: int = 33) -> str:
    label = label.replace("$", r"\$")  # no formulas out of foreign names
    return label if len(label) <= letters else label[: letters - 1] + "\u2026"


def _cell(value: float) -> Number:
    return Number(float(value) if np.isfinite(value) else None)


def spread(matrix: pd.DataFrame, down: str, across: str) -> str:
    """Size and extremes of a map in words."""
    size = f"{matrix.shape[0]} {down}s by {matrix.shape[1]} {across}s."
    values = matrix.to_numpy(dtype=float)
    if not np.isfinite(values).any():
        return f"{size} No cell could be scored."
    ends = []
    for word, at in (("lowest", np.nanargmin(values)), ("highest", np.nanargmax(values))):
        i, j = np.unravel_index(at, values.shape)
        ends.append(
            f"{word} {number(float(values[i, j]))} at {down} {matrix.index[i]}, {matrix.columns[j]}"
        )
    return f"{size} From {' to '.join(ends)}."
