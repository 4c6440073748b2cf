"""Tables without lines, for terminals, pipes and copies."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDEST, NARROWEST = 120, 80
"""Columns that are used of a terminal at most, and of a narrower one or none."""

ENDLESS = 10_000
"""Columns of a pipe, where nobody looks at the width."""


def terminal() -> Console:
    """The console that commands print to."""
    from rich.console import Console

    return Console(width=max(min(Console().width, WIDEST), NARROWEST), highlight=False)


def wide_terminal() -> Console:
    """One for tables whose every word is asked for: all of the terminal's columns, and a line for
    each row in a pipe, unless `COLUMNS` says how wide."""
    from rich.console import Console

    own = Console()
    piped = not own.is_terminal and "COLUMNS" not in os.environ
    return Console(width=ENDLESS if piped else max(own.width, NARROWEST), highlight=False)


def plain_table(
    *columns: str,
    right: Collection[str] = (),
    title: str = "",
    gap: int = 2,
    folded: Collection[int] = (0,),
) -> Table:
    """An empty table.

    Args:
        columns: their heads; no row of heads where all of them are empty.
        right: heads of columns of numbers, which stand right.
        title: above it.
        gap: blanks between two columns.
        folded: indices of columns of long text, which take several lines where they have to; others
            are cut only where these have given all they can.
    """
    from rich.table import Table

    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, gap, 0, 0),
        header_style="dim",
        title_justify="left",
        title_style="dim",
        show_header=any(columns),
        title=title or None,
    )
    for i, name in enumerate(columns):
        table.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=i not in folded,
            overflow="fold" if i in folded else "ellipsis",
        )
    return table


def plain(text: str) -> str:
    """Words of others on one line, with nothing that a terminal obeys."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def literal(*cells: str) -> list[Text]:
    """Cells of names that are others': `plain`, and no markup."""
    from rich.text import Text

    return [Text(plain(cell)) for cell in cells]


def print_table(table: Table, console: Console) -> None:
    """A table without the blanks that rich puts behind its last column."""
    from rich.text import Text

    for line in console.render_lines(table, pad=False):
        text = Text.assemble(*((part.text, part.style or "") for part in line))
        text.rstrip()
        console.print(text, highlight=False, no_wrap=True)


def table_lines(table: Table, width: int) -> list[str]:
    """A table as lines of plain text, none longer than `width`."""
    from rich.console import Console

    console = Console(width=width, file=io.StringIO(), color_system=None)
    lines = console.render_lines(table, pad=False)
    return ["".join(part.text for part in line).rstrip() for line in lines]


def wrapped(width: int, *texts: str) -> list[str]:
    """Sentences in lines, the further ones of each set in."""
    return [
        line
        for text in texts
        for line in textwrap.wrap(
            text, width, break_long_words=False, break_on_hyphens=False, subsequent_indent="  "
        )
    ]
