"""Beside simpler signals: every detector on the same examples, before and after the answer, and
their further metrics."""

from __future__ import annotations

from functools import partial

import numpy as np

from probebench.record.claims import against_of
from probebench.record.parts.measured import DetectorFacts, MetricFacts
from probebench.record.schema import Record
from probebench.record.words import on_fewer, terms
from probebench.report.blocks import (
    AUROC,
    INTERVAL,
    Block,
    Column,
    Figure,
    N,
    Number,
    Prose,
    Row,
    Table,
    TableCell,
)
from probebench.report.format import between, count, interval, number, percent, value_words
from probebench.report.plots import plot_detectors
from probebench.report.terminal.detectors import lacking

METRICS = {
    "auprc": "AUPRC",
    "accuracy": "Accuracy",
    "brier": "Brier",
    "ece": "ECE",
    "prr": "PRR",
    "recall_at_fpr_01": "Recall at 1 %",
    "recall_at_fpr_05": "Recall at 5 %",
}
"""Further metrics in the order of their columns."""
METRIC_NOTES = {
    "accuracy": "Accuracy: at the threshold chosen on validation.",
    "brier": "Brier and ECE: after Platt scaling on validation; lower is better.",
    "prr": "PRR: prediction-rejection ratio, 0 for random and 1 for the oracle.",
    "recall_at_fpr_01": (
        "Recall at 1 % and 5 %: share of the wrong answers found at that rate of false alarms on "
        "validation."
    ),
}
READABLE = (
    Column("Readable"),
    Column("Best cell"),
    AUROC,
    Column("Best signal then"),
    AUROC,
    Column("Difference", True),
    INTERVAL,
    N,
)


def detectors_table(record: Record) -> Table:
    """One row per detector on the same test examples, the selected probe first, shuffled labels
    last."""
    rows = [_detector(d, first=i == 0) for i, d in enumerate(record.detectors)]
    rows += [Row((label, "-", "", "", "", "-", "")) for label in lacking(record).values()]
    shuffled, n = record.controls.shuffled_labels, record.selection.n_test
    label = f"shuffled labels, mean of {shuffled.repeats}"
    own = Number(shuffled.mean_auroc), between(shuffled.mean_auroc_95)
    rows.append(Row((label, *own, "", "", count(n), "")))
    columns = (
        Column("Detector"),
        AUROC,
        INTERVAL,
        Column("Probe \u2212 this", True),
        INTERVAL,
        N,
        Column("Readable", optional=True),
    )
    caption = f"Detectors of right and wrong on the same test {terms(record).what}"
    return Table("detectors", caption, columns, tuple(rows), tuple(_detector_notes(record))).lean()


def _detector(d: DetectorFacts, *, first: bool) -> Row:
    """One detector; the first is the probe that the others are read against."""
    gap: tuple[TableCell, TableCell] = ("", "")
    if not first:
        ends = between(d.probe_minus_this_95, signed=True)
        gap = Number(d.probe_minus_this, signed=True), ends
    own = (d.label, Number(d.auroc), between(d.auroc_95))
    return Row((*own, *gap, f"{d.n:,}", d.when or ""), first)


def _detector_notes(record: Record) -> list[str]:
    """The sample of the table, what it leaves out, and detectors that are not in it."""
    what, right, _ = terms(record)
    c, fewer = record.comparison, _fewer(record)
    again = f" and of {fewer}: there the probe is taken on the same ones" if fewer else ""
    notes = [
        f"n = {c.n_compared:,} of {c.n_test:,} test {what}, the same for every row but that of "
        f"shuffled labels{again}; positive class: {right}. 95 % intervals: "
        "cluster bootstrap by group, of shuffled labels over repeats; of differences: paired. "
        "Signs are fixed in advance, nothing is flipped."
    ]
    if sum(c.dropped.values()):
        dropped = value_words(c.dropped)
        notes.append(f"Left out, as they lack the token of the selected probe: {dropped}.")
    asked = lacking(record)
    return notes + [
        f"Without a score: {asked[name]}, {why}."
        if name in asked
        else f"Not in the table: {name}, {why}."
        for name, why in c.absent.items()
    ]


