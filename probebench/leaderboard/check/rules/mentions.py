"""The rules on cells and detectors named outside map and table: the record says there what these
say, and of one cell the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.files import clean_json
from probebench.leaderboard.check.recompute import TOLERANCE, differences
from probebench.leaderboard.check.rules.maps import SITE, better, from_cells
from probebench.leaderboard.check.shape import finding, is_real
from probebench.leaderboard.submission.read import CELLS, CellRow, Submission
from probebench.leaderboard.submission.strict import Finding
from probebench.metrics.auroc import auroc
from probebench.metrics.paired import paired
from probebench.metrics.power import POWER
from probebench.scoring.comparison import ends
from probebench.states.positions import POSITIONS, readable_when
from probebench.studies.readable import PAPER
from probebench.types import Floats

SIDES = ("readable.before.best_baseline", "readable.after.best_baseline")
OWN = ("probe", "probe_emb")
"""Detectors whose `detail` names a cell of the map; those of others are of other probes."""
FITTED = ("C", "converged", "iterations")
"""What is said of the fit of a cell and is no column of the map."""
FREE = "studies"
"""A part of the record in which a C, a p or a q may be another one of a cell."""
ALWAYS_SAME = ("validation_auroc", "test_auroc", "n_test")
BASELINE = "best_baseline"
"""In a side of `readable`, beside its cell."""
Name = tuple[str, str, str]
"""Site, layer and position."""


def _columns(cell: CellRow) -> dict[str, Any]:
    """What the map says of a cell, by the names that records have for it."""
    return {
        "validation_auroc": cell.validation_auroc,
        "test_auroc": cell.auroc,
        "test_auroc_95": [cell.low, cell.high],
        "n_test": cell.n,
        "n_validation": cell.n_validation,
        "selectivity": cell.selectivity,
        "p": cell.p,
        "q": cell.q,
    }


def _parts(s: Submission) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping of the record that may name a cell or a detector, with its path; what is
    selected first."""
    record = s.record
    waiting: list[tuple[str, Any]] = [
        (k, v) for k, v in record.items() if k not in ("detectors", "selection", "published")
    ]
    waiting += [
        (f"detectors[{i}].detail", row.get("detail"))
        for i, row in enumerate(record["detectors"])
        if row["name"] in OWN
    ]
    waiting.append(("selection", record["selection"]))
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, list):
            waiting.extend((f"{path}[{i}]", inner) for i, inner in enumerate(value))
        elif isinstance(value, Mapping):
            waiting.extend((f"{path}.{name}", inner) for name, inner in value.items())
            yield path, value


def _named(path: str, part: Mapping[str, Any], s: Submission) -> Name:
    """The cell that a part names; rows of positions leave out the site, which is the selected
    one's."""
    site = s.record["selection"]["site"] if path.startswith("by_position[") else part.get("site")
    return str(site), str(part.get("layer")), str(part.get("position"))


def check_mentions(s: Submission) -> Iterator[Finding]:
    """Wherever else the record speaks of a cell or a detector, it says what the map and the table
    say."""
    cells = {(c.site, c.layer, c.position): c for c in s.cells}
    table = {d["name"]: d for d in s.record["detectors"]}
    for path, part in _parts(s):
        if (cell := cells.get(_named(path, part, s))) is not None:
            names = ALWAYS_SAME if path.startswith(FREE) else part
            said = {k: v for k, v in _columns(cell).items() if k in part and k in names}
            yield from from_cells(differences(path, part, said))
        if path in SIDES:
            continue  # on a sample of its own: `check_readable`
        name = part.get("name")
        own = table.get(name) if isinstance(name, str) else None
        if own is not None and "auroc" in part:
            said = {k: own[k] for k in ("auroc", "auroc_95") if k in part}
            yield from differences(path, part, said)


