"""The tables of a report for LaTeX: booktabs, nothing else needed, every text escaped."""

from __future__ import annotations

from collections.abc import Iterator

from probebench.report.blocks import Link, Number, Range, Report, Row, Section, Table, TableCell
from probebench.report.format import MINUS, plain
from probebench.report.write.escape import latex as escape
from probebench.report.write.escape import one_line
from probebench.text import slug

WIDE = 7
"""From this many columns on a table is set smaller."""


def to_latex(report: Report) -> str:
    r"""Every table that is not folded away, to be read with `\input`; its first lines say which
    packages it needs."""
    parts = [
        f"% {one_line(report.title)}",
        f"% {one_line(report.subtitle)}",
        r"% Needs \usepackage[T1]{fontenc} and \usepackage{booktabs}.",
        "",
    ]
    for at, name, table in _tables(report):
        parts += [*_table(table, at, name), ""]
    return "\n".join(parts)


def _tables(report: Report) -> Iterator[tuple[str, str, Table]]:
    """(label, words before the caption, table) of every table shown."""

    def walk(section: Section, at: str, name: str) -> Iterator[tuple[str, str, Table]]:
        for block in section.blocks:
            if isinstance(block, Table) and not block.folded and block.rows:
                yield f"{at}{block.name}", name, block
        for inner in section.sections:
            yield from walk(inner, at, name)

    for section in report.sections:
        many = bool(section.sections)
        yield from walk(
            section, f"{slug(section.title)}:" if many else "", section.title if many else ""
        )


def _table(table: Table, label: str, name: str) -> Iterator[str]:
    caption = escape(table.caption if not name else f"{name}. {table.caption}")
    notes = " ".join(escape(note) for note in table.notes)
    yield r"\begin{table}[tbp]"
    yield r"\centering"
    yield rf"\caption{{{caption}.{' ' + notes if notes else ''}}}"
    yield rf"\label{{tab:{label}}}"
    if len(table.columns) >= WIDE:
        yield r"\footnotesize\setlength{\tabcolsep}{4pt}"
    aligned = "".join("r" if column.right else "l" for column in table.columns)
    yield rf"\begin{{tabular}}{{@{{}}{aligned}@{{}}}}"
    yield r"\toprule"
    yield " & ".join(escape(c.head) for c in table.columns) + r" \\"
    yield r"\midrule"
    for row in table.rows:
        yield _row(row)
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}")


def _row(row: Row) -> str:
    cells = [_cell(cell) for cell in row.cells]
    # a leading bracket after \\ would be read as its optional argument
    line = " & ".join(rf"\textbf{{{cell}}}" if row.strong and cell else cell for cell in cells)
    return ("{}" if line.startswith(("[", "*")) else "") + line + r" \\"


def _cell(cell: TableCell) -> str:
    if isinstance(cell, (Number, Range)):
        return plain(cell).replace(MINUS, "$-$")
    return escape(cell.text if isinstance(cell, Link) else cell)
