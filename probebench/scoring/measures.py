"""The further metrics of one detector, from its decisions and the labels alone.

Pure functions over arrays, without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.bootstrap import Resamples
from probebench.metrics.calibration import (
    calibration_gaps,
    calibration_interval,
    fit_platt,
    reliability,
)
from probebench.metrics.intervals import Scale, bootstrap_interval
from probebench.metrics.ranking import accuracy_threshold, alarm_threshold, ranked
from probebench.types import Floats, Interval

ALARM_RATES = {"recall_at_fpr_01": 0.01, "recall_at_fpr_05": 0.05}
"""Metric -> share of correct answers that may be flagged as wrong."""


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
    # of all orders; the scale itself has no lower end
    worst = float(ranked(y, -y.astype(np.float64)).prr[0])
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
