"""A report as one HTML page that loads nothing: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from probebench.maps.style import style as look
from probebench.report.blocks import Block, Figure, Report
from probebench.report.format import number, plain
from probebench.report.write.escape import one_line, readable_text
from probebench.text import cut, defined

STYLES = {"light": "publication", "dark": "screen"}
"""Colour scheme of the reader -> look of the figures."""
TEMPLATES = Path(__file__).parent / "templates"
CLIP, MOST, SHORT = 280, 6000, 200
"""Letters of a text shown at once; with the rest unfolded; and of texts that do not unfold."""


def to_html(report: Report) -> str:
    """The page. Everything that is not markup of the template is escaped, and its style is allowed
    by hash."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    environment.globals |= {
        "kind": lambda block: type(block).__name__,
        "plain": lambda cell: readable_text(plain(cell)),
        "defined": defined,
        "signed": lambda value: number(value, signed=True),
        "clip": clip,
        "short": short,
        "grouped": grouped,
        "uri": data_uri,
    }
    environment.finalize = lambda value: readable_text(value) if type(value) is str else value
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup(style),
        style_hash="sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def data_uri(figure: Figure, scheme: str, narrow: bool = False) -> str:
    """A figure as an SVG in an address of its own; the same bytes for the same numbers.

    Args:
        figure: what to draw.
        scheme: `light` or `dark`.
        narrow: draw what a phone shows.
    """
    import matplotlib.pyplot as plt

    buffer = io.StringIO()
    with look(STYLES[scheme]):
        ax = figure.narrow() if narrow and figure.narrow else figure.plot()
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


def clip(text: str, at: int = CLIP) -> tuple[str, str]:
    """The beginning of a text, up to a space near `at`, and the rest; empty when it is short
    enough."""
    text = text.strip()
    if len(text) <= at * 1.15:
        return text, ""
    space = text.rfind(" ", int(at * 0.8), at)
    end = space if space > 0 else at
    rest = text[end:]
    if len(rest) > MOST:
        rest = (
            rest[:MOST] + f"\u2026 [{len(rest) - MOST:,} more characters; answers.parquet has all]"
        )
    return text[:end], rest


def short(text: str) -> str:
    """A text of one line that ends where it is too long."""
    return cut(one_line(text), SHORT, "\u2026")


def grouped(blocks: Sequence[Block]) -> list[list[Block]]:
    """Neighbouring blocks of one kind together, so that lists of examples can stand side by
    side."""
    return [
        list(own) for _, own in groupby(blocks, key=lambda b: type(b).__name__ == "ShownAnswers")
    ]
