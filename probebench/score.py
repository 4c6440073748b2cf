"""From decisions to numbers: score matrices, the selected cell, and all detectors on the same test examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.baselines import baselines
from probebench.errors import LabelError
from probebench.fit import Labels, fit_cell
from probebench.metrics import Resamples, auprc, auroc, delong_interval, percentile_interval
from probebench.probes import get_probe
from probebench.states import StatesReader
from probebench.types import EMB, Cell, CellFit, Detector, Interval, LabelledAnswer, ScoreMatrix, SplitName, split_index

Floats = NDArray[np.float64]
SHUFFLES = 20
"""Repeats of the shuffled-label control at the selected cell."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectorScore:
    """One detector's row in the table, on the test examples that every detector could score."""

    name: str
    label: str
    n: int
    n_positive: int
    auroc: float
    interval: Interval
    """Cluster bootstrap by group."""
    delong: Interval
    auprc: float
    difference: float
    """AUROC of the selected probe minus this one's; NaN for the probe itself."""
    difference_interval: Interval
    """Paired cluster bootstrap."""
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """All detectors on the same examples."""

    scores: tuple[DetectorScore, ...]
    rows: NDArray[np.int64]
    """Test examples that every detector scored."""
    n_test: int
    dropped: Mapping[str, int]
    """Test examples left out, by class, because some detector has no score for them."""
    absent: Mapping[str, str]
    """Detectors without any score, and why they are not in the table."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """All that scoring gives."""

    matrices: Mapping[SplitName, ScoreMatrix]
    """AUROC of every cell, on validation and on test."""
    selected: CellFit
    detectors: tuple[Detector, ...]
    """Every detector, the selected probe first."""
    comparison: Comparison
    shuffled: tuple[Detector, ...]
    """The selected cell's probe on shuffled labels, once per repeat."""
    shuffled_aurocs: tuple[float, ...]
    """Test AUROC of each repeat."""


def score_run(
    answers: Sequence[LabelledAnswer], labels: Labels, fits: Sequence[CellFit], reader: StatesReader, probe: str, seed: int
) -> Result:
    """Score matrices, the selected cell, and every detector beside it.

    One repeat of the shuffled-label control says little: a probe of random labels still lies along some strong direction
    of the cell, and when that direction carries the signal its AUROC lands far from 0.5 on either side. The mean counts.
    """
    groups = [a.example.group for a in answers]
    rows = split_index(labels.splits)
    matrices: dict[SplitName, ScoreMatrix] = {}
    for split in ("validation", "test"):
        draws = Resamples.draw([groups[i] for i in rows[split]], seed)
        matrices[split] = score_matrix(fits, labels, draws, split, reader.positions)
    chosen = select(fits)
    cell, there = chosen.cell, reader.present[:, reader.positions.index(chosen.cell.position)]
    X = reader.cell(cell.layer, cell.position)
    repeats = [fit_cell(X, there, labels.shuffled(seed + k), get_probe(probe), cell) for k in range(SHUFFLES)]
    test = rows["test"][there[rows["test"]]]
    detectors = [cell_detector(chosen, "probe", "probe, selected cell")]
    if any(f.cell.layer == EMB and not f.masked for f in fits):
        detectors.append(cell_detector(select(fits, embedding=True), "probe_emb", "probe, embedding row"))
    detectors += baselines(answers, labels)
    return Result(
        matrices=matrices,
        selected=chosen,
        detectors=tuple(detectors),
        comparison=compare(detectors, labels, groups, seed),
        shuffled=tuple(cell_detector(r, f"shuffled_labels_{k}", f"shuffled labels {k}") for k, r in enumerate(repeats)),
        shuffled_aurocs=tuple(auroc(labels.y[test], r.decisions[test]) for r in repeats),
    )


