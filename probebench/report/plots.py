"""Plots of numbers that the record holds: finished numbers in, a picture out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from probebench.maps.axes import axes_of
from probebench.maps.colours import SELECTED
from probebench.record.parts.measured import DetectorFacts
from probebench.record.words import Terms, on_fewer
from probebench.text import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
GRID = "#8a8f96"
LABEL = 46
"""Characters of a detector's name."""
INK = {"publication": "#2f6fb3", "screen": "#7db4e8"}


def plot_detectors(
    rows: Sequence[DetectorFacts], ax: Axes | None = None, *, narrow: bool = False
) -> Axes:
    """One point and interval per detector, the first, which is the selected probe, in orange; the
    highest at the top.

    Args:
        rows: the probe's first.
        ax: where to draw; a new figure when None.
        narrow: for a phone: names above the intervals, not beside them.
    """
    ax = axes_of(ax, (3.9, 0.8 + 0.36 * len(rows)) if narrow else (8.8, 0.8 + 0.22 * len(rows)))
    ink, probe, n = _ink(), *((rows[0].name, rows[0].n) if rows else ("", 0))
    rows = sorted(rows, key=lambda d: -d.auroc)
    names = [_tick(d.label) + on_fewer(d, n) for d in rows]
    for y, d in enumerate(rows):
        colour = SELECTED if d.name == probe else ink
        low, high = d.auroc_95
        if low is not None and high is not None:
            ax.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="round")
        ax.plot([d.auroc], [y], "o", color=colour, markersize=4.5)
    ax.axvline(0.5, color=GRID, linewidth=0.8, linestyle=":")
    if narrow:
        ax.set_yticks([])
        for y, name in enumerate(names):
            place = {"transform": ax.get_yaxis_transform(), "fontsize": 7.5}
            ax.text(0.01, y - 0.42, name, va="center", **place)
        ax.set_ylim(len(rows) - 0.4, -0.9)
    else:
        ax.set_yticks(range(len(rows)), names)
        ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("Test AUROC")
    return _calm(ax, "x")


def plot_reliability(bins: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Share of the positive class against the probability given, one point and interval per bin.

    Args:
        bins: `mean_predicted`, `fraction_correct`, `low` and `high`.
        ax: where to draw; a new figure when None.
    """
    ax = axes_of(ax, (4.2, 3.7))
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
    ax = axes_of(ax, (5.2, 3.2))
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


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One line of a plot."""

    label: str
    points: pd.DataFrame
    """`coverage`, `risk`, `low`, `high` (NaN where not known)."""


def plot_risk(
    curves: Sequence[Curve], base: float | None, named: Terms, ax: Axes | None = None
) -> Axes:
    """Share of wrong answers against the share that is kept: the first curve in orange with its
    interval, the others in blue.

    Args:
        curves: the probe's first.
        base: share of wrong answers where all are kept.
        named: what examples and labels are called.
        ax: where to draw; a new figure when None.
    """
    ax = axes_of(ax, (5.2, 3.4))
    for i, curve in enumerate(curves):
        p, colour = curve.points, SELECTED if i == 0 else _ink()
        if i == 0:
            ax.fill_between(p.coverage, p.low, p.high, color=colour, alpha=0.18, linewidth=0)
        style = "o-" if i == 0 else "s--"
        ax.plot(
            p.coverage,
            p.risk,
            style,
            color=colour,
            linewidth=1.4,
            markersize=3.5,
            label=_tick(curve.label),
        )
    if base is not None:
        ax.axhline(base, color=GRID, linewidth=0.8, linestyle=":")
    ax.set(xlim=(0, 1.02), xlabel=f"Share of {named.what} kept")
    ax.set_ylabel(f"{named.wrong.capitalize()} among them")
    highest = max([base or 0.0, *(float(c.points.risk.max()) for c in curves)])
    # few answers have wide intervals, which would press the lines together
    ax.set_ylim(0, min(1.0, max(0.05, 1.8 * highest)))
    ax.legend(frameon=False, fontsize="small", loc="upper center", labelcolor="linecolor")
    return _calm(ax, "y")


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


def _tick(label: str) -> str:
    return cut(label, LABEL, "\u2026")
