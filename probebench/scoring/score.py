"""From decisions to numbers: score matrices, the selected cell, and all detectors on the same test examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import LabelError
from probebench.probes.fit import Job, Labels, fits_of
from probebench.scoring.baselines import baselines
from probebench.scoring.metrics import (
    Resamples,
    auprc,
    auroc,
    auroc_many,
    delong_interval,
    delong_many,
    fdr,
    max_statistic_p,
    percentile_interval,
    permutation_p,
)
from probebench.states.positions import POSITIONS
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

    matrices: Mapping[tuple[str, SplitName], ScoreMatrix]
    """(site, split) -> AUROC of every cell, on validation and on test."""
    selected: CellFit
    best: Mapping[str, CellFit]
    """Of each site, its best cell by validation; sites without any probe are left out."""
    max_statistic_p: float
    """Permutation p-value of the best test AUROC of the selected cell's map; NaN without shuffled labels."""
    detectors: tuple[Detector, ...]
    """Every detector, the selected probe first."""
    comparison: Comparison
    shuffled: tuple[Detector, ...]
    """The selected cell's probe on shuffled labels, once per repeat."""
    shuffled_aurocs: tuple[float, ...]
    """Test AUROC of each repeat."""


def score_run(answers: Sequence[LabelledAnswer], fits: Sequence[CellFit], job: Job) -> Result:
    """Score matrices, the selected cell, and every detector beside it.

    One repeat of the shuffled-label control says little: a probe of random labels still lies along some strong direction
    of the cell, and when that direction carries the signal its AUROC lands far from 0.5 on either side. The mean counts.
    """
    labels, seed = job.labels, job.seed
    rows = split_index(labels.splits)
    sites = list(dict.fromkeys(f.cell.site for f in fits))
    matrices: dict[tuple[str, SplitName], ScoreMatrix] = {}
    for split in ("validation", "test"):
        draws = Resamples.draw([labels.groups[i] for i in rows[split]], seed)
        for site in sites:
            own = [f for f in fits if f.cell.site == site]
            matrices[site, split] = score_matrix(own, labels, draws, split, job.reader.positions, job.reader.present)
    best = {site: chosen for site in sites if (chosen := best_of(fits, site)) is not None}
    chosen = select(fits)
    control, repeats = shuffled_control(job, chosen)
    detectors = [cell_detector(chosen, "probe", "probe, selected cell")]
    if any(f.cell.layer == EMB and not f.masked for f in fits):
        detectors.append(cell_detector(select(fits, embedding=True), "probe_emb", "probe, embedding row"))
    detectors += baselines(answers, labels)
    return Result(
        matrices=matrices,
        selected=chosen,
        best=best,
        max_statistic_p=_max_statistic(fits, chosen.cell.site, matrices[chosen.cell.site, "test"]),
        detectors=tuple(detectors),
        comparison=compare(detectors, labels, labels.groups, seed),
        shuffled=control,
        shuffled_aurocs=repeats,
    )


def shuffled_control(job: Job, chosen: CellFit) -> tuple[tuple[Detector, ...], tuple[float, ...]]:
    """The selected cell's probe on shuffled labels: its decisions and test AUROC, once per repeat."""
    places = np.flatnonzero(job.reader.there(chosen.cell.position))
    rows, y = job.labels.rows(places), job.labels.y[places]
    shuffled = job.labels.shuffled(SHUFFLES, job.seed, places)
    fits = fits_of(job.vectors(chosen.cell)[places], rows["train"], job.probe, job.device)
    found, _, _ = fits.decisions(shuffled[:, rows["train"]], [chosen.C] * SHUFFLES, rough=True)
    detectors = []
    for k, decisions in enumerate(found):
        whole = np.full(len(job.labels.y), np.nan)
        whole[places] = decisions
        detectors.append(Detector(f"shuffled_labels_{k}", f"shuffled labels {k}", whole, "control", detail=cell_facts(chosen)))
    return tuple(detectors), tuple(auroc(y[rows["test"]], d[rows["test"]]) for d in found)


