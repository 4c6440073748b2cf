"""What can be read where and when: the best cell of each position, and cells against the best baseline of their time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.probes.fit import Labels
from probebench.scoring.evaluate import ends
from probebench.scoring.intervals import auroc_interval, difference_interval
from probebench.scoring.metrics import Resamples, auroc
from probebench.scoring.score import Result, cell_facts
from probebench.states.positions import readable_when
from probebench.types import EMB, CellFit, Detector, When, split_index

PAPER = ("last_q", "exact_answer_last", "exact_answer_after_last", "-2", "-1")
"""Positions in the tables of Orgad et al. (2025), arXiv:2410.02707, in map order."""
POWER = 1.959963984540054 + 0.8416212335729143
"""97.5 % and 80 % quantiles of the normal distribution: a difference of this many standard errors is found 4 times out of 5 by a
two-sided test at 5 %."""


def by_position(result: Result, fits: Sequence[CellFit], positions: Sequence[str], *, given: bool = False) -> list[dict[str, Any]]:
    """One row per position: its best layer by validation among the blocks of the selected site, with the test AUROC there."""
    site = result.selected.cell.site
    test = result.matrices[site, "test"]
    rows = []
    for name in positions:
        row: dict[str, Any] = {"position": name, "when": readable_when(name, given=given), "paper": name in PAPER}
        own = [f for f in fits if f.cell.site == site and f.cell.position == name and f.cell.layer != EMB]
        best = best_cell(own)
        if best is None:
            reasons = sorted({f.masked for f in own if f.masked})
            rows.append({**row, "layer": None, "masked": "; ".join(reasons)})
            continue
        at = test.layers.index(best.cell.layer), test.positions.index(name)
        rows.append({
            **row, "layer": best.cell.row, "C": best.C, "validation_auroc": best.validation_auroc,
            "test_auroc": float(test.values[at]), "test_auroc_95": [float(test.low[at]), float(test.high[at])],
            "n_test": int(test.n[at]),
        })  # fmt: skip
    return rows


def best_cell(fits: Sequence[CellFit]) -> CellFit | None:
    """The one with the highest validation AUROC, the first of equals; None where all are masked."""
    there = [f for f in fits if not f.masked and np.isfinite(f.validation_auroc)]
    return max(there, key=lambda f: f.validation_auroc, default=None)


def readable(result: Result, fits: Sequence[CellFit], labels: Labels, seed: int, *, given: bool = False) -> dict[str, Any]:
    """The best cell readable before the answer against the best baseline readable then; and the same after the answer.

    Both are chosen by validation AUROC. After the answer a baseline of the question alone may still be the best one. Of `given`
    statements everything is readable before.
    """
    site = result.selected.cell.site
    facts: dict[str, Any] = {}
    for when in ("before", "after"):
        blocks = [f for f in fits if f.cell.site == site and f.cell.layer != EMB]
        own = [f for f in blocks if readable_when(f.cell.position, given=given) == when]
        cell, baseline = best_cell(own), best_baseline(result.detectors, labels, when)
        facts[when] = None if cell is None or baseline is None else against(cell, baseline, labels, seed)
    return facts


def best_baseline(detectors: Sequence[Detector], labels: Labels, when: When) -> Detector | None:
    """The baseline with the highest validation AUROC among those that can be read by then; None where none has one."""
    usable = [d for d in detectors if d.kind == "baseline" and (when == "after" or d.when == "before")]
    scored = [(value, -i, d) for i, d in enumerate(usable) if np.isfinite(value := split_auroc(d.decisions, labels, "validation"))]
    return max(scored, key=lambda row: row[:2])[2] if scored else None


def split_auroc(decisions: NDArray[np.float64], labels: Labels, split: str) -> float:
    """AUROC on the examples of one split that have a decision; NaN without both classes."""
    rows = np.flatnonzero((np.asarray(labels.splits) == split) & np.isfinite(decisions))
    return auroc(labels.y[rows], decisions[rows])


def against(cell: CellFit, baseline: Detector, labels: Labels, seed: int) -> dict[str, Any]:
    """A cell and a baseline on the test examples that both can score."""
    test = split_index(labels.splits)["test"]
    rows = test[np.isfinite(cell.decisions[test]) & np.isfinite(baseline.decisions[test])]
    y = labels.y[rows]
    draws = Resamples.draw([str(labels.groups[i] if labels.groups else i) for i in rows], seed)
    own, other = (draws.auroc(y, d[rows]) for d in (cell.decisions, baseline.decisions))
    groups, apart = draws.independent(y), (own - other)[np.isfinite(own - other)]
    se = float(apart.std(ddof=1) * np.sqrt(groups / (groups - 1))) if len(apart) > 1 < groups else float("nan")
    values = [auroc(y, d[rows]) for d in (cell.decisions, baseline.decisions)]
    return {
        "cell": {**cell_facts(cell), "auroc": values[0], "auroc_95": ends(auroc_interval(draws, y, cell.decisions[rows]))},
        "best_baseline": {
            "name": baseline.name,
            "label": baseline.label,
            "validation_auroc": split_auroc(baseline.decisions, labels, "validation"),
            "auroc": values[1],
            "auroc_95": ends(auroc_interval(draws, y, baseline.decisions[rows])),
        },
        "difference": values[0] - values[1],
        "difference_95": ends(difference_interval(draws, y, cell.decisions[rows], baseline.decisions[rows])),
        "difference_se": se,
        "detectable_difference": POWER * se,
        "n": len(rows),
        "n_correct": int(y.sum()),
    }
