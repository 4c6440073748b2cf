"""Transfer and comparisons as a person reads them: eighty columns are enough."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from probebench.across.compare import RunComparison
from probebench.across.transfer import AT, FEWEST, predicted_by_angle, transfer_matrix
from probebench.text import interval, number
from probebench.types import Interval

WIDTH = 80
NAME = 22
"""Letters of a task's name."""
COLUMN = 7
PAIR = 25
"""Letters of a train and a test task."""
ALL_PAIRS = 5
"""Up to so many tasks every pair has a line; beyond, the table on disk has them."""


def transfer_lines(table: pd.DataFrame, record: Mapping[str, Any]) -> list[str]:
    """Matrices of AUROC, then one line per pair, held-out task and topic."""
    lines: list[str] = []
    pairs = table[table.kind == "pair"]
    tasks = list(dict.fromkeys(pairs.train_task))
    lines += _wrapped(
        f"{record['model']['name']}: transfer of the {record['probe']['name']} probe, test AUROC, "
        "never flipped"
    )
    if len(tasks) > 1:
        cells = pairs.groupby("at", sort=False)[["site", "layer", "position"]].agg(
            lambda c: tuple(dict.fromkeys(c))
        )
        one = all(len(v) == 1 for v in cells.to_numpy().ravel())
        for at in AT:
            if at == "target" and one:
                lines += [
                    "",
                    "At each test task's own cell: the same, since every task selects one cell.",
                ]
                continue
            lines += ["", *_matrix(table, at)]
            here = table[
                (table["at"] == at)
                & table.kind.isin(["pair", "all_but_one"])
                & (table.train_task != table.test_task)
            ]
            lines += [
                "",
                *_pair_lines(here if len(tasks) <= ALL_PAIRS else here[here.kind == "all_but_one"]),
            ]
        if len(tasks) > ALL_PAIRS:
            lines += ["", "Every pair with its intervals and angles stands in transfer.csv."]
        lines += ["", *_angles(table)]
    topics = table[table.kind == "topic"]
    if len(topics):
        lines += [
            "",
            "Topics left out: layer, position and C chosen on the others alone",
            *_pair_lines(topics),
        ]
        baseline = topics.baseline.iloc[0] or "there is none"
        lines += _wrapped(
            f"- baseline: minus the run's best label-free baseline by validation ({baseline}). "
            "own: the run's probe, fitted to "
            f"that topic too, on the same examples. absent: fewer than {FEWEST} right or {FEWEST} "
            "wrong test examples."
        )
    said = (table.kind == "topic") & (np.minimum(table.correct, table.n - table.correct) < FEWEST)
    for why, rows in table[(table.why != "") & ~said].groupby("why", sort=False):
        names = dict.fromkeys(f"{row.train_task} on {row.test_task}" for row in rows.itertuples())
        lines += _wrapped(f"not defined: {', '.join(names)}: {why}.")
    left_out = table.drop_duplicates(["train_task", "test_task", "twins_left_out"])
    for row in left_out[left_out.twins_left_out > 0].itertuples():
        lines += _wrapped(
            f"note: {row.twins_left_out} test examples of {row.test_task} left out under "
            f"{row.train_task}: their group or "
            f"question is in its train or validation examples."
        )
    return lines


def _matrix(table: pd.DataFrame, at: str) -> list[str]:
    """Train tasks down, test tasks across, in blocks that fit."""
    matrix = transfer_matrix(table, at=at)
    numbered = {name: f"[{i + 1}]" for i, name in enumerate(matrix.columns)}
    whose = (
        "train task's cell, chosen on its validation"
        if at == "source"
        else "test task's own cell, fitted on the train task"
    )
    lines = [f"At the {whose}; test tasks across:"]
    per_block = (WIDTH - NAME - 5) // COLUMN
    for start in range(0, len(numbered), per_block):
        columns = list(numbered)[start : start + per_block]
        lines.append(" " * (NAME + 5) + "".join(f"{numbered[c]:>{COLUMN}}" for c in columns))
        for name in matrix.index:
            values = "".join(f"{_narrow(matrix.loc[name, c]):>{COLUMN}}" for c in columns)
            lines.append(f"{numbered.get(name, ''):<5}{_short(name):<{NAME}}{values}")
    return lines


def _pair_lines(rows: pd.DataFrame) -> list[str]:
    """One line per row: AUROC with interval, direction-free, difference to the baseline, angles."""
    topic = bool((rows.kind == "topic").all())
    last = f"{'own':>5} {'n':>5}" if topic else f"{'cos':>5} {'Mahal':>5}"
    lines = [f"{'':<{PAIR}}{'AUROC':>5} {'95 %':<11} {'free':>4} {'- baseline':<19} {last}"]
    for row in rows.itertuples():
        name = (
            str(row.test_task).split(": ", 1)[-1]
            if topic
            else f"{_short(row.train_task, 11)} > {_short(row.test_task, 11)}"
        )
        difference = (
            f"{_narrow(row.difference, signed=True)} "
            f"{_narrow(row.difference_low, row.difference_high, signed=True)}"
        )
        if not np.isfinite(row.difference):
            difference = "none"
        last = (
            f"{_narrow(row.cosine, signed=True):>5} "
            f"{_narrow(row.mahalanobis_cosine, signed=True):>5}"
        )
        if topic:
            last = f"{_narrow(row.own_auroc):>5} {row.n:>5}"
        value, free = _narrow(row.auroc), _narrow(row.direction_free)
        if topic and not np.isfinite(row.auroc):
            text = (
                f"{_short(name, PAIR):<{PAIR}}absent: {row.correct} right, {row.n - row.correct} "
                "wrong"
            )
            lines.append(f"{text:<73} {row.n:>5}")
            continue
        lines.append(
            f"{_short(name, PAIR):<{PAIR}}{value:>5} {_narrow(row.low, row.high):<11} {free:>4} "
            f"{difference:<19} {last}"
        )
    return [*lines, *_sample_lines(rows, topic=topic)]