def score_matrix(
    fits: Sequence[CellFit],
    labels: Labels,
    draws: Resamples,
    split: SplitName,
    positions: Sequence[str],
) -> ScoreMatrix:
    """AUROC of every cell on one split, each on the examples that have its token."""
    layers = tuple(sorted({f.cell.layer for f in fits}))
    shape = (len(layers), len(positions))
    values, low, high = (np.full(shape, np.nan) for _ in range(3))
    n = np.zeros(shape, dtype=np.int64)
    rows = split_index(labels.splits)[split]
    for f in fits:
        at = layers.index(f.cell.layer), list(positions).index(f.cell.position)
        there = np.isfinite(f.decisions[rows])
        y, decisions = labels.y[rows][there], f.decisions[rows][there]
        n[at] = there.sum()
        if f.masked:
            continue
        values[at] = auroc(y, decisions)
        interval = percentile_interval(draws.take(there).auroc(y, decisions))
        low[at], high[at] = interval.low, interval.high
    return ScoreMatrix("auroc", fits[0].cell.site, split, layers, tuple(positions), values, low, high, n)


def select(fits: Sequence[CellFit], *, embedding: bool = False) -> CellFit:
    """The cell with the best validation AUROC, inside the blocks or on the embedding row.

    Ties go to the lower layer, then to the earlier position.

    Raises:
        LabelError: every cell is masked.
    """
    candidates = [f for f in fits if (f.cell.layer == EMB) is embedding and not f.masked and np.isfinite(f.validation_auroc)]
    if not candidates:
        reasons = sorted({f.masked for f in fits if f.masked})
        raise LabelError(f"No cell could be fitted: {'; '.join(reasons) or 'no cells were asked for'}.")
    return max(candidates, key=lambda f: f.validation_auroc)  # max keeps the first of equals


def compare(detectors: Sequence[Detector], labels: Labels, groups: Sequence[str], seed: int) -> Comparison:
    """Score every detector on the test examples that all of them cover; the first detector is the selected probe.

    Raises:
        LabelError: the common examples hold one class only.
    """
    test = split_index(labels.splits)["test"]
    absent = {d.name: reason for d in detectors if (reason := _why_absent(d, labels, test))}
    used = [d for d in detectors if d.name not in absent]
    covered = np.all([np.isfinite(d.decisions[test]) for d in used], axis=0)
    rows, y = test[covered], labels.y[test[covered]]
    if len(np.unique(y)) < 2:
        raise LabelError(
            f"The {len(rows)} test examples that every detector can score hold one class only, so nothing can be compared."
        )
    draws = Resamples.draw([groups[i] for i in rows], seed)
    replicates = [draws.auroc(y, d.decisions[rows]) for d in used]
    values = [auroc(y, d.decisions[rows]) for d in used]
    nan = float("nan")
    scores = tuple(
        DetectorScore(
            name=d.name,
            label=d.label,
            n=len(rows),
            n_positive=int(y.sum()),
            auroc=values[i],
            interval=percentile_interval(replicates[i]),
            delong=delong_interval(y, d.decisions[rows]),
            auprc=auprc(y, d.decisions[rows]),
            difference=values[0] - values[i] if i else nan,
            difference_interval=percentile_interval(replicates[0] - replicates[i]) if i else Interval(nan, nan),
            detail=d.detail,
        )
        for i, d in enumerate(used)
    )
    left_out = labels.y[test[~covered]]
    dropped = {"correct": int((left_out == 1).sum()), "wrong": int((left_out == 0).sum())}
    return Comparison(scores, rows, len(test), dropped, absent)


def _why_absent(detector: Detector, labels: Labels, test: NDArray[np.int64]) -> str:
    scored = labels.y[test][np.isfinite(detector.decisions[test])]
    if not len(scored):
        return "no test example has what it reads"
    return "" if len(np.unique(scored)) == 2 else "it can score test examples of one class only"


def cell_detector(fit: CellFit, name: str, label: str) -> Detector:
    """A cell's probe as a detector."""
    return Detector(name, label, fit.decisions, cell_facts(fit))


def cell_facts(fit: CellFit) -> dict[str, Any]:
    """What a record says of a chosen cell."""
    cell: Cell = fit.cell
    return {
        "site": cell.site,
        "layer": cell.row,
        "position": cell.position,
        "C": fit.C,
        "validation_auroc": fit.validation_auroc,
        "converged": fit.converged,
        "iterations": fit.iterations,
    }
