"""What can be read where and when: the best cell of each position, and cells against the best
baseline of their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.metrics.paired import paired
from probebench.metrics.power import POWER
from probebench.probes.choose import best_cell
from probebench.probes.labels import Labels, split_index
from probebench.scoring.best import best_on_common, common_examples
from probebench.scoring.comparison import ends
from probebench.scoring.matrix import tested
from probebench.scoring.score import Result
from probebench.scoring.select import cell_facts
from probebench.states.positions import readable_when
from probebench.studies.registry import Scored, study
from probebench.types import EMB, CellFit, Detector, When

PAPER = ("last_q", "exact_answer_last", "exact_answer_after_last", "-2", "-1")
"""Positions in the tables of Orgad et al. (2025), arXiv:2410.02707, in map order."""


@study("by_position")
def _by_position(run: Scored) -> list[dict[str, Any]]:
    data, positions = run.data, run.data.plan.reading.positions
    return by_position(run.result, data.fits, positions, given=data.statements)


@study("readable")
def _readable(run: Scored) -> dict[str, Any]:
    data = run.data
    return readable(run.result, data.fits, data.labels, data.plan.seed, given=data.statements)


def by_position(
    result: Result, fits: Sequence[CellFit], positions: Sequence[str], *, given: bool = False
) -> list[dict[str, Any]]:
    """One row per position: its best layer by validation among the blocks of the selected site,
    with the test AUROC there."""
    site = result.selected.cell.site
    test = result.matrices[site, "test"]
    rows = []
    for name in positions:
        row: dict[str, Any] = {
            "position": name,
            "when": readable_when(name, given=given),
            "paper": name in PAPER,
        }
        own = [
            f
            for f in fits
            if f.cell.site == site and f.cell.position == name and f.cell.layer != EMB
        ]
        best = best_cell(own, barred=True)  # of one column: all on the same examples
        if best is None:
            reasons = sorted({f.masked for f in own if f.masked})
            rows.append({**row, "layer": None, "masked": "; ".join(reasons)})
            continue
        rows.append(
            {
                **row,
                "layer": best.cell.row,
                "barred": best.barred or None,
                "C": best.C,
                "validation_auroc": best.validation_auroc,
                **tested(test, best.cell),
            }
        )
    return rows


def readable(
    result: Result, fits: Sequence[CellFit], labels: Labels, seed: int, *, given: bool = False
) -> dict[str, Any]:
    """The best cell readable before the answer against the best baseline readable then; and the
    same after the answer.

    Both are chosen by validation AUROC. After the answer a baseline of the question alone may still
    be the best one. Of `given` statements everything is readable before.
    """
    site = result.selected.cell.site
    facts: dict[str, Any] = {}
    for when in ("before", "after"):
        blocks = [f for f in fits if f.cell.site == site and f.cell.layer != EMB]
        own = [f for f in blocks if readable_when(f.cell.position, given=given) == when]
        cell = best_cell(own)
        chosen = (
            None
            if cell is None
            else best_baseline(result.detectors, labels, when, np.isfinite(cell.decisions))
        )
        facts[when] = (
            None if cell is None or chosen is None else against(cell, chosen, labels, seed)
        )
    return facts


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A baseline, and on what it was chosen."""

    detector: Detector
    n: int
    """Validation examples that all the baselines scored which it was chosen among."""


def best_baseline(
    detectors: Sequence[Detector],
    labels: Labels,
    when: When,
    scored: NDArray[np.bool_] | None = None,
) -> Chosen | None:
    """The baseline with the highest validation AUROC among those that can be read by then; None
    where none has one.

    All are judged on the validation examples that every one of them scores (see `best_on_common`).

    Args:
        detectors: of the run, of all kinds.
        labels: labels and splits.
        when: by when they must be readable.
        scored: (example,) those that the cell scores which they are compared with; None for all.
    """
    usable = [
        d for d in detectors if d.kind == "baseline" and (when == "after" or d.when == "before")
    ]
    if not usable:
        return None
    rows = split_index(labels.splits)["validation"]
    rows = rows if scored is None else rows[scored[rows]]
    y, decisions = labels.y[rows], np.array([d.decisions[rows] for d in usable])
    if (best := best_on_common(y, decisions)) is None:
        return None
    return Chosen(usable[best], int(common_examples(y, decisions)[1].sum()))


def split_auroc(decisions: NDArray[np.float64], labels: Labels, split: str) -> float:
    """AUROC on the examples of one split that have a decision; NaN without both classes."""
    rows = np.flatnonzero((np.asarray(labels.splits) == split) & np.isfinite(decisions))
    return auroc(labels.y[rows], decisions[rows])


def against(cell: CellFit, chosen: Chosen, labels: Labels, seed: int) -> dict[str, Any]:
    """A cell and a baseline on the test examples that both can score, as records hold it."""
    baseline, test = chosen.detector, split_index(labels.splits)["test"]
    y = labels.y[test]
    found = paired(
        y, y, cell.decisions[test], baseline.decisions[test], labels.group_names(test), seed
    )
    shared = np.where(np.isfinite(cell.decisions), baseline.decisions, np.nan)
    return {
        "cell": {
            **cell_facts(cell),
            "auroc": found.values[0],
            "auroc_95": ends(found.intervals[0]),
        },
        "best_baseline": {
            "name": baseline.name,
            "label": baseline.label,
            "validation_auroc": split_auroc(shared, labels, "validation"),
            "n_validation": chosen.n,
            "auroc": found.values[1],
            "auroc_95": ends(found.intervals[1]),
        },
        "difference": found.difference,
        "difference_95": ends(found.interval),
        "difference_se": found.se,
        "difference_p": found.p,
        "detectable_difference": POWER * found.se,
        "n": found.n,
        "n_correct": found.correct[0],
    }
