"""All numbers of all detectors, from labels, groups and decisions alone: what a run reports and
what anyone can recompute.

Pure functions over arrays, without torch: a run and a check of its `predictions.parquet` go through
the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import LabelError
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.delong import delong_difference, delong_interval
from probebench.metrics.intervals import Side, area_difference, area_interval
from probebench.probes.labels import split_index
from probebench.scoring.measures import Metric, Sample, all_metrics, calibration_facts, metric_facts
from probebench.types import Detector, DetectorKind, Floats, Interval, SplitName, When

LEAST = 0.5
"""Part of them that a detector must score to stand in the table at all."""
UNDEFINED = Interval(float("nan"), float("nan"))
SHUFFLED = "shuffled_labels_"
"""Detectors whose names begin so are repeats of a control; they stand in the predictions and not in
the table."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectorScore:
    """One detector's row in the table, on the test examples that the selected probe scores, or on
    those of them that it scores itself."""

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
    probe_auroc: float
    """Of the selected probe on the same examples."""
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
    """All detectors on the examples of the selected probe."""

    scores: tuple[DetectorScore, ...]
    rows: NDArray[np.int64]
    """Test examples that the selected probe scores."""
    n_test: int
    dropped: Mapping[str, int]
    """The other test examples, by class."""
    absent: Mapping[str, str]
    """Detectors without any score, and why they are not in the table."""
    largest_group: int
    """Test examples of the largest group."""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """Platt scaling of the selected probe, and the bins of its reliability plot."""


def evaluate_detectors(
    detectors: Sequence[Detector],
    y: NDArray[np.integer],
    splits: Sequence[SplitName],
    groups: Sequence[str],
    seed: int,
) -> Comparison:
    """Score every detector on the test examples of the selected probe, which is the first of them.

    One that lacks a score for some of them stands on those that it scores, with the probe beside it
    on the same, and takes none from the others: what it lacks is mostly of one class, as exact
    answers are that were not found. Thresholds and probabilities are fitted on validation, on the
    same rule.

    Args:
        detectors: decisions over the same examples. Train rows are not looked at and may be left
            out.
        y: (example,) 1 = correct.
        splits: (example,) split of each.
        groups: (example,) what the cluster bootstrap draws.
        seed: of the resamples.

    Raises:
        LabelError: the probe's test examples hold one class only.
    """
    y, index = np.asarray(y), split_index(splits)
    test, validation = index["test"], index["validation"]
    probe = detectors[0]
    own = test[np.isfinite(probe.decisions[test])]
    absent = {d.name: reason for d in detectors if (reason := why_absent(d, y, test, own))}
    if len(np.unique(y[own])) < 2:
        raise LabelError(
            f"The {len(own)} test examples that the selected probe scores hold one class only, so "
            "nothing can be compared."
        )
    held = validation[np.isfinite(probe.decisions[validation])]
    names = np.asarray(groups)
    common, seen = _Examples.of(probe, y, own, held, names, seed), np.concatenate([own, held])
    samples: dict[bytes, _Examples | None] = {np.isfinite(probe.decisions[seen]).tobytes(): common}
    scores = []
    for d in detectors:
        if d.name in absent:
            continue
        scored = np.isfinite(d.decisions[seen]).tobytes()
        if scored not in samples:  # those of the exact answer all lack the same ones
            samples[scored] = common.scored_by(d, y, names, seed)
        if (on := samples[scored]) is None:
            absent[d.name] = "of the examples of the table it can score those of one class only"
        else:
            scores.append(_score(d, on, d.decisions[test], first=d is probe))
    left_out = y[np.setdiff1d(test, own)]
    dropped = {"correct": int((left_out == 1).sum()), "wrong": int((left_out == 0).sum())}
    decisions = probe.decisions[own], probe.decisions[held]
    calibration = calibration_facts(common.sample, *decisions, names[own].tolist())
    facts = {"detector": probe.name, **calibration}
    return Comparison(tuple(scores), own, len(test), dropped, absent, _largest(names[own]), facts)


