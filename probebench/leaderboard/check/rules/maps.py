"""The rules on the map: every cell in its place and range, the selected one the best, and what
shuffled labels say of them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from probebench.leaderboard.check.recompute import TOLERANCE, differences
from probebench.leaderboard.check.shape import finding
from probebench.leaderboard.submission.read import CELLS, DECISIONS, CellRow, Submission
from probebench.leaderboard.submission.strict import Finding, shown
from probebench.metrics.permutation import fdr_once
from probebench.probes.choose import COVERAGE
from probebench.scoring.select import RULE

SITE = "resid"
"""The site that the protocol selects in."""


def from_cells(found: Iterable[Finding]) -> Iterator[Finding]:
    """Differences whose expected value stands in `cells.csv`."""
    for f in found:
        yield Finding(
            f.file,
            f.field,
            f.given,
            f.expected.replace(f"computed from {DECISIONS}", f"as in {CELLS}"),
        )


def check_map(s: Submission) -> Iterator[Finding]:
    """`cells.csv`: every cell of the map, its numbers in range and within the splits."""
    record = s.record
    own = {(c.layer, c.position): c for c in s.cells if c.site == SITE}
    wanted = {(layer, position) for layer in record["layers"] for position in record["positions"]}
    if missing := sorted(wanted - set(own)):
        yield Finding(
            CELLS,
            " ".join(missing[0]),
            f"{len(missing)} cells missing",
            f"{len(wanted)} cells of {SITE}",
        )
    if extra := sorted(
        {(c.site, c.layer, c.position) for c in s.cells} - {(SITE, *name) for name in wanted}
    ):
        yield Finding(
            CELLS,
            shown(" ".join(extra[0])),
            "a cell",
            f"only the cells of {SITE} in the record's layers and positions",
        )
    n_test, n_validation = (record["counts"][split]["n"] for split in ("test", "validation"))
    most = max((c.n_validation for c in s.cells if c.auroc is not None), default=0)
    for c in s.cells:
        yield from _check_cell(c, n_test, n_validation)
        if c.auroc is not None and c.n_validation < COVERAGE * most and not c.barred:
            yield Finding(
                CELLS,
                f"{c.site} {c.layer} {c.position}, barred",
                "nothing",
                f"why it does not compete: {c.n_validation} of {most} validation examples",
            )
    p, q = (
        np.array([np.nan if v is None else v for v in column])
        for column in ([c.p for c in s.cells], [c.q for c in s.cells])
    )
    expected = fdr_once(p, _first(s.cells))
    for i in np.flatnonzero(~np.isclose(q, expected, rtol=0, atol=TOLERANCE, equal_nan=True))[:1]:
        yield Finding(
            CELLS,
            f"line {i + 2}, q",
            shown(q[i]),
            f"{expected[i]:.9g}, p adjusted over the site's cells",
        )


def _first(cells: Sequence[CellRow]) -> NDArray[np.int64]:
    """(cell,) the first one of its layer with the same numbers: two columns that are one token in
    every example."""
    seen: dict[tuple[object, ...], int] = {}
    numbers = [(c.layer, c.n, c.n_validation, c.auroc, c.validation_auroc, c.p) for c in cells]
    return np.array(
        [
            i if None in own else seen.setdefault(own, i)
            for i, (c, own) in enumerate(zip(cells, numbers, strict=True))
        ],
        dtype=np.int64,
    )


def _check_cell(c: CellRow, n_test: int, n_validation: int) -> Iterator[Finding]:
    where = f"{c.site} {c.layer} {c.position}"
    for field, value, high in (
        ("n_test", c.n, n_test),
        ("n_validation", c.n_validation, n_validation),
        ("auroc", c.auroc, 1),
        ("auroc_low", c.low, 1),
        ("auroc_high", c.high, 1),
        ("validation_auroc", c.validation_auroc, 1),
    ):
        if value is not None and not 0 <= value <= high:
            yield Finding(CELLS, f"{where}, {field}", shown(value), f"from 0 to {high}")
    if c.selectivity is not None and abs(c.selectivity) > 1:
        yield Finding(CELLS, f"{where}, selectivity", shown(c.selectivity), "from -1 to 1")
    if c.auroc is None and not c.masked:
        yield Finding(CELLS, f"{where}, masked", "nothing", "the reason why the cell has no AUROC")
    if c.low is not None and c.high is not None and c.low > c.high:
        yield Finding(
            CELLS, f"{where}, auroc_low", shown(c.low), f"at most auroc_high, {c.high:.9g}"
        )


def better(own: CellRow, cells: Iterable[CellRow], *, barred: bool = False) -> CellRow | None:
    """The best of some cells on validation, where it is better than this one; None where it is
    not."""
    there = [c for c in cells if barred or not c.barred]
    best = max(there, key=lambda c: c.validation_auroc or 0.0, default=own)
    return best if (best.validation_auroc or 0) > (own.validation_auroc or 0) + 1e-9 else None


def check_selection(s: Submission) -> Iterator[Finding]:
    """The selected cell is the best one on validation, by the rule of the suite, and it is the
    probe's."""
    chosen = s.record["selection"]
    blocks = [
        c for c in s.cells if c.site == SITE and c.layer != "emb" and c.validation_auroc is not None
    ]
    own = next(
        (
            c
            for c in blocks
            if (c.site, c.layer, c.position)
            == (chosen["site"], chosen["layer"], chosen["position"])
        ),
        None,
    )
    if own is None:
        yield finding(
            "selection",
            f"{chosen['site']} {chosen['layer']} {chosen['position']}",
            f"a cell of {SITE} in {CELLS}",
        )
        return
    if own.barred:
        yield finding("selection", f"layer {own.layer}, {own.position}", "a cell without a bar")
        return
    if best := better(own, blocks):
        yield finding(
            "selection",
            f"layer {own.layer}, {own.position}, validation AUROC {own.validation_auroc}",
            f"the best cell on validation: layer {best.layer}, {best.position}, "
            f"{best.validation_auroc}",
        )
    if chosen.get("rule") not in (None, due := RULE.format(site=chosen["site"])):
        yield finding("selection.rule", chosen["rule"], repr(due))
    for name, value in (
        ("layer", chosen["layer"]),
        ("position", chosen["position"]),
        ("site", chosen["site"]),
    ):
        if (given := s.record["detectors"][0].get("detail", {}).get(name)) != value:
            yield finding(f"detectors[0].detail.{name}", given, f"{value!r}, as in selection")


