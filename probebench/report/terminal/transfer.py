"""Transfer between tasks as a person reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from probebench.across.transfer import AT, FEWEST
from probebench.across.transfer_map import predicted_by_angle, transfer_matrix
from probebench.record.schema import Record
from probebench.report.terminal.table import NARROWEST, plain_table, table_lines, wrapped
from probebench.text import extremes, interval, number

NAME, COLUMN = 27, 7
"""Characters of the task's name and number, and of each column, that a matrix is cut up for."""
ALL_PAIRS = 5
"""Up to so many tasks every pair has a line; beyond, the table on disk has them."""
PAIRED = ("AUROC", "95 %", "free", "- baseline")
"""Columns of every table of pairs and topics."""
WHOSE = {
    "source": "train task's cell, chosen on its validation",
    "target": "test task's own cell, fitted on the train task",
}


def transfer_lines(table: pd.DataFrame, record: Record, width: int = NARROWEST) -> list[str]:
    """Matrices of AUROC, then one line per pair, held-out task and topic.

    Args:
        table: as `transfer` gives it.
        record: of one of its runs.
        width: of the terminal, in characters.
    """
    model, probe = (record[part]["name"] for part in ("model", "probe"))
    head = f"{model}: transfer of the {probe} probe, test AUROC, never flipped"
    return [
        *wrapped(width, head),
        *_tasks(table, width),
        *_topics(table, width),
        *wrapped(width, *_left_out(table)),
    ]


def _tasks(table: pd.DataFrame, width: int) -> list[str]:
    """The matrix and the pairs at either cell; nothing where there is one task."""
    pairs = table[table.kind == "pair"]
    tasks = list(dict.fromkeys(pairs.train_task))
    if len(tasks) < 2:
        return []
    lines: list[str] = []
    for at in AT:
        if at == "target" and _one_cell(pairs):
            same = "At each test task's own cell: the same, since every task selects one cell."
            lines += ["", *wrapped(width, same)]
            continue
        shown = ("pair", "all_but_one") if len(tasks) <= ALL_PAIRS else ("all_but_one",)
        here = (table["at"] == at) & table.kind.isin(shown)
        rows = table[here & (table.train_task != table.test_task)]
        lines += ["", *_matrix(table, at, width), "", *_pairs(rows, width)]
    if len(tasks) > ALL_PAIRS:
        lines += ["", "Every pair with its intervals and angles stands in transfer.csv."]
    return [*lines, "", *wrapped(width, *_angles(table))]


def _one_cell(pairs: pd.DataFrame) -> bool:
    """Is the cell of every task the same?"""
    cells = pairs.groupby("at", sort=False)[["site", "layer", "position"]].nunique()
    return bool((cells.to_numpy() == 1).all())


