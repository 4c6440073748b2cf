"""All numbers of all detectors, from labels, groups and decisions alone: what a run reports and
what anyone can recompute.

Pure functions over arrays, without torch: a run and a check of its `predictions.parquet` go through
the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import LabelError
from probebench.metrics.auroc import Resamples, auroc, delong_difference, delong_interval
from probebench.metrics.calibration import (
    calibration_gaps,
    calibration_interval,
    fit_platt,
    reliability,
)
from probebench.metrics.intervals import Scale, bootstrap_interval
from probebench.metrics.ranking import accuracy_threshold, alarm_threshold, ranked
from probebench.scoring.best import LEAST
from probebench.types import Detector, DetectorKind, Floats, Interval, SplitName, When, split_index

ALARM_RATES = {"recall_at_fpr_01": 0.01, "recall_at_fpr_05": 0.05}
"""Metric -> share of correct answers that may be flagged as wrong."""
SHUFFLED = "shuffled_labels_"
"""Detectors whose names begin so are repeats of a control; they stand in the predictions and not in
the table."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One number of one detector."""

    value: float
    interval: Interval
    """Cluster bootstrap by group, with whatever was fitted on validation held fixed."""
    n: int
    """Test examples it is computed on."""
    positive: str
    """`correct` or `wrong`: the class that it looks for."""
    detail: Mapping[str, Any] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What is the same for all detectors of one table."""

    y: NDArray[np.integer]
    """(test example,) 1 = correct."""
    y_validation: NDArray[np.integer]
    """(validation example,) 1 = correct."""
    draws: Resamples
    """Resamples of the test examples."""
    counts: Floats
    """(1 + resample, test example) how often each was drawn; row 0 is the sample itself, every
    example once."""
    whole: NDArray[np.float32]
    """The same in half the memory: sums of whole numbers stay exact."""
    classes: Floats
    """(1 + resample, 2) wrong and correct examples drawn."""

    @classmethod
    def of(
        cls, y: NDArray[np.integer], y_validation: NDArray[np.integer], draws: Resamples
    ) -> Sample:
        """Put the sample itself above its resamples."""
        whole = np.concatenate(
            [np.ones((1, len(y)), dtype=np.float32), draws.counts.astype(np.float32, copy=False)]
        )
        classes = whole @ np.column_stack([y != 1, y == 1]).astype(np.float32)
        return cls(
            y, y_validation, draws, whole.astype(np.float64), whole, classes.astype(np.float64)
        )


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
    draws = Resamples.draw(names, seed)
    sample, independent = Sample.of(truth, y[held], draws), draws.independent(truth)
    replicates = [draws.auroc(truth, d.decisions[rows]) for d in used]
    values = [auroc(truth, d.decisions[rows]) for d in used]
    nan = float("nan")
    scores = tuple(
        DetectorScore(
            name=d.name,
            label=d.label,
            kind=d.kind,
            when=d.when,
            n=len(rows),
            n_positive=int(truth.sum()),
            n_missing=int((~np.isfinite(d.decisions[test])).sum()),
            auroc=values[i],
            interval=bootstrap_interval(values[i], replicates[i], independent),
            delong=delong_interval(truth, d.decisions[rows]),
            difference=values[0] - values[i] if i else nan,
            difference_interval=(
                bootstrap_interval(
                    values[0] - values[i], replicates[0] - replicates[i], independent, "difference"
                )
                if i
                else Interval(nan, nan)
            ),
            difference_delong=delong_difference(truth, used[0].decisions[rows], d.decisions[rows])
            if i
            else Interval(nan, nan),
            metrics=all_metrics(sample, d.decisions[rows], d.decisions[held]),
            detail=d.detail,
        )
        for i, d in enumerate(used)
    )
    left_out = y[test[~covered]]
    dropped = {"correct": int((left_out == 1).sum()), "wrong": int((left_out == 0).sum())}
    calibration = calibration_facts(sample, used[0].decisions[rows], used[0].decisions[held], names)
    return Comparison(
        scores, rows, len(test), dropped, absent, {"detector": used[0].name, **calibration}
    )


def all_metrics(sample: Sample, test: Floats, validation: Floats) -> dict[str, Metric]:
    """Every metric of one detector beside its AUROC; NaN where validation cannot say.

    Value and interval come from one formula: row 0 of the weights is the sample, the others are its
        resamples.

    Args:
        sample: labels and weights.
        test: (test example,) decisions, all finite.
        validation: (validation example,) decisions; NaN throughout where a detector has none.
    """
    y, n, correct = sample.y, len(sample.y), sample.y == 1
    known = np.isfinite(validation)
    y_known, held = sample.y_validation[known], validation[known]
    platt, cut = fit_platt(y_known, held), accuracy_threshold(y_known, held)
    p = platt(test)
    columns = [(test >= cut) == correct, (p - correct) ** 2]
    sums = sample.counts @ np.column_stack([*columns, calibration_gaps(y, p)]).astype(np.float64)
    total, groups = sample.classes.sum(axis=1), sample.draws.independent(y)
    order, error = (
        ranked(y, test, sample.counts),
        calibration_interval(sums[:, 2:] / total[:, None], groups),
    )

    def metric(replicates: Floats, scale: Scale = "logit", **detail: Any) -> Metric:
        interval = bootstrap_interval(float(replicates[0]), replicates[1:], groups, scale)
        return Metric(float(replicates[0]), interval, n, "correct", detail)

    held_correct, prr = held[y_known == 1], metric(order.prr, "below_one")
    worst = float(
        ranked(y, -y.astype(np.float64)).prr[0]
    )  # of all orders; the scale itself has no lower end
    return {
        "auprc": metric(order.auprc),
        "accuracy": metric(
            _defined(cut) * sums[:, 0] / total, threshold=cut, n_validation=len(held)
        ),
        "brier": metric(sums[:, 1] / total),
        "ece": Metric(
            error.value, error.interval, n, "correct", {"if_calibrated": error.if_calibrated}
        ),
        "prr": replace(
            prr, interval=Interval(float(np.maximum(worst, prr.interval.low)), prr.interval.high)
        ),
        **{
            name: recall(sample, test, alarm_threshold(held_correct, r), len(held_correct))
            for name, r in ALARM_RATES.items()
        },
    }


def recall(sample: Sample, test: Floats, threshold: float, n_threshold: int) -> Metric:
    """Share of wrong answers at or below an alarm threshold, with the share of correct ones there:
    the false alarms obtained.

    Args:
        sample: labels and weights.
        test: (test example,) decisions.
        threshold: NaN where it could not be placed.
        n_threshold: correct answers that placed it.
    """
    alarm, parts = test <= threshold, []
    classes = (sample.y != 1, sample.y == 1)
    flagged = (
        sample.whole @ np.column_stack([alarm & among for among in classes]).astype(np.float32)
    ).astype(np.float64)
    for k, among in enumerate(classes):
        with np.errstate(invalid="ignore", divide="ignore"):
            share = _defined(threshold) * flagged[:, k] / sample.classes[:, k]
        parts.append(
            (
                float(share[0]),
                bootstrap_interval(float(share[0]), share[1:], sample.draws.n_groups(among)),
            )
        )
    (caught, interval), (false, ends_of_false) = parts
    alarms = {"value": false, "low": ends_of_false.low, "high": ends_of_false.high}
    detail = {"threshold": threshold, "n_threshold": n_threshold, "false_alarms": alarms}
    return Metric(caught, interval, len(test), "wrong", detail)


def _defined(threshold: float) -> float:
    """1, or NaN for a threshold that could not be placed."""
    return float("nan") if np.isnan(threshold) else 1.0


def calibration_facts(
    sample: Sample, test: Floats, validation: Floats, groups: Sequence[str]
) -> dict[str, Any]:
    """Platt scaling of one detector on validation and the reliability bins of its test
    probabilities; none where undefined."""
    known = np.isfinite(validation)
    platt = fit_platt(sample.y_validation[known], validation[known])
    bins = [] if np.isnan(platt.slope) else reliability(sample.y, platt(test), groups)
    return {
        "n": len(test),
        "n_validation": int(known.sum()),
        "slope": platt.slope,
        "intercept": platt.intercept,
        "bins": bins,
    }


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


def metric_facts(m: Metric) -> dict[str, Any]:
    """One metric as it stands in a record."""
    return {
        "value": m.value,
        "low": m.interval.low,
        "high": m.interval.high,
        "n": m.n,
        "positive": m.positive,
        **m.detail,
    }


def ends(interval: Interval) -> list[float]:
    """Lower and upper end, as records hold them."""
    return [interval.low, interval.high]
