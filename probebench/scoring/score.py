"""From decisions to numbers: score matrices, the selected cell, and all detectors on the same test
examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.probes.fit import Job
from probebench.probes.labels import split_index
from probebench.probes.many_fits import fits_of
from probebench.scoring.comparison import SHUFFLED, Comparison, evaluate_detectors
from probebench.scoring.matrix import best_of_shuffled, score_matrix
from probebench.scoring.select import best_of, cell_facts
from probebench.types import CellFit, Detector, ScoreMatrix, SplitName

REPEATS = 20
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
    kept_by_shuffles: float
    """Test AUROC of the size of an answer's group, which shuffled labels keep."""


def score_run(
    fits: Sequence[CellFit], job: Job, detectors: Sequence[Detector], chosen: CellFit
) -> Result:
    """Score matrices, the best cell of each site, and every detector beside the selected probe.

    Args:
        fits: every cell's probe.
        job: labels, hidden states and kind of probe.
        detectors: all of them, finished, the selected probe first.
        chosen: the cell selected on validation.

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
    best = {site: at for site in sites if (at := best_of(fits, site)) is not None}
    control, repeats, kept = shuffled_control(job, chosen)
    return Result(
        matrices=matrices,
        selected=chosen,
        best=best,
        max_statistic_p=best_of_shuffled(
            fits, chosen.cell.site, matrices[chosen.cell.site, "test"]
        ),
        detectors=tuple(detectors),
        comparison=evaluate_detectors(detectors, labels.y, labels.splits, labels.groups, seed),
        shuffled=control,
        shuffled_aurocs=repeats,
        kept_by_shuffles=kept,
    )


def shuffled_control(
    job: Job, chosen: CellFit
) -> tuple[tuple[Detector, ...], tuple[float, ...], float]:
    """The selected cell's probe on shuffled labels: its decisions and test AUROC, once per repeat;
    and the test AUROC of what these labels keep of the true ones, the size of a group."""
    places = np.flatnonzero(job.reader.there(chosen.cell.position))
    rows, y = job.labels.rows(places), job.labels.y[places]
    shuffled = job.labels.shuffled(REPEATS, job.seed, places)
    fits = fits_of(job.vectors(chosen.cell)[places], rows["train"], job.probe, job.device)
    found, _, _ = fits.decisions(shuffled[:, rows["train"]], [chosen.C] * REPEATS, rough=True)
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
    kept, test = job.labels.share_by_size(places), rows["test"]
    aurocs = tuple(auroc(y[test], d[test]) for d in found)
    return tuple(detectors), aurocs, auroc(y[test], kept[test])
