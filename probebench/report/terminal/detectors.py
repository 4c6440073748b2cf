"""The detectors of a run by kind, as a table of its summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from probebench.detectors import suite
from probebench.record.parts.measured import DetectorFacts
from probebench.record.schema import Record
from probebench.record.words import on_fewer, terms
from probebench.report.terminal.table import plain_table
from probebench.text import interval, number

if TYPE_CHECKING:
    from rich.table import Table

CONTROLS, METHODS = "controls", "methods asked for"


def detectors_table(r: Record) -> Table:
    """All probes, ensembles and controls; of the baselines, before and after the answer, the best
    one of each family."""
    from rich.markup import escape

    title = f"on the same {r.comparison.n_compared:,} test {terms(r).what}"
    table = plain_table("detector", "AUROC", "95 %", "probe - this", right=("AUROC",), title=title)
    kinds, lacked = by_kind(r.detectors), lacking(r)
    if lacked and METHODS not in dict(kinds):
        kinds.insert(-1, (METHODS, []))
    for kind, rows in kinds:
        shown = best_of_family(rows)
        statements = r.task.kind == "statements"
        table.add_row(
            f"[dim]{kind.removesuffix(' before the answer') if statements else kind}[/dim]"
        )
        for d in shown:
            fewer = on_fewer(d, r.comparison.n_compared)
            table.add_row(f"  {escape(d.label)}{fewer}", *_figures(d))
        if len(shown) < len(rows):
            table.add_row(f"[dim]  and {len(rows) - len(shown)} more in record.json[/dim]")
        if kind == METHODS:
            for name, label in lacked.items():
                reason = r.comparison.absent[name]
                table.add_row(f"  {escape(label)}: [dim]{escape(reason)}[/dim]", "-", "", "")
        if kind == CONTROLS:
            found = r.controls.shuffled_labels
            label = f"  shuffled labels, mean of {found.repeats}"
            value, ends = found.mean_auroc, found.mean_auroc_95
            table.add_row(label, number(value), interval(ends, 2), "")
    return table


def _figures(d: DetectorFacts) -> tuple[str, str, str]:
    """AUROC, its interval, and what the probe has more."""
    gap, ends = d.probe_minus_this, d.probe_minus_this_95
    more = "" if gap is None else f"{number(gap, signed=True)} {interval(ends, 2, signed=True)}"
    return number(d.auroc), interval(d.auroc_95, 2), more


def by_kind(detectors: Sequence[DetectorFacts]) -> list[tuple[str, list[DetectorFacts]]]:
    """Detectors by kind; baselines by when they can be read, the highest test AUROC first."""

    def of(kind: str, when: str | None = None) -> list[DetectorFacts]:
        return [d for d in detectors if d.kind == kind and when in (None, d.when)]

    def falling(rows: list[DetectorFacts]) -> list[DetectorFacts]:
        return sorted(rows, key=lambda d: -d.auroc)

    found = [
        ("probes", of("probe")),
        ("ensembles of probes", of("ensemble")),
        ("baselines before the answer", falling(of("baseline", "before"))),
        ("baselines after the answer", falling(of("baseline", "after"))),
        (METHODS, falling(of("method"))),
    ]
    return [*((title, rows) for title, rows in found if rows), (CONTROLS, of("control"))]


def lacking(r: Record) -> dict[str, str]:
    """Methods that were asked for and are not there, by name, with their words."""
    known, given = suite.known(), r.task.kind == "statements"
    return {
        name: known[name].label(given) or name
        for name in r.comparison.absent
        if name in known and known[name].asked is not None
    }


def best_of_family(rows: Sequence[DetectorFacts]) -> list[DetectorFacts]:
    """Of baselines that differ only in what they average over the first one; all others."""
    kept: dict[str, DetectorFacts] = {}
    for row in rows:
        kept.setdefault(family(row), row)
    return list(kept.values())


def family(row: DetectorFacts) -> str:
    """What a baseline shares with those that differ only in what they average over; else its
    name."""
    known = suite.known().get(row.name)
    return (known.family if known else "") or row.name
