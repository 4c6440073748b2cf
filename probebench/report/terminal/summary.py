"""A finished run as a person reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from probebench.record.parts.described import ExactFacts, Rate
from probebench.record.parts.measured import PositionBest, SiteFacts
from probebench.record.parts.studied import Published
from probebench.record.published import main_rows
from probebench.record.schema import Record
from probebench.record.words import part_words, terms
from probebench.report.terminal.detectors import detectors_table, lacking
from probebench.report.terminal.headline import headline_lines
from probebench.report.terminal.table import plain_table, print_table
from probebench.text import extremes, interval, number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from probebench.record.run import Run


def print_summary(run: Run, console: Console) -> None:
    """Model, task, counts, the selected cell, all detectors, warnings, and where the files are."""
    from rich.markup import escape

    r = run.record
    tables = [
        (positions_table(r.by_position, r.selection.position), ""),
        (detectors_table(r), _sample_words(r)),
    ]
    if r.published:
        tables.append((published_table(r.published), _source_words(r.published)))
    for line in [*about(r), *headline_lines(r)]:
        console.print(line, highlight=False)
    for table, below in tables:
        console.print()
        print_table(table, console)
        if below:
            console.print(f"[dim]{escape(below)}[/dim]", highlight=False)
    for line in _notes(r):
        console.print(line, highlight=False)
    console.print()
    if run.resumed:
        console.print("This run was finished before; nothing was computed again.", highlight=False)
    where = f"heatmap.png, record.json, scores.parquet and more in {escape(str(run.folder))}/"
    console.print(where, highlight=False, soft_wrap=True)


def about(r: Record) -> list[str]:
    """What was run, on how many examples, and what is known of its answers, as lines with console
    markup."""
    from rich.markup import escape

    model, task, words = r.model, r.task, terms(r)
    everything, test = r.counts.all, r.counts.test
    version = f" v{task.version}" if task.version else ""
    lines = [
        f"[bold]{escape(model.name)}[/bold] on [bold]{escape(task.name)}[/bold]{version}   "
        f"{model.n_layers} layers, width {model.width}, {model.dtype}",
        f"{words.what} {everything.n:,}, {words.right} {everything.accuracy:.1%}; test "
        f"{test.n:,} in {test.groups:,} groups, {test.correct:,} {words.right}",
    ]
    if part := part_words(r):
        lines.append(f"examples: {escape(part)}")
    if task.kind != "statements":
        lines += _answer_lines(r)
    if opinion := r.second_opinion:
        lines.append(
            f"second opinion of {escape(opinion.model)}: agrees on {opinion.agreement:.1%} of "
            f"{opinion.with_opinion:,}, kappa {number(opinion.kappa)}"
        )
    return lines


def _answer_lines(r: Record) -> list[str]:
    """How often the exact answer was found, and how many answers were cut off."""
    everything = r.counts.all
    n, cut, lines = everything.n, everything.not_stopped, list[str]()
    if found := everything.exact_found:
        lines.append(
            f"exact answer found: {_percent(found.all)} (correct {_percent(found.correct)}, wrong "
            f"{_percent(found.wrong)}){_held(r.exact_answer)}"
        )
    if cut:
        limit = r.generation and r.generation.max_new_tokens
        where = f" at {limit} tokens" if limit else ""
        lines.append(f"cut off{where}: {cut:,} of {n:,} answers ({cut / n:.1%})")
    return lines


def positions_table(rows: Sequence[PositionBest], selected: str) -> Table:
    """The best layer of each position of the paper's tables, and of the selected one."""
    heads = ("position", "layer", "AUROC", "95 %", "n")
    title = "best layer of a position, by validation"
    table = plain_table(*heads, right=("layer", "AUROC", "n"), title=title)
    for row in rows:
        if not (row.paper or row.position == selected):
            continue
        mark = "[bold]" if row.position == selected else ""
        if row.layer is None:
            table.add_row(row.position, "-", "not defined", "", "")
        else:
            table.add_row(
                f"{mark}{row.position}",
                row.layer,
                number(row.test_auroc),
                interval(row.test_auroc_95, 2),
                f"{row.n_test:,}",
            )
    return table


def published_table(found: Published) -> Table:
    """What a paper prints, beside this run."""
    heads = ("published", "AUROC", "here", "95 %", "n")
    table = plain_table(*heads, right=("AUROC", "here", "n"))
    for row in main_rows(found.rows):
        own = row.our_auroc
        here = (
            ("", "", "")
            if own is None
            else (number(own), interval(row.our_auroc_95, 2), f"{row.our_n:,}")
        )
        table.add_row(row.detector, f"{row.auroc:.2f} \u00b1 {row.spread:.3f}", *here)
    return table


def _sample_words(r: Record) -> str:
    """On how many examples the table of detectors stands, and how its intervals were made."""
    c, words = r.comparison, terms(r)
    return (
        f"{_rows(r)}: n = {c.n_compared:,} of {c.n_test:,} test {words.what}; shuffled "
        f"labels: n = {r.selection.n_test:,}; positive class: {words.right}; 95 % intervals: "
        "cluster bootstrap by group, of shuffled labels over repeats."
    )


def _rows(r: Record) -> str:
    """The rows that a table's n is of."""
    few = any(d.n < r.comparison.n_compared for d in r.detectors)
    return "rows without an n of their own" if few else "every row"


def _source_words(found: Published) -> str:
    source, differs = found.rows[0].source, len(found.differs)
    return f"{source}; {differs} things differ: see record.json"


def _notes(r: Record) -> list[str]:
    """What is not there and why, and warnings, as lines with console markup."""
    from rich.markup import escape

    rows = lacking(r)  # which have their reason beside them
    absent = {name: why for name, why in r.comparison.absent.items() if name not in rows}
    lines = []
    for reason in dict.fromkeys(absent.values()):
        names = ", ".join(name for name, why in absent.items() if why == reason)
        lines.append(f"[dim]not in the table: {names}, {escape(reason)}[/dim]")
    lines += [f"[dim]not there: {escape(line)}[/dim]" for line in absent_sites(r.sites)]
    return lines + [f"[yellow]note:[/yellow] {escape(warning)}" for warning in r.warnings]


def absent_sites(sites: Mapping[str, SiteFacts]) -> list[str]:
    """One line per reason: which sites are not there, in how many layers, and why."""
    found: dict[str, dict[str, int]] = {}
    for site, facts in sites.items():
        for reason in facts.absent.values():
            # "layer 3 is ..." and "layer 4 is ..." are one reason
            own = found.setdefault(re.sub(r"\blayer \d+\b", "the layer", reason), {})
            own[site] = own.get(site, 0) + 1
    return [
        f"{', '.join(own)} in {extremes(own.values())} layers: {reason}"
        for reason, own in found.items()
    ]


def _percent(found: Rate) -> str:
    return "none" if found.rate is None else f"{found.rate:.1%}"


def _held(found: ExactFacts | None) -> str:
    """How often the exact answer of a correct answer is itself correct; nothing where there is no
    rule or an older record."""
    held = found and found.holds_answer
    if not found or not held or not held.of:
        return ""
    return f"; by {found.rule}, in {_percent(held)} of {held.of:,} correct it holds the answer"
