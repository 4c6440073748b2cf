"""The run beside published figures."""

from __future__ import annotations

from probebench.record.schema import Record
from probebench.report.blocks import (
    AUROC,
    INTERVAL,
    Block,
    Bullets,
    Column,
    N,
    Number,
    Prose,
    Row,
    Table,
)
from probebench.report.format import between, count


def published_blocks(record: Record) -> list[Block]:
    """Figures from papers for the same model and task beside ours, with their source and what
    differs."""
    if (facts := record.published) is None:
        return []
    name = record.task.name
    # probes first, else as printed
    order = sorted(facts.rows, key=lambda r: r.ours_is != "position")
    rows = [
        Row(
            (
                r.detector,
                Number(r.auroc),
                Number(r.spread),
                r.ours,
                *(
                    (Number(r.our_auroc), between(r.our_auroc_95))
                    if r.our_n
                    else ("not measured", "")
                ),
                count(r.our_n),
                r.source,
            )
        )
        for r in order
    ]
    columns = (
        Column("Published"),
        AUROC,
        Column("Spread", True),
        Column("Here"),
        AUROC,
        INTERVAL,
        N,
        Column("Source"),
    )
    caption = f"Published figures for {order[0]['model']} on {name} beside this run's"
    blocks: list[Block] = [
        Table("published", caption, columns, tuple(rows), (facts.sign,)),
        Prose("What differs between the two, so that they are not one measurement:"),
        Bullets(tuple(facts.differs)),
    ]
    for field, key, head, value, caption in (
        ("error_types", "error_type", "Error type", "auroc", "Published AUROC by type of error"),
        (
            "transfer",
            "test_task",
            "Tested on",
            "direction_free_auroc",
            f"Published transfer from {name}, max(AUROC, 1 - AUROC)",
        ),
    ):
        lines = tuple(Row((r[key], Number(r[value]), r.source)) for r in facts[field])
        if lines:
            own = (Column(head), AUROC, Column("Source"))
            blocks.append(
                Table(f"published-{field.replace('_', '-')}", caption, own, lines, folded=True)
            )
    return blocks