def check_fitted(s: Submission) -> Iterator[Finding]:
    """The C of a cell is one of the probe's, and its fit is the same wherever it is named."""
    grid, seen = s.record["probe"].get("grid"), dict[tuple[Name, str], tuple[str, Any]]()
    cells = {(c.site, c.layer, c.position) for c in s.cells}
    for path, part in (p for p in _parts(s) if not p[0].startswith(FREE)):
        C = part.get("C")
        if grid and is_real(C) and "layer" in part and "position" in part and C not in grid:
            yield finding(f"{path}.C", C, f"a value of probe.grid, {grid}")
        if (name := _named(path, part, s)) not in cells:
            continue
        for fact in (f for f in FITTED if f in part):
            where, value = seen.setdefault((name, fact), (path, part[fact]))
            if part[fact] != value:
                yield finding(f"{path}.{fact}", part[fact], f"{value!r}, as in {where}")


def check_sites(s: Submission) -> Iterator[Finding]:
    """The best cell of the selected site is the selected one, and the values of C that its cells
    chose are those of all that were fitted."""
    chosen, sites = s.record["selection"], s.record.get("sites", {})
    own = sites.get(chosen["site"])
    if own is None:
        return
    path, best = f"sites.{chosen['site']}", own["best"]
    for part in ("layer", "position") if best is not None else ():
        if best[part] != chosen[part]:
            yield finding(f"{path}.best.{part}", best[part], f"{chosen[part]!r}, as in selection")
    if grid := s.record["probe"].get("grid"):
        known = {f"{C:g}" for C in grid if C is not None}
        for C in own.get("C", {}):
            if C not in known:
                yield finding(f"{path}.C", C, f"a value of probe.grid, {grid}")
    fitted = sum(c.site == chosen["site"] and c.validation_auroc is not None for c in s.cells)
    if "C" in own and (n := sum(own["C"].values())) != fitted:
        yield finding(f"{path}.C", n, f"{fitted} in all, the cells with a probe in {CELLS}")


def check_positions(s: Submission) -> Iterator[Finding]:
    """The best layer of each position, where the record has that table; when it can be read, and
    whether the paper's tables have it."""
    given = s.record["task"]["kind"] == "statements"
    for i, row in enumerate(s.record.get("by_position", [])):
        path, name = f"by_position[{i}]", row["position"]
        when = readable_when(name, given=given) if name in POSITIONS else None
        for fact, right in (("paper", name in PAPER), ("when", when)):
            if row.get(fact, right) != right:
                yield finding(f"{path}.{fact}", row[fact], f"{right}, of {name}")
        blocks = [c for c in s.cells if c.site == SITE and c.layer != "emb" and c.position == name]
        known = [c for c in blocks if c.validation_auroc is not None]
        if row["layer"] is None or not known:
            continue
        own = next((c for c in known if c.layer == row["layer"]), None)
        best = better(own, known, barred=True) if own else None
        if own is None or best:
            due = f"{best.layer}, the best on validation" if best else "a layer of the map"
            yield finding(f"{path}.layer", row["layer"], f"{due} at {name}")
        elif absent := [k for k in ("validation_auroc", "test_auroc", "n_test") if k not in row]:
            yield finding(f"{path}.{absent[0]}", "nothing", f"what {CELLS} has")


def check_present(s: Submission) -> Iterator[Finding]:
    """How many answers have each position: all that the cells of the map are of, no more of train
    than there are; and when it can be read."""
    counts, given = s.record["counts"], s.record["task"]["kind"] == "statements"
    for name, facts in s.record.get("positions_present", {}).items():
        path = f"positions_present.{name}"
        column = [c for c in s.cells if c.position == name]
        least, most = max((c.n + c.n_validation for c in column), default=0), counts["all"]["n"]
        if any(c.auroc is not None for c in column):
            most = min(most, least + counts["train"]["n"])
        if not least <= facts["n"] <= most:
            yield finding(f"{path}.n", facts["n"], f"from {least:,} to {most:,}")
        right = readable_when(name, given=given) if name in POSITIONS else None
        if facts["readable"] != right:
            yield finding(f"{path}.readable", facts["readable"], f"{right}, of {name}")


