"""What a report is made of: sections of prose, tables, figures and examples, before any markup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Tone = Literal["plain", "lead", "small", "warning"]


@dataclass(frozen=True, slots=True)
class Number:
    """A number of the record, with the way it is written."""

    value: float | None
    """As in the record; None where it is not defined."""
    digits: int = 3
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """A 95 % interval of the record."""

    low: float | None
    high: float | None
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """Words that lead to a section of the same page."""

    text: str
    section: str
    """Its `Section.id`."""


TableCell = str | Number | Range | Link


@dataclass(frozen=True, slots=True)
class Column:
    """Head of a column."""

    head: str
    right: bool = False
    """Right-aligned, as numbers are."""
    optional: bool = False
    """May be left out where there is little room (LaTeX)."""


AUROC, INTERVAL, N = Column("AUROC", True), Column("95 % interval", True), Column("n", True)
"""Columns that most tables have."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table; its first cell is its head."""

    cells: tuple[TableCell, ...]
    strong: bool = False
    """The row that the others are read against."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption."""

    name: str
    """Unique within its section's run; used in LaTeX labels."""
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    folded: bool = False
    """True for long tables behind a picture that shows the same: closed until asked for, and not in
    LaTeX."""

    def lean(self) -> Table:
        """The table without optional columns in which nothing stands."""
        keep = [
            j
            for j, column in enumerate(self.columns)
            if not column.optional or any(row.cells[j] != "" for row in self.rows)
        ]
        rows = tuple(replace(row, cells=tuple(row.cells[j] for j in keep)) for row in self.rows)
        return replace(self, columns=tuple(self.columns[j] for j in keep), rows=rows)


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture that can be drawn in each style, with the words that stand for it."""

    caption: str
    alt: str
    """What it shows, numbers included, for readers who do not see it."""
    plot: Callable[[], Axes]
    """Draws it into a new figure."""
    wide: bool = False
    """True where a phone must scroll sideways to read it."""
    title: str = ""
    """Before the caption, where several pictures stand together."""
    narrow: Callable[[], Axes] | None = None
    """Draws what a phone shows instead."""


@dataclass(frozen=True, slots=True)
class Prose:
    """One paragraph."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they stand for."""

    items: tuple[tuple[str, str], ...]
    tone: Literal["plain", "code", "big"] = "plain"
    """`code` for hashes and commits, `big` for the few figures at the top."""


@dataclass(frozen=True, slots=True)
class Code:
    """Text to be copied as it is, such as BibTeX."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One answer as the probe saw it. All texts come from data sets and models and are not to be
    trusted."""

    id: str
    question: str
    answer: str
    exact: str | None
    """The part that decides; None where none was found."""
    references: tuple[str, ...]
    label: int
    verdict: str
    """`correct`, `wrong`, `true` or `false`."""
    decision: float
    rank: int
    """1 for the highest decision among the test examples compared."""
    of: int


@dataclass(frozen=True, slots=True)
class ShownAnswers:
    """Answers chosen by one rule."""

    title: str
    rule: str
    right: bool
    """Is the probe right about them?"""
    items: tuple[ShownAnswer, ...]


@dataclass(frozen=True, slots=True)
class PaintedToken:
    """A piece of an answer."""

    text: str
    shade: int | None
    """0 surely right, 3 undecided, 6 surely wrong; None where no token was read."""
    label: str
    """`right` or `wrong` in a labelled span, else empty."""
    wrong: float | None
    """The probability that it is wrong."""


@dataclass(frozen=True, slots=True)
class PaintedAnswer:
    """An answer, token by token. All texts are not to be trusted."""

    id: str
    question: str
    tokens: tuple[PaintedToken, ...]

    @property
    def spans(self) -> list[tuple[str, str, float | None]]:
        """Text, label and highest probability of each run of tokens with one label."""
        found: list[tuple[str, str, float | None]] = []
        for label, run in groupby(self.tokens, key=lambda t: t.label):
            own = list(run)
            known = [t.wrong for t in own if t.wrong is not None]
            if label:
                found.append(("".join(t.text for t in own), label, max(known, default=None)))
        return found


@dataclass(frozen=True, slots=True)
class Painted:
    """Answers in which every token has the colour of what a probe says of it."""

    rule: str
    items: tuple[PaintedAnswer, ...]


Block = Prose | Bullets | Facts | Table | Figure | Code | ShownAnswers | Painted


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    id: str
    """Unique on the page."""
    title: str
    blocks: Sequence[Block] = ()
    sections: Sequence[Section] = field(default=())


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report."""

    title: str
    subtitle: str
    sections: Sequence[Section]
