"""The two looks of a map, and maps as files: the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.errors import UnknownNameError
from probebench.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg", "pdf")
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
        {
            **STYLES[name],
            "svg.hashsalt": "probebench",
            "svg.fonttype": "none",
            "pdf.fonttype": 42,
            "text.parse_math": False,  # a name with dollar signs is a name
        }
    ):
        yield


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
