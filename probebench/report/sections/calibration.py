"""Do the probe's probabilities hold?"""

from __future__ import annotations

from functools import partial

import pandas as pd

from probebench.record.schema import Record
from probebench.record.words import terms
from probebench.report.blocks import INTERVAL, Block, Column, Figure, N, Number, Prose, Row, Table
from probebench.report.format import between, count, number
from probebench.report.plots import plot_reliability


def calibration_blocks(record: Record) -> list[Block]:
    """The reliability plot of the probe's probabilities, with its bins as a table."""
    if (facts := record.calibration) is None:
        return []
    if not facts.bins:
        return [
            Prose(
                "Not measured: validation lacks a class, so decisions cannot be turned into "
                "probabilities.",
                "small",
            )
        ]
    what, right, _ = terms(record)
    bins = pd.DataFrame([b.plain() for b in facts.bins])
    alt = "; ".join(
        f"given {number(b.mean_predicted, 2)}, {right} {number(b.fraction_correct, 2)}, n {b.n}"
        for b in bins.itertuples()
    )
    caption = (
        f"Share of {right} {what} against the probability that the probe gives them: {facts.n:,} "
        f"test {what} in bins of equal size, Platt scaling on {facts.n_validation:,} of validation "
        f"(slope {number(facts.slope)}, intercept {number(facts.intercept)}). Bars: 95 % interval; "
        "dotted: perfect calibration."
    )
    columns = (Column("Probability given"), Column(f"Share {right}", True), INTERVAL, N)
    rows = [
        Row(
            (
                Number(b.mean_predicted),
                Number(b.fraction_correct),
                between((b.low, b.high)),
                count(b.n),
            )
        )
        for b in facts.bins
    ]
    return [
        Figure(
            caption,
            f"Reliability plot of {len(bins)} bins: {alt}.",
            partial(plot_reliability, bins),
        ),
        Table(
            "calibration",
            "Reliability bins of the probe on test",
            columns,
            tuple(rows),
            folded=True,
        ),
    ]
