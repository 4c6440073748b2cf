"""Every detector of the suite, in the order of tables, and what follows from their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from probebench.detectors import cells, embedding, ensembles, p_true, random_model, signals, text
from probebench.detectors.registry import DETECTORS, Description, Detectors, Need
from probebench.types import EMB, Detector

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.stage import Runner

MODULES = (cells, text, signals, embedding, p_true, random_model, ensembles)
"""Where detectors are registered, in the order of tables; those of other modules come last."""
SKIPPED = "left out by --skip"
"""How the record begins to say why such a detector is not there."""


def in_order() -> list[Detectors]:
    """Detectors that are made together, in the order of tables."""
    names = [module.__name__ for module in MODULES]
    places = {name: i for i, name in enumerate(names)}
    return sorted(DETECTORS, key=lambda d: places.get(d.make.__module__, len(names)))


def known() -> dict[str, Description]:
    """Every row by its name, in the order of tables."""
    return {row.name: row for group in in_order() for row in group.rows}


def constant(name: str) -> bool:
    """Is this a detector that says the same of every example?"""
    row = known().get(name)
    return row is not None and row.constant


def skips() -> dict[str, tuple[str, ...]]:
    """What `--skip` can leave out: its name, and the detectors that are not there then."""
    found: dict[str, tuple[str, ...]] = {}
    for name, row in known().items():
        if row.skip is not None:
            found[row.skip] = (*found.get(row.skip, ()), name)
    return found


def of_text() -> tuple[str, ...]:
    """Detectors that are made from the words alone."""
    return tuple(name for name, row in known().items() if "text" in row.needs)


def controls() -> tuple[str, ...]:
    """What `--control` can ask for."""
    return tuple(dict.fromkeys(row.control for row in known().values() if row.control is not None))


def left_out(skip: Sequence[str], *, given: bool) -> dict[str, str]:
    """Detectors that `--skip` left out, with the reason; of statements only those that they
    have."""
    rows, names = known(), skips()
    return {
        name: f"{SKIPPED} {left}"
        for left in skip
        for name in names.get(left, ())
        if rows[name].label(given) is not None
    }


def detectors(data: RunData, runner: Runner) -> tuple[Detector, ...]:
    """Every detector of a run that it does not leave out and has what it needs, the selected probe
    first."""
    return tuple(d for group in in_order() for d in _made(group, data, runner))


def _made(group: Detectors, data: RunData, runner: Runner) -> Iterator[Detector]:
    """Those of one group, under the words of their rows."""
    there = _there(data)
    rows = {row.name: row for row in group.rows if _wanted(row, data) and row.needs <= there}
    for scores in group.make(data, runner) if rows else ():
        row = rows[scores.name]
        label = (row.label(data.statements) or "").format(**scores.detail)
        when = "before" if data.statements else scores.when or row.when or "after"
        yield Detector(row.name, label, scores.decisions, row.kind, when, scores.detail)


def _wanted(row: Description, data: RunData) -> bool:
    """Is it neither left out, nor a control that nobody asked for, nor without meaning here?"""
    asked = data.plan.beside
    return (
        row.label(data.statements) is not None
        and row.skip not in asked.skip
        and (row.control is None or row.control in asked.controls)
    )


def _there(data: RunData) -> set[Need]:
    """What a run has to make detectors from."""
    found: set[Need] = {
        "text",
        "token counts",
        "train labels",
        "exact answer",
        "cells",
        "untrained model",
    }
    if any(len(a.answer.logprobs) for a in data.answers):  # an encoder has none
        found.add("token scores")
    if data.plan.handle.causal:
        found.add("asking")
    if data.plan.beside.encoder is not None:
        found.add("encoder")
    if any(f.cell.layer == EMB and not f.masked for f in data.fits):
        found.add("embedding row")
    return found
