"""What several runs say together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from probebench.maps.heatmap import plot_transfer
from probebench.record.claims import headline
from probebench.record.run import Run
from probebench.record.shown.captions import undefined_words
from probebench.report.blocks import (
    AUROC,
    INTERVAL,
    Column,
    Figure,
    Link,
    N,
    Number,
    Row,
    Section,
    Table,
)
from probebench.report.format import between
from probebench.report.sections.headline import OUTCOMES
from probebench.report.sections.maps import matrix_table, spread


def overview(runs: Sequence[Run], names: Sequence[str]) -> Section:
    """One row per run."""
    rows = []
    for i, (run, name) in enumerate(zip(runs, names, strict=True), start=1):
        h = headline(run.record)
        signal = (h.signal["label"], Number(h.signal["auroc"])) if h.signal else ("none", "")
        gap = (
            (Number(h.difference, signed=True), between(h.difference_95, signed=True))
            if h.signal
            else ("", "")
        )
        rows.append(
            Row(
                (
                    Link(name, f"run-{i}"),
                    Number(h.auroc),
                    between(h.auroc_95),
                    *signal,
                    *gap,
                    f"{h.n:,}",
                    OUTCOMES[h.outcome],
                )
            )
        )
    columns = (
        Column("Run"),
        AUROC,
        INTERVAL,
        Column("Best simpler signal"),
        AUROC,
        Column("Difference", True),
        INTERVAL,
        N,
        Column("The probe is"),
    )
    note = (
        "AUROC on test at the cell chosen on validation, the signal chosen on validation too; "
        "difference: probe minus signal, "
        "paired. All numbers of a row are over the same n test examples, those that both score."
    )
    table = Table(
        "overview",
        "The selected probe of each run against its best simpler signal",
        columns,
        tuple(rows),
        (note,),
    )
    return Section("overview", "Overview", (table,))


def transfer_section(matrix: pd.DataFrame) -> Section:
    """The matrix of train task by test task."""
    caption = (
        "Test AUROC of probes trained on one task (down) and tested on another (across); on the "
        "diagonal, their own task."
    )
    if n := matrix.attrs.get("n"):
        caption += f" n = {n[0]:,} to {n[1]:,} test examples per cell; transfer.csv has each."
    figure = Figure(
        " ".join([caption, *undefined_words(matrix)]),
        f"Heatmap of test AUROC, {spread(matrix, 'train task', 'test task')}",
        partial(plot_transfer, matrix),
        wide=True,
    )
    table = matrix_table(matrix, "transfer", "Test AUROC by train task and test task", "Trained on")
    return Section(
        "transfer",
        "Does it carry over?",
        (figure, Table(table.name, table.caption, table.columns, table.rows)),
    )
