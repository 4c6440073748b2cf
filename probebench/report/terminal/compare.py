"""A comparison of two runs as a person reads it."""

from __future__ import annotations

import numpy as np

from probebench.across.comparison import RunComparison
from probebench.report.terminal.table import NARROWEST, plain_table, table_lines, wrapped
from probebench.text import interval, number
from probebench.types import Interval


def compare_lines(found: RunComparison, width: int = NARROWEST) -> list[str]:
    """Both detectors, their difference, and what was compared."""
    sides = (("A", found.a), ("B", found.b))
    heads = []
    for name, side in sides:
        version = f" v{side.version}" if side.version else ""
        heads.append(f"{name}  {side.model} on {side.task}{version}, {side.label}  ({side.folder})")
    return [*wrapped(width, *heads), "", *_table(found, width), "", *wrapped(width, *_said(found))]


def _table(found: RunComparison, width: int) -> list[str]:
    table = plain_table("", "AUROC", "95 %", "", right=("AUROC",))
    for name, side in (("A", found.a), ("B", found.b)):
        table.add_row(f"{name} {side.detector}", number(side.auroc), _ends(side.auroc_95))
    ends = _ends(found.difference_95, signed=True)
    paired = f"paired, by group{_p(found.p)}"
    table.add_row("A - B", number(found.difference, signed=True), ends, paired)
    if np.isfinite(found.difference_95_delong.low):
        ends = _ends(found.difference_95_delong, signed=True)
        single = f"paired, DeLong{_p(found.delong_p)}"
        table.add_row("", "", ends, single)
    return table_lines(table, width)


def _p(value: float) -> str:
    return f", p = {value:.2g}" if np.isfinite(value) else ""


def _said(found: RunComparison) -> list[str]:
    """The sample, what it leaves out of either run, and in what the two differ."""
    a, b = found.a, found.b
    right = f"{a.correct} in A and {b.correct} in B" if found.own_labels else f"{a.correct}"
    said = [f"n = {found.n} common test examples in {found.n_groups} groups, {right} correct."]
    for name, other, side in (("A", "B", a), ("B", "A", b)):
        left_out = (
            (side.n_not_in_other, f"are not in {other}"),
            (side.n_trained_in_other, f"are not in test of {other}"),
            (side.n_without_decision, f"have no decision of {name}"),
        )
        parts = ", ".join(f"{count} {what}" for count, what in left_out if count)
        said.append(f"{name} has {side.n_test} test examples{': ' if parts else ''}{parts}.")
    if found.n_by_text:
        said.append(f"{found.n_by_text} examples were found by their question; their ids differ.")
    if found.differs:
        said.append(f"The runs differ in: {', '.join(found.differs)}.")
    return said + [f"note: {note}" for note in found.notes]


def _ends(found: Interval, *, signed: bool = False) -> str:
    return interval((found.low, found.high), signed=signed)