def _fewer(record: Record) -> str:
    """How many rows stand on fewer examples; nothing where none does."""
    few = sum(d.n < record.comparison.n_compared for d in record.detectors)
    return f"{few} that score fewer" if few else ""


def metrics_tables(record: Record) -> list[Table]:
    """The probe's further metrics with their intervals, and those of every detector."""
    detectors = record.detectors
    own = detectors[0]["metrics"]
    seen, fewer = [m for m in METRICS if m in own], _fewer(record)
    columns = (Column("Metric"), Column("Value", True), INTERVAL, N, Column("Positive class"))
    rows = tuple(_metric(METRICS[m], own[m]) for m in seen)
    first = Table("probe-metrics", "The probe's metrics with their intervals", columns, rows)
    lines = tuple(
        Row((d.label, *(Number(d.metrics[m]["value"]) for m in seen)), i == 0)
        for i, d in enumerate(detectors)
    )
    notes = (
        f"Positive class: {terms(record).right}, prevalence {number(detectors[0]['prevalence'])}.",
        f"n = {detectors[0].n:,}, the same for every row{f' but {fewer}' if fewer else ''}.",
        *(text for m, text in METRIC_NOTES.items() if m in seen),
    )
    heads = (Column("Detector"), *(Column(METRICS[m], True) for m in seen))
    return [first, Table("metrics", "Further metrics of every detector", heads, lines, notes)]


def _metric(name: str, v: MetricFacts) -> Row:
    if alarms := v.false_alarms:
        name += f" false alarms ({percent(alarms.value)} on test)"
    return Row((name, Number(v.value), between((v.low, v.high)), count(v.n), v.positive))


def readable_blocks(record: Record) -> list[Block]:
    """What can be read before the answer is written, and what after, each against the best signal
    available then."""
    if "readable" not in record:
        return []
    rows, missing, validation = [], [], []
    for when in ("before", "after"):
        if (facts := getattr(record.readable, when, None)) is None:
            missing.append(f"No cell and simpler signal to compare are readable {when} the answer.")
            continue
        own = against_of(facts)
        signal, where = facts.best_baseline, f"layer {own.cell['layer']}, {own.cell['position']}"
        gap = Number(own.difference, signed=True), between(own.difference_95, signed=True)
        there = signal["label"], Number(signal["auroc"])
        rows.append(Row((when, where, Number(own.auroc), *there, *gap, count(own.n))))
        if (n := signal.get("n_validation")) is not None:
            validation.append(f"{when}: {n:,}")
    common = (
        f", the signal on the validation examples that all signals score ({', '.join(validation)})"
        if validation
        else ""
    )
    note = (
        f"Cell and signal are both chosen by validation among what is readable at that time{common}"
        ". All numbers of a row are over the same n test examples, those that both score."
    )
    caption = "Best cell against the best simpler signal, before and after the answer"
    table = Table("readable", caption, READABLE, tuple(rows), (note,))
    return [*([table] if rows else []), *(Prose(text, "small") for text in missing)]


def detectors_figure(record: Record) -> Figure:
    """Every detector's AUROC with its interval."""
    rows = [d for d in record.detectors if d.auroc is not None and np.isfinite(d.auroc)]
    n = record.comparison.n_compared
    alt = (
        "AUROC with 95 % interval: "
        + "; ".join(
            f"{d.label} {number(d.auroc)} {interval(d.auroc_95)}{on_fewer(d, n)}" for d in rows
        )
        + "."
    )
    named = ", of those that score fewer on these" if _fewer(record) else ""
    caption = (
        f"Test AUROC with 95 % interval of every detector on the same {n:,} "
        f"{terms(record).what}{named}, the highest first; orange is the selected probe, the line "
        "at 0.5 is chance."
    )
    narrow = partial(plot_detectors, rows, narrow=True)
    return Figure(caption, alt, partial(plot_detectors, rows), narrow=narrow)
