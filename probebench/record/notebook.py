"""A finished run as a notebook shows it: one sentence of figures and its map."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.record.claims import headline, selected
from probebench.record.schema import Record
from probebench.record.words import cell_words, terms
from probebench.text import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOTS = 110
"""Dots per inch of a map between cells."""


def png(ax: Axes) -> bytes:
    """A map as a picture; closes its figure."""
    import matplotlib.pyplot as plt

    figure, content = ax.get_figure(root=True), io.BytesIO()
    assert figure is not None  # a map is always drawn on a figure
    figure.savefig(content, format="png", dpi=DOTS)
    plt.close(figure)
    return content.getvalue()


def as_html(r: Record, place: Path, picture: bytes) -> str:
    """What was measured, against what, and the map; all that a stranger named is escaped.

    Args:
        r: the run's record.
        place: its directory.
        picture: its map, as png.
    """
    h = headline(r)
    auroc, ends, n, _ = selected(r)
    words = terms(r)
    lines = [
        f"<b>{_safe(r.model.name)}</b> on <b>{_safe(r.task.name)}</b>: test AUROC "
        f"<b>{number(auroc)}</b> {interval(ends, 2)} of {words.right} against {words.wrong} "
        f"{words.what} at {_safe(cell_words(r.selection))}, n = {n:,}"
    ]
    if h.signal is not None:
        lines.append(
            f"best simpler signal: {_safe(h.signal['label'])} {number(h.signal['auroc'])}; probe "
            f"minus it {number(h.difference, signed=True)} "
            f"{interval(h.difference_95, 2, signed=True)}, n = {h.n:,}"
        )
    if r.warnings:
        lines.append(f"{len(r.warnings)} warnings in <code>.record.warnings</code>")
    lines.append(f"<code>{_safe(str(place))}</code>")
    name = f"map of {r.model.name} on {r.task.name}"
    data = base64.b64encode(picture).decode()
    image = f'<img alt="{_safe(name)}" src="data:image/png;base64,{data}">'
    return f"<div><p>{'<br>'.join(lines)}</p>{image}</div>"


def _safe(words: str) -> str:
    return html.escape(words)