def _sample_lines(rows: pd.DataFrame, *, topic: bool) -> list[str]:
    """On how many test examples the AUROCs of each test task are, and the differences that are on
    fewer of them."""
    lines = []
    if not topic:
        spread = (
            rows[np.isfinite(rows.auroc)].groupby("test_task", sort=False).n.agg(["min", "max"])
        )
        ns = [
            f"{task} {'-'.join(dict.fromkeys(f'{int(n):,}' for n in both))}"
            for task, both in zip(spread.index, spread.to_numpy(), strict=True)
        ]
        lines += _wrapped(f"n: {', '.join(ns)} test examples.") if ns else []
    for row in rows[np.isfinite(rows.difference) & (rows.n_compared < rows.n)].itertuples():
        lines += _wrapped(
            f"{row.train_task} on {row.test_task}: - baseline over the {row.n_compared:,} of "
            f"{row.n:,} that it scores, where the "
            f"probe has {_narrow(row.compared_auroc)}."
        )
    return lines


def _angles(table: pd.DataFrame) -> list[str]:
    """What the columns mean, and whether the angle predicts transfer here."""
    baselines = {
        r.test_task: r.baseline for r in table[table.kind != "topic"].itertuples() if r.baseline
    }
    named = "; ".join(f"{task}: {name}" for task, name in baselines.items())
    lines = _wrapped(
        f"free: max(AUROC, 1 - AUROC). - baseline: minus the test task's best label-free baseline "
        "by validation "
        f"({named or 'there is none'}). cos, Mahal: cosine of the probe and the test task's own at "
        "that cell, in the vectors' "
        f"space and under the covariance of the test vectors."
    )
    found = predicted_by_angle(table)["mahalanobis_cosine"]
    if np.isfinite(found["r"]):
        lines += _wrapped(
            f"Over {found['pairs']} pairs the Mahalanobis cosine and the AUROC correlate with r = "
            f"{found['r']:.2f}."
        )
    return lines


def compare_lines(found: RunComparison) -> list[str]:
    """Both detectors, their difference, and what was compared."""
    lines = []
    for name, side in (("A", found.a), ("B", found.b)):
        version = f" v{side.version}" if side.version else ""
        lines += _wrapped(
            f"{name}  {side.model} on {side.task}{version}, {side.label}  ({side.folder})"
        )
    lines += ["", f"{'':<22}{'AUROC':>6}  95 %"]
    for name, side in (("A", found.a), ("B", found.b)):
        lines.append(
            f"{name + ' ' + _short(side.detector, 19):<22}{number(side.auroc):>6}  "
            f"{_ends(side.auroc_95)}"
        )
    difference, ends = (
        number(found.difference, signed=True),
        _ends(found.difference_95, signed=True),
    )
    lines.append(f"{'A - B':<22}{difference:>6}  {ends}  paired, by group")
    if np.isfinite(found.difference_95_delong.low):
        p = f", p = {found.delong_p:.2g}" if np.isfinite(found.delong_p) else ""
        lines.append(
            f"{'':<28}  {_ends(found.difference_95_delong, signed=True)}  paired, DeLong{p}"
        )
    right = (
        f"{found.a.correct}"
        if not found.own_labels
        else f"{found.a.correct} in A and {found.b.correct} in B"
    )
    lines += [
        "",
        *_wrapped(
            f"n = {found.n} common test examples in {found.n_groups} groups, {right} correct."
        ),
    ]
    for name, other, side in (("A", "B", found.a), ("B", "A", found.b)):
        left_out = (
            (side.n_not_in_other, f"are not in {other}"),
            (side.n_trained_in_other, f"are not in test of {other}"),
            (side.n_without_decision, f"have no decision of {name}"),
        )
        parts = [f"{count} {what}" for count, what in left_out if count]
        lines += _wrapped(
            f"{name} has {side.n_test} test examples{': ' if parts else ''}{', '.join(parts)}."
        )
    if found.n_by_text:
        lines += _wrapped(
            f"{found.n_by_text} examples were found by their question; their ids differ."
        )
    if found.differs:
        lines += _wrapped(f"The runs differ in: {', '.join(found.differs)}.")
    return lines + [line for note in found.notes for line in _wrapped(f"note: {note}")]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, break_long_words=False, break_on_hyphens=False, subsequent_indent="  "
    )


def _short(name: str, letters: int = NAME) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "~"


def _narrow(*values: float, signed: bool = False) -> str:
    """A number from -1 to 1, or an interval of two, without the noughts before the points: columns
    are narrow."""
    text = (
        interval(values, 2, signed=signed)
        if len(values) > 1
        else number(values[0], 2, signed=signed)
    )
    return text.replace("0.", ".")


def _ends(found: Interval, *, signed: bool = False) -> str:
    return interval((found.low, found.high), signed=signed)
