"""Which cell is taken: the best by validation, of a site and of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from probebench.errors import LabelError
from probebench.probes.choose import best_cell
from probebench.types import EMB, CellFit

RULE = "highest validation AUROC among the blocks of {site}"
"""How the cell of a run is chosen, as its record says it."""


def select(fits: Sequence[CellFit], *, embedding: bool = False) -> CellFit:
    """The cell with the best validation AUROC, inside the blocks or on the embedding row.

    Of the residual stream when it was read, else of the first site that was. Ties go to the lower
    layer, then to the earlier position. Barred cells take no part.

    Raises:
        LabelError: every cell is masked.
    """
    for site in dict.fromkeys(f.cell.site for f in fits):
        if (found := best_of(fits, site, embedding=embedding)) is not None:
            return found
    reasons = sorted({f.masked or f.barred for f in fits if f.masked or f.barred})
    raise LabelError(
        f"No cell could be selected: {'; '.join(reasons) or 'no cells were asked for'}."
    )


def best_of(fits: Sequence[CellFit], site: str, *, embedding: bool = False) -> CellFit | None:
    """The best cell of one site by validation; None when it has none."""
    return best_cell(f for f in fits if f.cell.site == site and (f.cell.layer == EMB) is embedding)


def cell_facts(fit: CellFit) -> dict[str, Any]:
    """What a record says of a chosen cell."""
    cell = fit.cell
    return {
        "site": cell.site,
        "layer": cell.row,
        "position": cell.position,
        "C": fit.C,
        "validation_auroc": fit.validation_auroc,
        "converged": fit.converged,
        "iterations": fit.iterations,
    }