def _max_statistic(fits: Sequence[CellFit], site: str, test: ScoreMatrix) -> float:
    blocks = [f for f in fits if f.cell.site == site and f.cell.layer != EMB and not f.masked]
    cells = [f for f in blocks if len(f.null) and np.isfinite(f.null).all()]
    if not cells:
        return float("nan")
    observed = [test.values[test.layers.index(f.cell.layer), test.positions.index(f.cell.position)] for f in cells]
    return max_statistic_p(np.array(observed), np.array([f.null for f in cells]))


def score_matrix(
    fits: Sequence[CellFit],
    labels: Labels,
    draws: Resamples,
    split: SplitName,
    positions: Sequence[str],
    present: NDArray[np.bool_],
) -> ScoreMatrix:
    """AUROC of every cell of one site on one split, each on the examples that have its token.

    Args:
        fits: cells of one site.
        labels: labels and splits.
        draws: resamples of this split's examples.
        split: which.
        positions: columns.
        present: (example, position); a masked cell still says how many examples have its token.
    """
    layers = tuple(sorted({f.cell.layer for f in fits}))
    shape = (len(layers), len(positions))
    at = tuple(np.array([(layers.index(f.cell.layer), list(positions).index(f.cell.position)) for f in fits]).T)
    rows = split_index(labels.splits)[split]
    y, scores = labels.y[rows], np.array([f.decisions[rows] for f in fits])
    values = auroc_many(y, scores)
    intervals = [percentile_interval(values) for values in draws.auroc_many(y, scores)]
    low, high = np.array([[i.low, i.high] for i in intervals]).T
    delong_low, delong_high = delong_many(y, scores)
    nothing = np.full(len(fits), np.nan)
    shuffled, p = nothing, nothing
    if split == "test" and (n_shuffles := max(len(f.null) for f in fits)):
        null, control = np.full((2, len(fits), n_shuffles), np.nan)
        for i, f in enumerate(fits):
            null[i, : len(f.null)], control[i, : len(f.control)] = f.null, f.control
        p, shuffled = permutation_p(values, null), _mean(control)

    def matrix(cells: NDArray[Any], empty: Any = np.nan) -> NDArray[Any]:
        out = np.full(shape, empty, dtype=cells.dtype)
        out[at] = cells
        return out

    n = np.array([0 if f.absent else present[rows, column].sum() for f, column in zip(fits, at[1], strict=True)])
    return ScoreMatrix(
        "auroc", fits[0].cell.site, split, layers, tuple(positions), matrix(values), matrix(low), matrix(high), matrix(n, 0),
        matrix(delong_low), matrix(delong_high), matrix(shuffled), matrix(p), matrix(fdr(p)),
    )  # fmt: skip


def _mean(values: Floats) -> Floats:
    """(cell,) mean over what is defined; NaN where nothing is."""
    n = np.isfinite(values).sum(axis=1)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), np.nan)


def select(fits: Sequence[CellFit], *, embedding: bool = False) -> CellFit:
    """The cell with the best validation AUROC, inside the blocks or on the embedding row.

    Of the residual stream when it was read, else of the first site that was. Ties go to the lower layer, then to the
    earlier position.

    Raises:
        LabelError: every cell is masked.
    """
    for site in dict.fromkeys(f.cell.site for f in fits):
        if (found := best_of(fits, site, embedding=embedding)) is not None:
            return found
    reasons = sorted({f.masked for f in fits if f.masked})
    raise LabelError(f"No cell could be fitted: {'; '.join(reasons) or 'no cells were asked for'}.")


def best_of(fits: Sequence[CellFit], site: str, *, embedding: bool = False) -> CellFit | None:
    """The best cell of one site by validation; None when it has none."""
    candidates = [
        f
        for f in fits
        if f.cell.site == site and (f.cell.layer == EMB) is embedding and not f.masked and np.isfinite(f.validation_auroc)
    ]
    return max(candidates, key=lambda f: f.validation_auroc, default=None)  # max keeps the first of equals


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
    return Detector(name, label, fit.decisions, "probe", POSITIONS[fit.cell.position].when, cell_facts(fit))


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
