"""All numbers of all detectors, from labels, groups and decisions alone: what a run reports and
what anyone can recompute.

Pure functions over arrays, without torch: a run and a check of its `predictions.parquet` go through
the same code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import LabelError
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.delong import delong_difference, delong_interval
from probebench.metrics.intervals import bootstrap_interval
from probebench.scoring.best import LEAST
from probebench.scoring.measures import Metric, Sample, all_metrics, calibration_facts, metric_facts
from probebench.types import Detector, DetectorKind, Interval, SplitName, When, split_index

UNDEFINED = Interval(float("nan"), float("nan"))
SHUFFLED = "shuffled_labels_"
"""Detectors whose names begin so are repeats of a control; they stand in the predictions and not in
the table."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectorScore:
    """One detector's row in the table, on the test examples that every detector could score."""

    name: str
    label: str
    kind: DetectorKind
    when: When
    n: int
    n_positive: int
    n_missing: int
    """Test examples that this detector has no score for, whether the others have one or not."""
    auroc: float
    interval: Interval
    """Cluster bootstrap by group."""
    delong: Interval
    difference: float
    """AUROC of the selected probe minus this one's; NaN for the probe itself."""
    difference_interval: Interval
    """Paired cluster bootstrap."""
    difference_delong: Interval
    """DeLong's for two correlated curves, examples independent."""
    metrics: Mapping[str, Metric]
    detail: Mapping[str, Any]

    @property
    def auprc(self) -> float:
        """Average precision of the class `correct`."""
        return self.metrics["auprc"].value


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
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """Platt scaling of the selected probe, and the bins of its reliability plot."""


def evaluate_detectors(
    detectors: Sequence[Detector],
    y: NDArray[np.integer],
    splits: Sequence[SplitName],
    groups: Sequence[str],
    seed: int,
) -> Comparison:
    """Score every detector on the test examples that all of them cover; the first detector is the
    selected probe.

    Thresholds and probabilities are fitted on validation, on the examples that every detector with
    a validation score covers, as in test.

    Args:
        detectors: decisions over the same examples. Train rows are not looked at and may be left
            out.
        y: (example,) 1 = correct.
        splits: (example,) split of each.
        groups: (example,) what the cluster bootstrap draws.
        seed: of the resamples.

    Raises:
        LabelError: the common examples hold one class only.
    """
    y, index = np.asarray(y), split_index(splits)
    test, validation = index["test"], index["validation"]
    own = test[np.isfinite(detectors[0].decisions[test])]
    absent = {d.name: reason for d in detectors if (reason := why_absent(d, y, test, own))}
    used = [d for d in detectors if d.name not in absent]
    covered = np.all([np.isfinite(d.decisions[test]) for d in used], axis=0)
    rows = test[covered]
    truth = y[rows]
    if len(np.unique(truth)) < 2:
        raise LabelError(
            f"The {len(rows)} test examples that every detector can score hold one class only, so "
            "nothing can be compared."
        )
    finite = [f for d in used if (f := np.isfinite(d.decisions[validation])).any()]
    held = validation[np.all(finite, axis=0)] if finite else validation[:0]
    names = [groups[i] for i in rows]
    sample = Sample.of(truth, y[held], Resamples.draw(names, seed))
    left_out = y[test[~covered]]
    dropped = {"correct": int((left_out == 1).sum()), "wrong": int((left_out == 0).sum())}
    probe = used[0]
    calibration = calibration_facts(sample, probe.decisions[rows], probe.decisions[held], names)
    return Comparison(
        tuple(_scores(used, sample, test, rows, held)),
        rows,
        len(test),
        dropped,
        absent,
        {"detector": probe.name, **calibration},
    )


def _scores(
    used: Sequence[Detector],
    sample: Sample,
    test: NDArray[np.int64],
    rows: NDArray[np.int64],
    held: NDArray[np.int64],
) -> Iterator[DetectorScore]:
    """A row of the table for each detector, the probe first.

    Args:
        used: detectors that score all of `rows`.
        sample: labels and resamples of `rows`.
        test: all test examples.
        rows: test examples that are compared.
        held: validation examples that place thresholds.
    """
    y, draws, independent = sample.y, sample.draws, sample.draws.independent(sample.y)
    probe, own, drawn = used[0].decisions[rows], 0.0, np.zeros(0)
    for i, d in enumerate(used):
        decisions = d.decisions[rows]
        value, replicates = auroc(y, decisions), draws.auroc(y, decisions)
        gap, interval, by_delong = float("nan"), UNDEFINED, UNDEFINED
        if i == 0:
            own, drawn = value, replicates
        else:
            gap = own - value
            interval = bootstrap_interval(gap, drawn - replicates, independent, "difference")
            by_delong = delong_difference(y, probe, decisions)
        yield DetectorScore(
            name=d.name,
            label=d.label,
            kind=d.kind,
            when=d.when,
            n=len(rows),
            n_positive=int(y.sum()),
            n_missing=int((~np.isfinite(d.decisions[test])).sum()),
            auroc=value,
            interval=bootstrap_interval(value, replicates, independent),
            delong=delong_interval(y, decisions),
            difference=gap,
            difference_interval=interval,
            difference_delong=by_delong,
            metrics=all_metrics(sample, decisions, d.decisions[held]),
            detail=d.detail,
        )


def why_absent(
    detector: Detector, y: NDArray[np.integer], test: NDArray[np.int64], own: NDArray[np.int64]
) -> str:
    """Why a detector cannot stand in the table; empty when it can.

    Args:
        detector: which.
        y: (example,) 1 = correct.
        test: test examples.
        own: those that the selected probe scores. One that scores less than half of them would
            shrink the table for all.
    """
    scored = np.asarray(y)[test][np.isfinite(detector.decisions[test])]
    if not len(scored):
        return "no test example has what it reads"
    if len(np.unique(scored)) < 2:
        return "it can score test examples of one class only"
    shared = int(np.isfinite(detector.decisions[own]).sum())
    few = shared < LEAST * len(own)
    return (
        f"it can score {shared} of {len(own)} test examples of the probe, fewer than half"
        if few
        else ""
    )


def detector_facts(score: DetectorScore) -> dict[str, Any]:
    """One row of the record's table of detectors."""
    return {
        "name": score.name,
        "label": score.label,
        "kind": score.kind,
        "when": score.when,
        "n": score.n,
        "n_correct": score.n_positive,
        "n_missing": score.n_missing,
        "auroc": score.auroc,
        "auroc_95": ends(score.interval),
        "auroc_95_delong": ends(score.delong),
        "auprc": score.auprc,
        "prevalence": score.n_positive / score.n,
        "probe_minus_this": score.difference,
        "probe_minus_this_95": ends(score.difference_interval),
        "probe_minus_this_95_delong": ends(score.difference_delong),
        "metrics": {name: metric_facts(m) for name, m in score.metrics.items()},
        **({"detail": dict(score.detail)} if score.detail else {}),
    }


def ends(interval: Interval) -> list[float]:
    """Lower and upper end, as records hold them."""
    return [interval.low, interval.high]