def check_permutation(s: Submission) -> Iterator[Finding]:
    """How many cells the record says beat shuffled labels, and a p that so many labellings give.

    The p of the best cell is the share of the maps, the true one among them, whose best cell is as
    good: a whole number of shuffles + 1. It is undefined only where every cell's own p is, or 1.
    """
    first = _first(s.cells)
    blocks = [
        c for i, c in enumerate(s.cells) if c.site == SITE and c.layer != "emb" and first[i] == i
    ]
    expected = {
        "cells": sum(c.auroc is not None for c in blocks),
        "cells_p_below_05": sum(c.p is not None and c.p < 0.05 for c in blocks),
        "cells_q_below_05": sum(c.q is not None and c.q < 0.05 for c in blocks),
    }
    given = s.record["controls"]["permutation"]
    yield from from_cells(differences("controls.permutation", given, expected))
    path, p, maps = (
        "controls.permutation.max_statistic_p",
        given["max_statistic_p"],
        given["shuffles"] + 1,
    )
    if p is None and any(c.p is not None and c.p < 1 for c in blocks):
        yield finding(path, p, "a number: cells of the map have a p")
    if p is not None and abs(p * maps - max(1, round(p * maps))) > TOLERANCE * maps:
        yield finding(
            path, p, f"k / {maps}, k from 1 to {maps}: the shuffled maps and the true one"
        )
    if given.get("site") not in (None, site := s.record["selection"]["site"]):
        yield finding("controls.permutation.site", given["site"], f"{site!r}, as in selection")
