"""What depends on the split."""

from __future__ import annotations

from probebench.record.parts.resplits import CrossFittedFacts, ResplitFacts, SplitResult
from probebench.record.schema import Record
from probebench.record.words import terms
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
from probebench.report.format import between, count, interval, number

SHOWN = 10
"""Cells that are named; the record has all of them."""


def resplits_blocks(record: Record) -> list[Block]:
    """The spread over other splits, the cells that they select, and the folds."""
    if (facts := record.resplits) is None:
        return []
    what, columns = terms(record).what, (Column("Split"), AUROC, INTERVAL, N, Column("Selected"))
    words = (
        f"The result above is of one split. Here the same {what} are split again by the same "
        f"rule{_kept(facts)}, all cells are fitted and one is selected on validation; nothing is "
        "generated or read again. The interval of one split speaks of its test examples alone."
    )
    splits = Table(
        "resplits",
        "Test AUROC of the cell that each split selects",
        columns,
        tuple(_row(f"seed {s.seed}", s) for s in facts.splits),
        folded=True,
    )
    blocks: list[Block] = [Prose(words, "small"), Facts(tuple(_spread(record, facts))), splits]
    if crossed := facts.cross_fitted:
        folds = Table(
            "cross-fitted",
            f"Five folds that test each of the {what} once, by the probe of the others",
            columns,
            (
                *(_row(f"fold {k}", fold) for k, fold in enumerate(crossed.folds, start=1)),
                _whole(crossed),
            ),
        )
        blocks.append(folds)
    return blocks


def _kept(facts: ResplitFacts) -> str:
    return ", the task's own test examples kept" if facts.rule != "all" else ""


def _spread(record: Record, facts: ResplitFacts) -> list[tuple[str, str]]:
    """Mean and spread, and how often which cell was selected."""
    over, crossed = facts.spread, facts.cross_fitted
    cells = ", ".join(
        f"layer {c.layer}, {c.position} {c.times:,} times" for c in facts.selected[:SHOWN]
    )
    items = [
        (
            "This run",
            f"{number(record.selection.test_auroc)} {interval(record.selection.test_auroc_95)}",
        ),
        (
            "Mean of other splits",
            f"{number(over.mean)} {interval(over.mean_95)}, {over.n:,} splits",
        ),
        (
            "Standard deviation over splits",
            f"{number(over.sd)}, from {number(over.min)} to {number(over.max)}",
        ),
        ("Standard error that one split gives itself", number(over.standard_error)),
        ("Splits that select this run's cell", f"{facts.own_cell:,} of {over.n:,}"),
        ("Selected", cells or "none"),
    ]
    if crossed:
        items.append(
            (
                "Cross-fitted",
                f"{number(crossed.auroc)} {interval(crossed.auroc_95)}, n\u00a0=\u00a0"
                f"{crossed.n:,} in {crossed.n_groups:,} groups",
            )
        )
    return items


def _row(name: str, s: SplitResult) -> Row:
    """One split or fold."""
    where = s.reason or f"layer {s.layer}, {s.position}"
    return Row((name, Number(s.auroc), between(s.auroc_95), count(s.n), where))


def _whole(crossed: CrossFittedFacts) -> Row:
    cells = ("all folds", Number(crossed.auroc), between(crossed.auroc_95), count(crossed.n), "")
    return Row(cells, strong=True)
