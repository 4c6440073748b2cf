"""A report as Markdown: headings, tables and lists that GitHub and pandoc read; no pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator

from probebench.report.blocks import (
    Block,
    Bullets,
    Code,
    Facts,
    Figure,
    Painted,
    PaintedAnswer,
    Prose,
    Report,
    Section,
    ShownAnswer,
    ShownAnswers,
    Table,
)
from probebench.report.format import number, plain
from probebench.report.write.escape import markdown as escape
from probebench.report.write.escape import readable_text
from probebench.text import cut

LONGEST = 600
"""Letters of a question or an answer; the HTML page and answers.parquet have the rest."""


def to_markdown(report: Report) -> str:
    """The whole report as one document. Every text is escaped: none can become markup."""
    lines = [f"# {escape(report.title)}", "", escape(report.subtitle), ""]
    for section in report.sections:
        lines += _section(section, 2)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _section(section: Section, level: int) -> Iterator[str]:
    yield from (f"{'#' * min(level, 6)} {escape(section.title)}", "")
    for block in section.blocks:
        yield from _block(block, level)
    for inner in section.sections:
        yield from _section(inner, level + 1)


def _block(block: Block, level: int) -> Iterator[str]:
    if isinstance(block, Prose):
        yield from (escape(block.text), "")
    elif isinstance(block, Bullets):
        if block.tone == "warning":
            yield from ("**What a reviewer would raise**", "")
        yield from (*(f"- {escape(item)}" for item in block.items), "")
    elif isinstance(block, Facts):
        yield from (*(f"- {escape(name)}: {escape(value)}" for name, value in block.items), "")
    elif isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Figure):
        title = f"{escape(block.title)}. " if block.title else ""
        yield from (f"*Figure.* {title}{escape(block.caption)} {escape(block.alt)}", "")
    elif isinstance(block, Code):
        fence = "`" * max(
            3, 1 + max((len(run) for run in re.findall(r"`+", block.text)), default=0)
        )
        yield from (f"{fence}{block.language}", readable_text(block.text), fence, "")
    elif isinstance(block, ShownAnswers):
        yield from (f"{'#' * min(level + 1, 6)} {escape(block.title)}", "", escape(block.rule), "")
        yield from (line for item in block.items for line in (_example(item), ""))
    elif isinstance(block, Painted):
        yield from (escape(block.rule), "")
        yield from (line for item in block.items for line in (_marked(item), ""))


def _marked(a: PaintedAnswer) -> str:
    """An answer without colours: its labelled spans with the probability that each is wrong."""
    answer = "".join(t.text for t in a.tokens).strip()
    lines = [f"- {escape(_short(a.question))}", f"  - answer: {escape(_short(answer))}"]
    lines += [
        f"  - {escape(_short(text.strip()))}: labelled {label}, P(wrong) {number(wrong, 2)}"
        for text, label, wrong in a.spans
    ]
    return "\n".join(lines)


def _table(table: Table) -> Iterator[str]:
    yield from (f"*{escape(table.caption)}*", "")
    yield "| " + " | ".join(escape(c.head) for c in table.columns) + " |"
    yield "|" + "|".join("---:" if c.right else "---" for c in table.columns) + "|"
    for row in table.rows:
        cells = [escape(plain(cell)) for cell in row.cells]
        yield (
            "| "
            + " | ".join(f"**{cell}**" if row.strong and cell else cell for cell in cells)
            + " |"
        )
    yield ""
    for note in table.notes:
        yield from (escape(note), "")


def _example(e: ShownAnswer) -> str:
    lines = [f"- {escape(_short(e.question))}"]
    if e.answer:
        lines.append(f"  - answer: {escape(_short(e.answer))}")
        lines.append(
            f"  - exact answer: {escape(_short(e.exact)) if e.exact is not None else 'none found'}"
        )
    if e.references:
        lines.append(f"  - accepted: {escape(_short('; '.join(e.references)))}")
    lines.append(
        f"  - label {e.verdict}, decision {number(e.decision, signed=True)}, rank {e.rank:,} of "
        f"{e.of:,}, id {escape(e.id)}"
    )
    return "\n".join(lines)


def _short(text: str) -> str:
    return cut(text, LONGEST, "\u2026")