@dataclass(frozen=True, slots=True, eq=False)
class _Examples:
    """Examples that detectors are compared on, and the selected probe there."""

    probe: Detector
    rows: NDArray[np.int64]
    """Test examples."""
    held: NDArray[np.int64]
    """Validation examples that place thresholds."""
    sample: Sample
    auroc: float
    """Of the probe."""
    drawn: Floats
    """(resample,) the same."""

    @classmethod
    def of(
        cls,
        probe: Detector,
        y: NDArray[np.integer],
        rows: NDArray[np.int64],
        held: NDArray[np.int64],
        groups: NDArray[np.str_],
        seed: int,
    ) -> _Examples:
        """With their resamples."""
        draws, decisions = Resamples.draw(groups[rows].tolist(), seed), probe.decisions[rows]
        sample = Sample.of(y[rows], y[held], draws)
        own = auroc(y[rows], decisions), draws.auroc(y[rows], decisions)
        return cls(probe, rows, held, sample, *own)

    def scored_by(
        self, d: Detector, y: NDArray[np.integer], groups: NDArray[np.str_], seed: int
    ) -> _Examples | None:
        """Those that a detector scores; None where these hold one class only."""
        rows, held = (at[np.isfinite(d.decisions[at])] for at in (self.rows, self.held))
        if len(np.unique(y[rows])) < 2:
            return None
        return _Examples.of(self.probe, y, rows, held, groups, seed)


def _score(d: Detector, on: _Examples, decisions: Floats, *, first: bool) -> DetectorScore:
    """A row of the table.

    Args:
        d: which.
        on: the examples that it is compared on; it scores all of their test examples.
        decisions: (test example,) its own.
        first: is it the probe itself, which has no difference to itself?
    """
    y, draws, scores = on.sample.y, on.sample.draws, d.decisions[on.rows]
    own = Side.of(draws, y, scores)
    gap, apart, by_delong = float("nan"), UNDEFINED, UNDEFINED
    if not first:
        gap = on.auroc - own.value
        probe = Side(y, on.auroc, on.drawn, on.probe.decisions[on.rows])
        apart = area_difference(draws, probe, own).interval
        by_delong = delong_difference(y, on.probe.decisions[on.rows], scores)
    return DetectorScore(
        name=d.name,
        label=d.label,
        kind=d.kind,
        when=d.when,
        n=len(on.rows),
        n_positive=int(y.sum()),
        n_missing=int((~np.isfinite(decisions)).sum()),
        auroc=own.value,
        interval=area_interval(own, draws),
        delong=delong_interval(y, scores),
        probe_auroc=on.auroc,
        difference=gap,
        difference_interval=apart,
        difference_delong=by_delong,
        metrics=all_metrics(on.sample, scores, d.decisions[on.held]),
        detail=d.detail,
    )


def _largest(groups: NDArray[np.str_]) -> int:
    """Examples of the largest group."""
    return int(np.unique(groups, return_counts=True)[1].max())


def why_absent(
    detector: Detector, y: NDArray[np.integer], test: NDArray[np.int64], own: NDArray[np.int64]
) -> str:
    """Why a detector cannot stand in the table; empty when it can.

    Args:
        detector: which.
        y: (example,) 1 = correct.
        test: test examples.
        own: those that the selected probe scores. What one says that scores less than half of them
            is of a handful.
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
        "probe_auroc": score.probe_auroc,
        "probe_minus_this": score.difference,
        "probe_minus_this_95": ends(score.difference_interval),
        "probe_minus_this_95_delong": ends(score.difference_delong),
        "metrics": {name: metric_facts(m) for name, m in score.metrics.items()},
        **({"detail": dict(score.detail)} if score.detail else {}),
    }


def ends(interval: Interval) -> list[float]:
    """Lower and upper end, as records hold them."""
    return [interval.low, interval.high]
