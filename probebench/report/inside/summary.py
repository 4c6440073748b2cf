"""A run at tokens inside answers as a person reads it in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probebench.record.inside.spans import LABELS, SpanRecord, SpanRun
from probebench.report.inside.page import LEVELS, notes_of
from probebench.report.terminal.table import plain_table, print_table, wrapped
from probebench.text import interval, number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_spans(run: SpanRun, console: Console) -> None:
    """Model, task, counts, the selected layer, every detector at every level, notes, and where the
    files are."""
    from rich.markup import escape

    r, test = run.record, run.record.counts["test"]
    console.print(
        f"[bold]{escape(r.model.name)}[/bold] on [bold]{escape(r.task.name)}[/bold] "
        f"v{r.task.version}   {r.model.n_layers} layers, width {r.model.width}, {r.model.dtype}",
        highlight=False,
    )
    lines = [
        f"labels inside answers; test {test.answers:,} answers in {test.groups:,} groups, spans "
        f"{test.spans_right:,} right, {test.spans_wrong:,} wrong; tokens {test.tokens_right:,} "
        f"right, {test.tokens_wrong:,} wrong",
        f"layer {r.selected}, chosen by validation AUROC over tokens",
    ]
    for line in wrapped(console.width, *lines):
        console.print(line, highlight=False, markup=False)
    for level in LEVELS:
        console.print()
        print_table(level_table(r, level), console)
    console.print()
    for line in wrapped(console.width, *(f"note: {note}" for note in notes_of(r))):
        console.print(line, highlight=False, markup=False)
    if run.resumed:
        console.print("This run was finished before; nothing was computed again.", highlight=False)
    where = f"spans.json, tokens.parquet and more in {run.folder}/; page: probebench report"
    console.print(f"{where} {run.folder}", highlight=False, markup=False, soft_wrap=True)


def level_table(r: SpanRecord, level: str) -> Table:
    """Every detector at one level."""
    row = r.row("probe", level)
    title = f"{LEVELS[level].lower()} (n = {row.n:,}, {row.n_wrong:,} wrong)"
    table = plain_table("detector", "AUROC", "95 %", "probe - this", right=("AUROC",), title=title)
    for row in r.rows:
        if row.level == level:
            gap = f"{number(row.difference, signed=True)} {_short(row.difference_95, signed=True)}"
            own = "" if row.detector == "probe" else gap
            table.add_row(LABELS[row.detector], number(row.auroc), _short(row.auroc_95), own)
    return table


def _short(ends: tuple[float | None, float | None], *, signed: bool = False) -> str:
    return interval(ends, 2, signed=signed)
