"""The rules on the map: every cell in its place and range, and whatever the record says of a cell
is what the map says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.files import clean_json
from probebench.leaderboard.check.recompute import TOLERANCE, differences
from probebench.leaderboard.check.shape import finding
from probebench.leaderboard.submission.read import CELLS, DECISIONS, CellRow, Submission
from probebench.leaderboard.submission.strict import Finding, shown
from probebench.metrics.paired import paired
from probebench.metrics.permutation import fdr_once
from probebench.probes.choose import COVERAGE
from probebench.scoring.comparison import ends

SITE = "resid"
"""The site that the protocol selects in."""
SIDES = ("readable.before.best_baseline", "readable.after.best_baseline")


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
    """The selected cell is the best one on validation, and the record, the map and the decisions
    say the same of it."""
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
    same: Mapping[str, Any] = {
        "validation_auroc": own.validation_auroc,
        "test_auroc": own.auroc,
        "test_auroc_95": [own.low, own.high],
        "n_test": own.n,
        "selectivity": own.selectivity,
        "p": own.p,
        "q": own.q,
    }
    yield from from_cells(differences("selection", chosen, same))
    for name, value in (
        ("layer", chosen["layer"]),
        ("position", chosen["position"]),
        ("site", chosen["site"]),
    ):
        if (given := s.record["detectors"][0].get("detail", {}).get(name)) != value:
            yield finding(f"detectors[0].detail.{name}", given, f"{value!r}, as in selection")


def check_positions(s: Submission) -> Iterator[Finding]:
    """The best layer of each position, where the record has that table."""
    for i, row in enumerate(s.record.get("by_position", [])):
        blocks = [
            c
            for c in s.cells
            if c.site == SITE and c.layer != "emb" and c.position == row["position"]
        ]
        known = [c for c in blocks if c.validation_auroc is not None]
        if row["layer"] is None or not known:
            continue
        own = next((c for c in known if c.layer == row["layer"]), None)
        best = better(own, known, barred=True) if own else None
        if own is None or best:
            due = f"{best.layer}, the best on validation" if best else "a layer of the map"
            yield finding(f"by_position[{i}].layer", row["layer"], f"{due} at {row['position']}")
        else:
            expected = {
                "validation_auroc": own.validation_auroc,
                "test_auroc": own.auroc,
                "n_test": own.n,
            }
            yield from from_cells(differences(f"by_position[{i}]", row, expected))


def check_permutation(s: Submission) -> Iterator[Finding]:
    """How many cells the record says beat shuffled labels."""
    first = _first(s.cells)
    blocks = [
        c for i, c in enumerate(s.cells) if c.site == SITE and c.layer != "emb" and first[i] == i
    ]
    expected = {
        "cells": sum(c.auroc is not None for c in blocks),
        "cells_p_below_05": sum(c.p is not None and c.p < 0.05 for c in blocks),
        "cells_q_below_05": sum(c.q is not None and c.q < 0.05 for c in blocks),
    }
    yield from from_cells(
        differences("controls.permutation", s.record["controls"]["permutation"], expected)
    )


def check_readable(s: Submission) -> Iterator[Finding]:
    """A cell against the best baseline of its time: every number again, on the test examples that
    both score.

    Of a cell other than the selected one there are no decisions here; where every test example has
    its token the examples are known all the same, and the baseline's figures follow.
    """
    cells = {(c.site, c.layer, c.position): c for c in s.cells}
    chosen, d = s.record["selection"], s.decisions
    test = d.split == "test"
    y, groups = d.label[test], [g for g, t in zip(d.group_names(), test, strict=True) if t]
    sides = s.record.get("readable")
    for when, facts in (sides if isinstance(sides, Mapping) else {}).items():
        cell, baseline = (
            facts.get(k) if isinstance(facts, Mapping) else None for k in ("cell", "best_baseline")
        )
        if not (
            isinstance(cell, Mapping)
            and isinstance(baseline, Mapping)
            and str(baseline.get("name")) in d.values
        ):
            continue
        at = tuple(str(cell.get(part)) for part in ("site", "layer", "position"))
        selected = at == (chosen["site"], chosen["layer"], chosen["position"])
        if not selected and (at not in cells or cells[at].n != len(y)):
            continue
        other = d.values[str(baseline["name"])][test]
        found = paired(
            y,
            y,
            d.values["probe"][test] if selected else other,
            other,
            groups,
            s.record["settings"]["seed"],
        )
        due: dict[str, Any] = {
            "n": found.n,
            "best_baseline": {"auroc": found.values[1], "auroc_95": ends(found.intervals[1])},
        }
        if selected:
            due["cell"] = {"auroc": found.values[0], "auroc_95": ends(found.intervals[0])}
            due |= {"difference": found.difference, "difference_95": ends(found.interval)}
        yield from differences(f"readable.{when}", facts, clean_json(due))


def check_mentions(s: Submission) -> Iterator[Finding]:
    """Wherever else the record speaks of a cell or a detector, it says what the map and the table
    say."""
    cells = {(c.site, c.layer, c.position): c for c in s.cells}
    table = {d["name"]: d for d in s.record["detectors"]}
    waiting: list[tuple[str, Any]] = [
        (k, v) for k, v in s.record.items() if k not in ("detectors", "selection", "published")
    ]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, list):
            waiting.extend((f"{path}[{i}]", inner) for i, inner in enumerate(value))
        elif isinstance(value, Mapping):
            waiting.extend((f"{path}.{name}", inner) for name, inner in value.items())
            names = [str(value.get(part)) for part in ("site", "layer", "position")]
            if (cell := cells.get((names[0], names[1], names[2]))) is not None:
                said = {
                    "validation_auroc": cell.validation_auroc,
                    "test_auroc": cell.auroc,
                    "n_test": cell.n,
                }
                yield from from_cells(
                    differences(path, value, {k: v for k, v in said.items() if k in value})
                )
            if path in SIDES:
                continue  # on a sample of its own: `check_readable`
            name = value.get("name")
            own = table.get(name) if isinstance(name, str) else None
            if own is not None and "auroc" in value:
                said = {k: own[k] for k in ("auroc", "auroc_95") if k in value}
                yield from differences(path, value, said)
