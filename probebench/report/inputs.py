"""What a report reads beside the record, checked before anything is written."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from probebench.errors import BadFileError
from probebench.record.inside.kinds import read_table, table_of
from probebench.record.run import Run

TABLES = {
    "scores.parquet": ("site", "layer", "position", "detector", "split", "metric", "value", "n"),
    "predictions.parquet": ("id", "group", "split", "label", "scored", "detector", "decision"),
    "answers.parquet": ("id", "question", "text", "exact_answer", "references"),
}
"""Tables of a run, and the columns that a report reads of them."""


def check_tables(run: Run) -> None:
    """Are a run's tables there, with their columns?

    Raises:
        BadFileError: names the table, and the column that it lacks.
    """
    import pyarrow.parquet

    for name, columns in TABLES.items():
        with table_of(run.folder, name) as path:
            known = pyarrow.parquet.read_schema(path).names
        if absent := [column for column in columns if column not in known]:
            raise BadFileError(
                f"{run.folder / name} has no column {absent[0]!r}. Run `probebench eval` again."
            )


def read_columns(run: Run, name: str) -> pd.DataFrame:
    """The columns of a run's table that a report reads."""
    return read_table(run.folder, name, TABLES[name])


def read_transfer(path: Path) -> pd.DataFrame:
    """AUROC, train tasks down and test tasks across: out of `transfer.csv` (each probe at its own
    task's cell) or such a matrix.

    Raises:
        BadFileError: no such table.
    """
    from probebench.across.transfer_map import MATRICES, transfer_matrix

    told = next((name for name in MATRICES[::-1] if path.stem.endswith(f"_{name}")), "auroc")
    if told != "auroc":
        raise BadFileError(f"{path} holds {told}, not AUROC: give transfer.csv of the same folder.")
    try:
        table = pd.read_csv(path)
        if {"kind", "at", "train_task", "test_task", "auroc"} <= set(table.columns):
            if table[table.kind == "pair"].test_task.nunique() < 2:
                raise BadFileError(
                    f"{path} holds no two tasks. Give `probebench transfer` two runs."
                )
            matrix = transfer_matrix(table)
            if "n" in table:
                n = table[(table["at"] == "source") & table.kind.isin(["pair", "all_but_one"])].n
                matrix.attrs["n"] = int(n.min()), int(n.max())
            return matrix
        matrix = table.set_index("train_task").astype(float)
        if not ((matrix >= 0) & (matrix <= 1) | matrix.isna()).all(axis=None):
            raise ValueError("an AUROC lies between 0 and 1")
        return matrix
    except FileNotFoundError:
        raise BadFileError(
            f"There is no table {str(path)!r}. `probebench transfer` writes one."
        ) from None
    except (OSError, ValueError, KeyError, IndexError) as error:
        reason = (str(error).splitlines() or ["empty"])[0]
        raise BadFileError(f"{path} is not a table of train task by test task: {reason}") from None