def _matrix(table: pd.DataFrame, at: str, width: int) -> list[str]:
    """Train tasks down, test tasks across, in blocks that fit."""
    matrix = transfer_matrix(table, at=at)
    numbered = {name: f"[{i + 1}]" for i, name in enumerate(matrix.columns)}
    lines = [f"At the {WHOSE[at]}; test tasks across:"]
    per_block = max(1, (width - NAME) // COLUMN)
    for start in range(0, len(numbered), per_block):
        columns = list(numbered)[start : start + per_block]
        heads = [numbered[c] for c in columns]
        block = plain_table("", "", *heads, right=heads, gap=3, folded=(1,))
        for name in matrix.index:
            values = [_narrow(matrix.loc[name, c]) for c in columns]
            block.add_row(numbered.get(name, ""), name, *values)
        lines += table_lines(block, width)
    return lines


def _pairs(rows: pd.DataFrame, width: int) -> list[str]:
    """One line per pair of tasks, and how many test examples they stand on."""
    table = plain_table("", *PAIRED, "cos", "Mahal", right=("AUROC", "free", "cos", "Mahal"), gap=1)
    for row in rows.itertuples():
        cosines = (_narrow(v, signed=True) for v in (row.cosine, row.mahalanobis_cosine))
        table.add_row(f"{row.train_task} > {row.test_task}", *_figures(row), *cosines)
    known = rows[np.isfinite(rows.auroc)].groupby("test_task", sort=False).n
    ns = ", ".join(f"{task} {extremes(n)}" for task, n in known)
    lines = table_lines(table, width)
    lines += wrapped(width, f"n: {ns} test examples.") if ns else []
    return [*lines, *wrapped(width, *_compared(rows))]


def _topics(table: pd.DataFrame, width: int) -> list[str]:
    """One line per topic that was left out of training; those with too few examples at the end."""
    topics = table[table.kind == "topic"]
    if topics.empty:
        return []
    scored = plain_table("", *PAIRED, "own", "n", right=("AUROC", "free", "own", "n"), gap=1)
    absent = plain_table("", "", "", right=("n",))
    whole = [str(task).split(": ", 1) for task in topics.test_task]
    several = len({task for task, *_ in whole}) > 1
    for row, (task, *topic) in zip(topics.itertuples(), whole, strict=True):
        name = f"{task}: {topic[-1]}" if several else topic[-1]
        if np.isfinite(row.auroc):
            scored.add_row(name, *_figures(row), _narrow(row.own_auroc), str(row.n))
        else:
            few = f"absent: {row.correct} right, {row.n - row.correct} wrong"
            absent.add_row(name, few, str(row.n))
    named = {task: b or "none" for (task, *_), b in zip(whole, topics.baseline, strict=True)}
    baselines = "; ".join(f"{t}: {b}" if several else b for t, b in named.items())
    explained = (
        f"- baseline: minus the run's best label-free baseline by validation ({baselines}). own: "
        "the run's probe, fitted to that topic too, on the same examples. absent: fewer than "
        f"{FEWEST} right or {FEWEST} wrong test examples."
    )
    return [
        "",
        "Topics left out: layer, position and C chosen on the others alone",
        *table_lines(scored, width),
        *(table_lines(absent, width) if absent.row_count else []),
        *wrapped(width, *_compared(topics)),
        *wrapped(width, explained),
    ]


def _figures(row: Any) -> tuple[str, str, str, str]:
    """What stands under `PAIRED`."""
    difference = "none"
    if np.isfinite(row.difference):
        ends = _narrow(row.difference_low, row.difference_high, signed=True)
        difference = f"{_narrow(row.difference, signed=True)} {ends}"
    return (_narrow(row.auroc), _narrow(row.low, row.high), _narrow(row.direction_free), difference)


def _compared(rows: pd.DataFrame) -> list[str]:
    """The differences that stand on fewer test examples than their AUROC."""
    fewer = rows[np.isfinite(rows.difference) & (rows.n_compared < rows.n)]
    return [
        f"{row.train_task} on {row.test_task}: - baseline over the {row.n_compared:,} of "
        f"{row.n:,} that it scores, where the probe has {_narrow(row.compared_auroc)}."
        for row in fewer.itertuples()
    ]


def _angles(table: pd.DataFrame) -> list[str]:
    """What the columns mean, and whether the angle predicts transfer here."""
    baselines = {
        r.test_task: r.baseline for r in table[table.kind != "topic"].itertuples() if r.baseline
    }
    named = "; ".join(f"{task}: {name}" for task, name in baselines.items())
    said = [
        "free: max(AUROC, 1 - AUROC). - baseline: minus the test task's best label-free baseline "
        f"by validation ({named or 'there is none'}). cos, Mahal: cosine of the probe and the test "
        "task's own at that cell, in the vectors' space and under the covariance of the test "
        "vectors."
    ]
    found = predicted_by_angle(table)["mahalanobis_cosine"]
    if np.isfinite(found["r"]):
        said.append(
            f"Over {found['pairs']} pairs the Mahalanobis cosine and the AUROC correlate with r = "
            f"{found['r']:.2f}."
        )
    return said


def _left_out(table: pd.DataFrame) -> list[str]:
    """What could not be measured, and which test examples were not used."""
    # the table of topics says this of its own rows
    said = (table.kind == "topic") & (np.minimum(table.correct, table.n - table.correct) < FEWEST)
    lines = []
    for why, rows in table[(table.why != "") & ~said].groupby("why", sort=False):
        names = dict.fromkeys(f"{row.train_task} on {row.test_task}" for row in rows.itertuples())
        lines.append(f"not defined: {', '.join(names)}: {why}.")
    once = table.drop_duplicates(["train_task", "test_task", "twins_left_out"])
    return lines + [
        f"note: {row.twins_left_out} test examples of {row.test_task} left out under "
        f"{row.train_task}: their group or question is in its train or validation examples."
        for row in once[once.twins_left_out > 0].itertuples()
    ]


def _narrow(*values: float, signed: bool = False) -> str:
    """A number from -1 to 1, or an interval of two, without the noughts before the points: columns
    are narrow."""
    text = (
        interval(values, 2, signed=signed)
        if len(values) > 1
        else number(values[0], 2, signed=signed)
    )
    return text.replace("0.", ".")
