"""Near twins across the split."""

from __future__ import annotations

from probebench.record.schema import Record
from probebench.report.blocks import Block, Facts
from probebench.report.format import interval, number, percent


def twins_blocks(record: Record) -> list[Block]:
    """How many test texts nearly stand in train or validation, and the headline without them."""
    if (facts := record.near_twins) is None:
        return []
    left = facts.without
    by = ", ".join(f"{n:,} in {split}" for split, n in facts.by_split.items())
    items = [
        (
            f"Test texts with a near twin (cosine above {facts.bar:g})",
            f"{facts.n:,} of {facts.n_test:,} ({percent(facts.share)}): {by}",
        ),
        (
            "Probe without them",
            f"{number(left.probe_auroc)} {interval(left.probe_auroc_95)}, n\u00a0=\u00a0{left.n:,}",
        ),
    ]
    if left.baseline:
        items += [
            (
                f"{left.baseline} without them",
                f"{number(left.baseline_auroc)} {interval(left.baseline_auroc_95)}",
            ),
            (
                "Probe \u2212 baseline without them",
                f"{number(left.difference, signed=True)} "
                f"{interval(left.difference_95, signed=True)}",
            ),
        ]
    if left.reason:
        items.append(("Not measured", left.reason))
    if facts.examples:
        pairs = "; ".join(f"{p.id} ~ {p.near} ({number(p.cosine)})" for p in facts.examples)
        items.append(("The nearest", pairs))
    return [Facts(tuple(items))]
