"""The headline on other test examples: without refusals, without cut-off answers, among equal
answers."""

from __future__ import annotations

from probebench.record.parts.checked import Commonest
from probebench.record.schema import Record
from probebench.report.blocks import (
    AUROC,
    INTERVAL,
    Block,
    Column,
    Facts,
    N,
    Number,
    Prose,
    Row,
    Table,
)
from probebench.report.format import between, count, interval, number, percent


def subsets_blocks(record: Record) -> list[Block]:
    """Probe and best baseline without some of the test answers; nothing is chosen again."""
    rows = tuple(
        Row(
            (
                f"without {s.without} ({s.n_left_out:,})",
                Number(s.auroc),
                between(s.auroc_95),
                s.baseline_label or "none",
                Number(s.baseline_auroc),
                Number(s.difference, signed=True),
                between(s.difference_95, signed=True),
                count(s.n),
            )
        )
        for s in record.subsets or ()
    )
    columns = (
        Column("Test answers"),
        AUROC,
        INTERVAL,
        Column("Best signal"),
        AUROC,
        Column("Difference", True),
        INTERVAL,
        N,
    )
    if not rows:
        return [Prose("No test answer is a refusal or was cut off.", "small")]
    caption = "The selected probe and the best simpler signal on fewer test answers"
    return [Table("subsets", caption, columns, rows)]


def said_blocks(record: Record) -> list[Block]:
    """Which answer each class gives most often, and the probe among answers that say the same."""
    if (facts := record.said) is None:
        return []
    within, classes = facts.within, facts.commonest
    items = [
        ("Commonest correct answer", _commonest(classes.correct)),
        ("Commonest wrong answer", _commonest(classes.wrong)),
        (
            "AUROC among answers that say the same",
            f"{number(within.auroc)} {interval(within.auroc_95)}, n\u00a0=\u00a0{within.n:,}, "
            f"{within.pairs:,} pairs of {within.answers:,} answers",
        ),
    ]
    return [Facts(tuple(items))]


def _commonest(c: Commonest) -> str:
    return f"{c.answer} ({percent(c.share)} of {c.of:,})"
