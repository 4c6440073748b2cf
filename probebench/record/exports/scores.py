"""The numbers of a record, one by one, with what each place wants to know of a number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from probebench.metrics.intervals import wilson
from probebench.record.parts.measured import DetectorFacts
from probebench.record.schema import Record
from probebench.text import defined
from probebench.types import Interval

METRICS = {
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "prr": "prediction-rejection ratio",
    "recall_at_fpr_01": "recall of wrong answers at 1 % false alarms",
    "recall_at_fpr_05": "recall of wrong answers at 5 % false alarms",
}
"""Metric -> what it is called."""
LOWER_IS_BETTER = ("brier", "ece")
UNBOUNDED = ("prr",)
"""Without a smallest value; all others lie between 0 and 1, and none is above 1."""
Ends = tuple[float | None, float | None]
BOOTSTRAP, WILSON = "bootstrap over groups", "Wilson"
"""How an interval was computed."""
PROBE, ACCURACY, AUROC = "probe", "answers.accuracy", "probe.auroc"
"""The selected cell's probe among the detectors; how often the model is right; the AUROC of the
selected probe, on the test examples that it scores."""


@dataclass(frozen=True, slots=True)
class Score:
    """One number of a run."""

    name: str
    """`probe.auroc`: what it is of, and the metric. Stable from run to run."""
    of: str
    """What it is of, in words."""
    metric: str
    value: float
    interval: Interval | None
    """95 %; None where an end is not known."""
    method: str
    """Of the interval."""
    n: int
    """Examples that it is computed on."""
    detector: DetectorFacts | None
    """None where it is the model's own accuracy."""


def scores(r: Record) -> list[Score]:
    """Every number that is defined: how often the model is right, and each detector's metrics, the
    selected probe first. A number that a run does not have is not there."""
    return [*_answers(r), *(score for d in r.detectors for score in _detector(d))]


def _answers(r: Record) -> Iterator[Score]:
    """How often the model answers right; of statements, which no model wrote, there is none."""
    c = r.counts.all
    if r.task.kind != "statements" and defined(c.accuracy):
        ends = wilson(c.correct, c.n)
        yield Score(ACCURACY, "answers", "accuracy", c.accuracy, ends, WILSON, c.n, None)


def _detector(d: DetectorFacts) -> Iterator[Score]:
    found: dict[str, tuple[float | None, Ends, int]] = {"auroc": (d.auroc, d.auroc_95, d.n)}
    found |= {name: (m.value, (m.low, m.high), m.n) for name, m in d.metrics.items()}
    for metric, (value, (low, high), n) in found.items():
        if defined(value):
            ends = Interval(low, high) if defined(low) and defined(high) else None
            yield Score(f"{d.name}.{metric}", d.label, metric, value, ends, BOOTSTRAP, n, d)
