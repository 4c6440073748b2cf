"""One row of the table of `transfer`: a probe on the test examples of one task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.across.label_free import best_label_free
from probebench.metrics.angles import cosine, mahalanobis_cosine
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import auroc_interval
from probebench.metrics.paired import paired
from probebench.record.reopened import CellProbe, Reopened
from probebench.types import Cell, Floats

NAN = float("nan")
SCORES = ("auroc", "low", "high", "direction_free")


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A probe, and the examples that it is tried on."""

    kind: str
    """Of row."""
    at: str
    """Whose cell is read."""
    source: str
    """Name of what the probe was fitted to."""
    target: Reopened
    """The tested run."""
    cell: Cell
    probe: CellProbe
    own: CellProbe | None
    """The target's own probe at the same cell, for the angle; None where there is none to compare
    with."""
    X: NDArray[np.float32]
    """(example, width) the target's vectors there."""
    seen: Sequence[Reopened]
    """Runs that the probe was fitted or chosen on."""
    among: NDArray[np.bool_] | None = None
    """(example,) only these of the target's examples; None for all."""
    test_name: str | None = None
    """Name of what is tested, where it is not the whole task."""
    fewest: int = 1
    """Right and wrong test examples, each, that the numbers need."""

    def row(self) -> dict[str, Any]:
        """The row."""
        target, cell = self.target, self.cell
        test = (target.split == "test") & target.there(cell)
        if self.among is not None:
            test &= self.among
        unseen = target.unseen_by(self.seen)
        rows = np.flatnonzero(test & unseen)
        y = target.labels.y[rows]
        counts = {
            "n": len(rows),
            "correct": int(y.sum()),
            "twins_left_out": int((test & ~unseen).sum()),
        }
        why = self.probe.why
        if not why and min(counts["correct"], len(y) - counts["correct"]) < self.fewest:
            why = _too_few(counts, cell, self.fewest)
        numbers = self._numbers(rows, defined=not why)
        return {
            "kind": self.kind,
            "at": self.at,
            "train_task": self.source,
            "test_task": self.test_name or target.name,
            "site": cell.site,
            "layer": cell.row,
            "position": cell.position,
            "C": self.probe.C,
            "validation_auroc": self.probe.validation_auroc,
            **{k: numbers[k] for k in SCORES},
            **counts,
            **{k: v for k, v in numbers.items() if k not in SCORES},
            "why": why,
        }

    def _numbers(self, rows: NDArray[np.int64], *, defined: bool) -> dict[str, Any]:
        """AUROC, what it is compared with, and angles; NaN where they are not defined."""
        empty = dict.fromkeys(SCORES, NAN)
        angles = dict.fromkeys(("cosine", "mahalanobis_cosine"), NAN)
        if not defined:
            return {**empty, **_baseline(self.target, rows, None), **angles}
        y, decisions = self.target.labels.y[rows], self.probe.decisions(self.X[rows])
        draws = Resamples.draw(self.target.labels.group_names(rows), self.target.seed)
        value, interval = auroc(y, decisions), auroc_interval(draws, y, decisions)
        if self.own is not None:
            weights = self.probe.weight, self.own.weight
            angles = {
                "cosine": cosine(*weights),
                "mahalanobis_cosine": mahalanobis_cosine(*weights, self.X[rows]),
            }
        return {
            "auroc": value,
            "low": interval.low,
            "high": interval.high,
            "direction_free": max(value, 1 - value),
            **_baseline(self.target, rows, decisions),
            **angles,
        }


def _too_few(counts: dict[str, int], cell: Cell, fewest: int) -> str:
    twins = (
        f", after {counts['twins_left_out']} with a twin in training were left out"
        if counts["twins_left_out"]
        else ""
    )
    needed = (
        "both classes are needed" if fewest == 1 else f"at least {fewest} of each class are needed"
    )
    return (
        f"{counts['n']} test examples with {cell.position}, {counts['correct']} of them "
        f"correct{twins}: {needed}"
    )


def _baseline(
    target: Reopened, rows: NDArray[np.int64], decisions: Floats | None
) -> dict[str, Any]:
    """The target's best label-free baseline and its own selected probe, on the examples that all
    can score.

    Args:
        target: the tested run.
        rows: tested examples.
        decisions: of the transferred probe on them; None where it has none.
    """
    baseline = best_label_free(target)
    names = (
        "own_auroc",
        "compared_auroc",
        "baseline_auroc",
        "difference",
        "difference_low",
        "difference_high",
    )
    none: dict[str, Any] = {
        "own_auroc": NAN,
        "baseline": baseline,
        **dict.fromkeys(names[1:], NAN),
        "n_compared": 0,
    }
    if decisions is None:
        return none
    y = target.labels.y[rows]
    own = target.reported["probe"][rows]
    if np.isfinite(own).all():
        none["own_auroc"] = auroc(y, own)
    if baseline is None:
        return none
    found = paired(
        y,
        y,
        decisions,
        target.reported[baseline][rows],
        target.labels.group_names(rows),
        target.seed,
    )
    none["n_compared"] = found.n
    if found.correct[0] in (0, found.n):
        return none
    return {
        **none,
        "compared_auroc": found.values[0],
        "baseline_auroc": found.values[1],
        "difference": found.difference,
        "difference_low": found.interval.low,
        "difference_high": found.interval.high,
    }
