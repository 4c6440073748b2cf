"""Cells of a finished run by name, and what their probes decide."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from probebench.errors import UsageError
from probebench.record.reopened import Reopened, cell_of
from probebench.record.run import Run
from probebench.record.schema import Record
from probebench.types import EMB, Cell, Floats, layer_name, layer_number


class NamedCell(NamedTuple):
    """A cell that a name stands for."""

    cell: Cell
    label: str
    """Its probe, in words."""
    C: float | None
    """Chosen by validation; None where the record does not have it."""


def named_cell(record: Record, name: str) -> NamedCell | None:
    """The best cell of a site or position by validation, or the one that `site:layer:position`
    names; None for what names none.

    Raises:
        UsageError: a position none of whose cells could be fitted, with the reason.
    """
    if (site := record.sites.get(name)) and site.best:
        at = f"layer {site.best.layer}, {site.best.position}"
        return NamedCell(cell_of(site.best), f"probe, best cell of {name}: {at}", site.best.C)
    own = record.selection.site
    for best in record.by_position:
        if best.position == name:
            if best.layer is None:
                raise UsageError(f"No cell at {name} could be fitted: {best.masked}.")
            cell = Cell(own, layer_number(best.layer), name)
            return NamedCell(
                cell, f"probe, best layer at {name}: {own}, layer {best.layer}", best.C
            )
    own, _, rest = name.partition(":")
    layer, _, position = rest.partition(":")
    known = own in record.sites and position in record.positions
    if not known or not (layer.isdecimal() or layer == layer_name(EMB)):
        return None
    return NamedCell(
        Cell(own, layer_number(layer), position), f"probe, {own}, layer {layer}, {position}", None
    )


def cell_decisions(run: Run, named: NamedCell) -> Floats:
    """(example,) decisions of a cell's probe, fitted again from the stored states; NaN where its
    token is absent.

    Raises:
        UsageError: the run did not read the layer, or no probe can be fitted there; with the
            reason.
    """
    stored, cell = Reopened(run), named.cell
    X, there = stored.vectors(cell), stored.there(cell)
    probe = (
        stored.probe_at(cell, X)
        if named.C is None
        else stored.refit(cell, X, named.C, float("nan"))
    )
    if probe.why:
        raise UsageError(f"{run.folder} has no probe of {named.label}: {probe.why}.")
    decisions = np.full(len(X), np.nan)
    decisions[there] = probe.decisions(X[there])
    return decisions
