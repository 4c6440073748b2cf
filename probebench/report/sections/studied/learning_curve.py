"""How much training data it takes."""

from __future__ import annotations

from functools import partial

import pandas as pd

from probebench.record.parts.studied import CurveEnd, CurvePoint
from probebench.record.schema import Record
from probebench.record.words import cell_words
from probebench.report.blocks import INTERVAL, Block, Column, Figure, Number, Row, Table
from probebench.report.format import between, count, interval, number
from probebench.report.plots import plot_learning_curve


def learning_blocks(record: Record) -> list[Block]:
    """Test AUROC of the selected cell's probe by number of training examples."""
    if (facts := record.learning_curve) is None:
        return []
    points: list[CurvePoint | CurveEnd] = [*facts.points, facts.all]
    shown = pd.DataFrame(
        {
            "n_train": [p.n for p in points],
            "auroc": [p.auroc for p in points],
            "low": [p.auroc_95[0] for p in points],
            "high": [p.auroc_95[1] for p in points],
        },
        dtype=float,
    ).dropna(subset=["auroc"])
    where = cell_words(facts)
    caption = (
        f"Test AUROC at {where} when the probe is trained on fewer examples, C chosen on "
        f"validation each time; n = {facts.n_test:,}. Means over random orders of the groups; the "
        "band says how much depends on which examples were drawn, at the last point it is that of "
        "the test split."
    )
    columns = (
        Column("Training examples"),
        Column("Test AUROC", True),
        INTERVAL,
        Column("Orders", True),
    )
    rows = [*(_point(p, count(p.repeats)) for p in facts.points), _point(facts.all, strong=True)]
    table = Table(
        "learning-curve",
        f"Test AUROC at {where} by number of training examples",
        columns,
        tuple(rows),
    )
    if shown.empty:
        return [table]
    alt = "; ".join(
        f"{p.n_train:,.0f}: {number(p.auroc)} {interval((p.low, p.high))}"
        for p in shown.itertuples()
    )
    return [
        Figure(
            caption, f"Test AUROC by training examples. {alt}.", partial(plot_learning_curve, shown)
        ),
        table,
    ]


def _point(p: CurvePoint | CurveEnd, orders: str = "", *, strong: bool = False) -> Row:
    """The probe on so many examples, in so many orders of them."""
    return Row((count(p.n), Number(p.auroc), between(p.auroc_95), orders), strong)
