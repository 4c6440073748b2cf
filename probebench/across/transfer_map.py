"""The table of transfer as matrices, maps and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from probebench.across.transfer import AT, OTHERS, transfer
from probebench.files import make_folder, write_atomic
from probebench.maps.heatmap import plot_transfer
from probebench.maps.style import save_figure, style
from probebench.record.run import Run
from probebench.record.schema import Record
from probebench.record.shown.captions import (
    parts_words,
    probe_words,
    undefined_words,
    version_words,
)
from probebench.text import extremes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MATRICES = ("auroc", "direction_free", "difference", "cosine", "mahalanobis_cosine")


def transfer_matrix(table: pd.DataFrame, column: str = "auroc", at: str = "source") -> pd.DataFrame:
    """One column of the table of `transfer` as train tasks x test tasks, in the order of the runs;
    `all others` below them."""
    own = table[(table["at"] == at) & table.kind.isin(["pair", "all_but_one"])]
    matrix = own.pivot(index="train_task", columns="test_task", values=column)
    names = list(dict.fromkeys(own[own.kind == "pair"].train_task))
    return (
        matrix.loc[[*names, *([OTHERS] if OTHERS in matrix.index else [])], names]
        .rename_axis("train_task")
        .astype(float)
    )


def predicted_by_angle(table: pd.DataFrame) -> dict[str, Any]:
    """Pearson correlation, over the pairs of different tasks, between each kind of cosine and the
    AUROC; NaN below four pairs."""
    pairs = table[(table.kind == "pair") & (table.train_task != table.test_task)]
    # both may have chosen one cell
    pairs = pairs.drop_duplicates(["train_task", "test_task", "site", "layer", "position"])
    found: dict[str, Any] = {}
    for name in ("cosine", "mahalanobis_cosine"):
        both = pairs[[name, "auroc"]].dropna()
        defined = len(both) > 3 and bool((both.std() > 0).all())
        found[name] = {
            "r": float(both.corr().iloc[0, 1]) if defined else float("nan"),
            "pairs": len(both),
        }
    return found


def transfer_map(runs: Sequence[Run], **options: Any) -> tuple[Axes, pd.DataFrame]:
    """The train x test map of a set of runs of one model, and its numbers as a long table."""
    table = transfer(runs)
    return draw_transfer(table, [run.record for run in runs], **options), table


def draw_transfer(
    table: pd.DataFrame, records: Sequence[Record], at: str = "source", **options: Any
) -> Axes:
    """The map of a table of `transfer`, at the cells of the train tasks or of the test tasks.

    Args:
        table: of `transfer`.
        records: of the runs it is made of.
        at: `source` or `target`.
        **options: of `plot_transfer`.
    """
    shown = table[table.kind.isin(["pair", "all_but_one"]) & (table["at"] == at)]
    return draw_matrix(transfer_matrix(table, at=at), records, shown.n, at, **options)


def draw_matrix(
    matrix: pd.DataFrame,
    records: Sequence[Record],
    n: Sequence[int],
    at: str = "source",
    **options: Any,
) -> Axes:
    """The map of AUROCs, train tasks x test tasks.

    Args:
        matrix: as `transfer_matrix` gives it.
        records: of the runs of its tasks.
        n: test examples of the cells.
        at: `source` or `target`.
        **options: of `plot_transfer`.
    """
    record = records[0]
    cell = (
        "the train task's selected cell"
        if at == "source"
        else "the test task's selected cell, fitted on the train task"
    )
    lines = [
        f"Test AUROC on the test task of the {probe_words(record)} of {cell}, never flipped;",
        f"n = {extremes(n)} per cell; framed: its own task.",
    ]
    if OTHERS in matrix.index:
        lines.append("Lowest row: one probe of all tasks but the tested one.")
    lines += undefined_words(matrix)
    settings = {
        "title": f"{record.model.name}: transfer between tasks",
        "caption": "\n".join([*lines, *parts_words(records), version_words(record)]),
    }
    return plot_transfer(matrix, **{**settings, **options})


def write_transfer(
    table: pd.DataFrame,
    records: Sequence[Record],
    folder: Path,
    formats: Sequence[str] = ("png", "svg"),
) -> list[Path]:
    """Write the long table, its matrices as csv, and the two maps; of topics alone, the table only.

    Raises:
        UsageError: the folder cannot be written to.
    """
    make_folder(folder)
    files = {"transfer.csv": table.to_csv(index=False, float_format="%.6f")}
    several = table[table.kind == "pair"].test_task.nunique() > 1
    for at in AT if several else ():
        for column in MATRICES:
            files[f"transfer_{at}_{column}.csv"] = transfer_matrix(table, column, at).to_csv(
                float_format="%.6f"
            )
    for name, content in files.items():
        write_atomic(folder / name, content.encode())
    paths = [folder / name for name in files]
    for at in AT if several else ():
        with style("publication"):
            name = "transfer" if at == "source" else "transfer_target"
            paths += save_figure(draw_transfer(table, records, at), folder, name, formats)
    return paths