def check_readable(s: Submission) -> Iterator[Finding]:
    """A cell against the best baseline of its time: every number again, on the test examples that
    both score.

    Of a cell other than the selected one there are no decisions here; where every example has its
    token the examples are known all the same, and the baseline's figures follow.
    """
    sides = s.record.get("readable")
    for when, facts in (sides if isinstance(sides, Mapping) else {}).items():
        cell, baseline = (
            facts.get(k) if isinstance(facts, Mapping) else None for k in ("cell", "best_baseline")
        )
        if not isinstance(cell, Mapping) or not isinstance(baseline, Mapping):
            continue
        path, due, ours, theirs = f"readable.{when}", {}, cell.get("auroc"), baseline.get("auroc")
        if is_real(ours) and is_real(theirs):
            due["difference"] = ours - theirs
        if is_real(error := facts.get("difference_se")):
            due["detectable_difference"] = POWER * error
        for name, right in due.items():
            if is_real(given := facts.get(name)) and abs(given - right) > TOLERANCE:
                yield finding(f"{path}.{name}", given, f"{right!r}, by what stands beside it")
        if str(baseline.get("name")) in s.decisions.values:
            yield from _check_side(path, facts, s)


def _check_side(path: str, facts: Mapping[str, Any], s: Submission) -> Iterator[Finding]:
    """A comparison whose baseline has decisions."""
    chosen, d, cell = s.record["selection"], s.decisions, facts["cell"]
    at = tuple(str(cell.get(part)) for part in ("site", "layer", "position"))
    row = next((c for c in s.cells if (c.site, c.layer, c.position) == at), None)
    selected = at == (chosen["site"], chosen["layer"], chosen["position"])
    other = d.values[str(facts[BASELINE]["name"])]
    own = d.values["probe"] if selected else other
    test, held = d.split == "test", d.split == "validation"
    if row is not None and facts.get("n") == row.n:
        same = {"cell": {"auroc": row.auroc, "auroc_95": [row.low, row.high]}}
        yield from from_cells(differences(path, facts, same))
    if selected or (row is not None and row.n_validation == held.sum()):
        both = held & np.isfinite(own) & np.isfinite(other)
        yield from _check_held(f"{path}.{BASELINE}", facts[BASELINE], d.label[both], other[both])
    if selected or (row is not None and row.n == test.sum()):
        y, groups = d.label[test], [g for g, t in zip(d.group_names(), test, strict=True) if t]
        found = paired(y, y, own[test], other[test], groups, s.record["settings"]["seed"])
        ours, theirs = (
            {"auroc": value, "auroc_95": ends(interval)}
            for value, interval in zip(found.values, found.intervals, strict=True)
        )
        due: dict[str, Any] = {"n": found.n, BASELINE: theirs}
        if selected:
            due |= {"cell": ours, "difference": found.difference}
            due["difference_95"] = ends(found.interval)
            further = {"difference_se": found.se, "difference_p": found.p}
            further["n_correct"] = found.correct[0]
            due |= {k: v for k, v in further.items() if k in facts}
        yield from differences(path, facts, clean_json(due))


def _check_held(
    path: str, baseline: Mapping[str, Any], y: NDArray[np.int64], decisions: Floats
) -> Iterator[Finding]:
    """What is said of a baseline on validation, on the examples that it and the cell score; those
    that others score too, which it was chosen on, are not more."""
    if "validation_auroc" in baseline:
        due = clean_json({"validation_auroc": auroc(y, decisions)})
        yield from differences(path, baseline, due)
    if (given := baseline.get("n_validation", 0)) > len(y):
        yield finding(f"{path}.n_validation", given, f"at most {len(y):,}, which both score")
