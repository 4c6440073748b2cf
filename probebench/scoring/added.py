"""What the probe adds to all baselines together, and whether it beats each of them.

Pure functions over arrays, without torch: a run and a check of its decisions go through the same
code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import bootstrap_interval
from probebench.metrics.paired import paired
from probebench.probes.labels import split_index
from probebench.probes.stacking import stack
from probebench.scoring.best import best_on_common
from probebench.scoring.comparison import DetectorScore, ends
from probebench.types import Detector, Floats, SplitName

Ints = NDArray[np.integer]


def added(
    detectors: Sequence[Detector],
    scores: Sequence[DetectorScore],
    y: Ints,
    splits: Sequence[SplitName],
    groups: Sequence[str],
    seed: int,
) -> dict[str, Any] | None:
    """The record's `added`: a stack of all baselines with and without the probe, the probe's
    partial correlation with the labels given the best baseline, and the probe against each of them.

    Baselines are those of the table that the probe's time allows: of one that is read before the
    answer, only those that can be read by then. One that says the same of all takes no part.

    Args:
        detectors: decisions over the same examples, the selected probe first.
        scores: the table of detectors.
        y: (example,) 1 = correct.
        splits: (example,).
        groups: (example,).
        seed: of the resamples.

    Returns:
        None where no baseline is left, or validation cannot fit a stack.
    """
    probe, y, index = detectors[0], np.asarray(y), split_index(splits)
    table = {s.name for s in scores}
    rows, test = (_there(probe, index[name]) for name in ("validation", "test"))
    rivals = [d for d in detectors if d.name in table and _rivals(d, probe, rows, test)]
    if not rivals or len(np.unique(y[test])) < 2:
        return None
    others = [_columns(d, rows) for d in rivals]
    both, alone = (
        stack(np.column_stack(parts), y, rows, groups)
        for parts in ([_columns(probe, rows), *others], others)
    )
    if both is None or alone is None:
        return None
    names = [groups[i] for i in test.tolist()]
    truth = y[test].astype(np.int64)
    found = paired(truth, truth, both.decisions[test], alone.decisions[test], names, seed)
    k = best_on_common(y[rows], np.array([d.decisions[rows] for d in rivals]))
    return {
        "baselines": [d.name for d in rivals],
        "n": found.n,
        "n_correct": found.correct[0],
        "n_validation": len(rows),
        "without": {"auroc": found.values[1], "auroc_95": ends(found.intervals[1]), "C": alone.C},
        "with_probe": {"auroc": found.values[0], "auroc_95": ends(found.intervals[0]), "C": both.C},
        "difference": found.difference,
        "difference_95": ends(found.interval),
        "difference_p": found.p,
        "partial": None if k is None else _partial(probe, rivals[k], truth, test, names, seed),
        "against_all": against_all([s for s in scores if s.name in {d.name for d in rivals}]),
    }


def _rivals(d: Detector, probe: Detector, *parts: NDArray[np.int64]) -> bool:
    """Is it a baseline of the probe's time that says different things of different examples, of
    those that the stack is fitted to and of those that it is tested on?"""
    said = [d.decisions[rows][np.isfinite(d.decisions[rows])] for rows in parts]
    return (
        d.kind == "baseline"
        and (probe.when == "after" or d.when == "before")
        and all(len(values) and np.ptp(values) > 0 for values in said)
    )


def _there(probe: Detector, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[np.isfinite(probe.decisions[rows])]


def _columns(d: Detector, rows: NDArray[np.int64]) -> Floats:
    """(example, 1 or 2) decisions with mean 0 and deviation 1 over the validation examples that
    have one, 0 where there is none, and beside them, where some lack one, that they do."""
    missing = ~np.isfinite(d.decisions)
    own = d.decisions[rows][~missing[rows]]
    spread = own.std() if len(own) else 0.0
    if not spread > 0:
        return np.zeros((len(d.decisions), 0))
    value = np.where(missing, 0.0, (d.decisions - own.mean()) / spread)
    return np.column_stack([value, missing]) if missing[rows].any() else value[:, None]


def _partial(
    probe: Detector,
    rival: Detector,
    y: NDArray[np.int64],
    test: NDArray[np.int64],
    groups: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Correlation of the probe's ranks with the labels, given the ranks of the best baseline, on
    the test examples that both score."""
    from scipy.stats import rankdata

    a, b = probe.decisions[test], rival.decisions[test]
    there = np.isfinite(a) & np.isfinite(b)
    columns = np.column_stack([y[there], rankdata(a[there]), rankdata(b[there])])
    draws = Resamples.draw([g for g, t in zip(groups, there, strict=True) if t], seed)
    weights = np.concatenate([np.ones((1, int(there.sum()))), draws.counts])
    values = partial_correlations(columns, weights)
    interval = bootstrap_interval(
        float(values[0]), values[1:], draws.independent(y[there]), "difference"
    )
    return {
        "given": rival.name,
        "given_label": rival.label,
        "correlation": float(values[0]),
        "correlation_95": ends(interval),
        "n": int(there.sum()),
    }


def partial_correlations(columns: Floats, weights: Floats) -> Floats:
    """(weighting,) partial correlation of the first two columns given the third.

    Args:
        columns: (example, 3).
        weights: (weighting, example), how often each example counts.

    Returns:
        NaN where one of them does not vary, or the third explains one of the others wholly.
    """
    centred = columns - columns.mean(axis=0)
    total = weights.sum(axis=1)[:, None]
    mean = weights @ centred / total
    products = np.column_stack(
        [centred[:, i] * centred[:, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    )
    moments = weights @ products / total
    v = moments[:, :3] - mean**2
    with np.errstate(invalid="ignore", divide="ignore"):
        r01, r02, r12 = (
            (moments[:, k] - mean[:, i] * mean[:, j]) / np.sqrt(v[:, i] * v[:, j])
            for k, i, j in ((3, 0, 1), (4, 0, 2), (5, 1, 2))
        )
        found = (r01 - r02 * r12) / np.sqrt((1 - r02**2) * (1 - r12**2))
    return np.asarray(np.where(np.isfinite(found), np.clip(found, -1, 1), np.nan))


def against_all(scores: Sequence[DetectorScore]) -> dict[str, Any]:
    """The probe against each baseline by its paired interval.

    That it beats all of them is claimed where every lower end lies above 0. Each of these tests
    must reject, so the claim as a whole errs no more often than one of them (an intersection-union
    test, Berger 1982), however many there are.
    """
    low = {s.name: s.difference_interval.low for s in scores}
    beaten = [name for name, end in low.items() if end > 0]
    lost = [s.name for s in scores if s.difference_interval.high < 0]
    nearest = min(scores, key=lambda s: low[s.name] if np.isfinite(low[s.name]) else -1.0)
    return {
        "n": len(scores),
        "better": len(beaten) == len(scores),
        "undecided": [s.name for s in scores if s.name not in {*beaten, *lost}],
        "worse": lost,
        "nearest": {
            "name": nearest.name,
            "label": nearest.label,
            "difference": nearest.difference,
            "difference_95": ends(nearest.difference_interval),
            "n": nearest.n,
        },
    }
