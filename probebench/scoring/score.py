"""From decisions to numbers: score matrices, the selected cell, and all detectors on the same test
examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.registry import baselines
from probebench.errors import LabelError
from probebench.metrics.auroc import (
    Resamples,
    auroc,
    auroc_many,
    delong_many,
    fdr,
    max_statistic_p,
    permutation_p,
)
from probebench.metrics.intervals import auroc_intervals
from probebench.probes.choose import best_cell
from probebench.probes.fit import Job
from probebench.probes.labels import Labels
from probebench.probes.many_fits import fits_of
from probebench.scoring.comparison import SHUFFLED, Comparison, evaluate_detectors
from probebench.states.positions import readable_when
from probebench.types import (
    EMB,
    Cell,
    CellFit,
    Detector,
    Floats,
    LabelledAnswer,
    ScoreMatrix,
    SplitName,
    split_index,
)

SHUFFLES = 20
"""Repeats of the shuffled-label control at the selected cell."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """All that scoring gives."""

    matrices: Mapping[tuple[str, SplitName], ScoreMatrix]
    """(site, split) -> AUROC of every cell, on validation and on test."""
    selected: CellFit
    best: Mapping[str, CellFit]
    """Of each site, its best cell by validation; sites without any probe are left out."""
    max_statistic_p: float
    """Permutation p-value of the best test AUROC of the selected cell's map; NaN without shuffled
    labels."""
    detectors: tuple[Detector, ...]
    """Every detector, the selected probe first."""
    comparison: Comparison
    shuffled: tuple[Detector, ...]
    """The selected cell's probe on shuffled labels, once per repeat."""
    shuffled_aurocs: tuple[float, ...]
    """Test AUROC of each repeat."""


def score_run(
    answers: Sequence[LabelledAnswer],
    fits: Sequence[CellFit],
    job: Job,
    extra: Sequence[Detector] = (),
    *,
    text: bool = True,
) -> Result:
    """Score matrices, the selected cell, and every detector beside it.

    Args:
        answers: every labelled answer of the run.
        fits: every cell's probe.
        job: labels, hidden states and kind of probe.
        extra: further detectors, compared after all others.
        text: False leaves out the baselines that are fitted to words.

    One repeat of the shuffled-label control says little: a probe of random labels still lies along
    some strong direction of the cell, and when that direction carries the signal its AUROC lands
    far from 0.5 on either side. The mean counts.
    """
    labels, seed = job.labels, job.seed
    rows = split_index(labels.splits)
    sites = list(dict.fromkeys(f.cell.site for f in fits))
    matrices: dict[tuple[str, SplitName], ScoreMatrix] = {}
    for split in ("validation", "test"):
        draws = Resamples.draw(labels.group_names(rows[split]), seed)
        for site in sites:
            own = [f for f in fits if f.cell.site == site]
            matrices[site, split] = score_matrix(
                own, labels, draws, split, job.reader.positions, job.reader.present
            )
    best = {site: chosen for site in sites if (chosen := best_of(fits, site)) is not None}
    chosen = select(fits)
    control, repeats = shuffled_control(job, chosen)
    given = answers[0].example.label is not None
    detectors = [cell_detector(chosen, "probe", "probe, selected cell", given=given)]
    if any(f.cell.layer == EMB and not f.masked for f in fits):
        detectors.append(
            cell_detector(
                select(fits, embedding=True), "probe_emb", "probe, embedding row", given=given
            )
        )
    detectors += baselines(answers, labels, text=text)
    detectors += extra
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
    """The selected cell's probe on shuffled labels: its decisions and test AUROC, once per
    repeat."""
    places = np.flatnonzero(job.reader.there(chosen.cell.position))
    rows, y = job.labels.rows(places), job.labels.y[places]
    shuffled = job.labels.shuffled(SHUFFLES, job.seed, places)
    fits = fits_of(job.vectors(chosen.cell)[places], rows["train"], job.probe, job.device)
    found, _, _ = fits.decisions(shuffled[:, rows["train"]], [chosen.C] * SHUFFLES, rough=True)
    detectors = []
    for k, decisions in enumerate(found):
        whole = np.full(len(job.labels.y), np.nan)
        whole[places] = decisions
        detectors.append(
            Detector(
                f"{SHUFFLED}{k}",
                f"shuffled labels {k}",
                whole,
                "control",
                detail=cell_facts(chosen),
            )
        )
    return tuple(detectors), tuple(auroc(y[rows["test"]], d[rows["test"]]) for d in found)


def _max_statistic(fits: Sequence[CellFit], site: str, test: ScoreMatrix) -> float:
    blocks = [f for f in fits if f.cell.site == site and f.cell.layer != EMB and not f.masked]
    cells = [f for f in blocks if len(f.null) and np.isfinite(f.null).all()]
    if not cells:
        return float("nan")
    observed = [
        test.values[test.layers.index(f.cell.layer), test.positions.index(f.cell.position)]
        for f in cells
    ]
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
    at = tuple(
        np.array(
            [(layers.index(f.cell.layer), list(positions).index(f.cell.position)) for f in fits]
        ).T
    )
    rows = split_index(labels.splits)[split]
    y, scores = labels.y[rows], np.array([f.decisions[rows] for f in fits])
    values = auroc_many(y, scores)
    intervals = auroc_intervals(draws, y, scores)
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

    n = np.array(
        [
            0 if f.absent else present[rows, column].sum()
            for f, column in zip(fits, at[1], strict=True)
        ]
    )
    return ScoreMatrix(
        "auroc",
        fits[0].cell.site,
        split,
        layers,
        tuple(positions),
        matrix(values),
        matrix(low),
        matrix(high),
        matrix(n, 0),
        matrix(delong_low),
        matrix(delong_high),
        matrix(shuffled),
        matrix(p),
        matrix(fdr(p)),
    )


def _mean(values: Floats) -> Floats:
    """(cell,) mean over what is defined; NaN where nothing is."""
    n = np.isfinite(values).sum(axis=1)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), np.nan)


def select(fits: Sequence[CellFit], *, embedding: bool = False) -> CellFit:
    """The cell with the best validation AUROC, inside the blocks or on the embedding row.

    Of the residual stream when it was read, else of the first site that was. Ties go to the lower
    layer, then to the earlier position.

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
    return best_cell(f for f in fits if f.cell.site == site and (f.cell.layer == EMB) is embedding)


def compare(
    detectors: Sequence[Detector], labels: Labels, groups: Sequence[str], seed: int
) -> Comparison:
    """Score every detector on the test examples that all of them cover; the first detector is the
    selected probe.

    Raises:
        LabelError: the common examples hold one class only.
    """
    return evaluate_detectors(detectors, labels.y, labels.splits, groups, seed)


def cell_detector(fit: CellFit, name: str, label: str, *, given: bool) -> Detector:
    """A cell's probe as a detector."""
    return Detector(
        name,
        label,
        fit.decisions,
        "probe",
        readable_when(fit.cell.position, given=given),
        cell_facts(fit),
    )


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


def tested(test: ScoreMatrix, cell: Cell) -> dict[str, Any]:
    """A cell's test AUROC on all test examples that have its token, as records hold it."""
    at = test.layers.index(cell.layer), test.positions.index(cell.position)
    interval = [float(test.low[at]), float(test.high[at])]
    return {
        "test_auroc": float(test.values[at]),
        "test_auroc_95": interval,
        "n_test": int(test.n[at]),
    }
