"""All entries read once and ranked task by task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probebench.detectors import suite
from probebench.leaderboard.board.models import Model, computed_in, model_of, safe_slug
from probebench.leaderboard.board.ranks import (
    Estimate,
    Influence,
    difference_se,
    influence,
    rank_groups,
    standard_error,
)
from probebench.leaderboard.board.rows import HEADLINE, Board, BoardRow, row_order
from probebench.metrics.bootstrap import Sides
from probebench.metrics.delong import Z95
from probebench.metrics.intervals import least_variance

if TYPE_CHECKING:
    from probebench.leaderboard.board.entries import DetectorRow, Entry
    from probebench.leaderboard.submission.read import Decisions

RANKED_CLASS = 10
"""Test answers of each class, and groups that hold one, from which on a detector is ranked
(scripts/simulate_ranks.py)."""
PAIRED = 50
"""Runs of one task up to which every two are compared on the site: they are a square of numbers."""
PRINTED = 0.01 / 12**0.5
"""Standard deviation that rounding to two decimals adds to a printed figure."""


def gather(entries: Iterable[Entry], seen: Callable[[Entry], None] = lambda entry: None) -> Board:
    """Read all entries once, rank them task by task.

    Args:
        entries: as `read_entries` gives them.
        seen: called with each whole entry while it is in memory; its maps are gone from what is
            kept.
    """
    pools: dict[tuple[object, ...], list[Entry]] = {}
    models: dict[str, Model] = {}
    types: dict[str, dict[str, list[str]]] = {}
    for entry in entries:
        seen(entry)
        models.setdefault(entry.slug, model_of(entry))
        if entry.dtype:
            types.setdefault(entry.slug, {}).setdefault(entry.dtype, []).append(entry.task)
        key = (
            entry.task,
            entry.protocol_version,
            entry.task_version,
            entry.task_hash,
            entry.current,
        )
        pools.setdefault(key, []).append(dataclasses.replace(entry, cells=()))
    for name, by in types.items():
        models[name] = dataclasses.replace(models[name], dtype=computed_in(by))
    rows = [row for pool in pools.values() for row in rank_pool(pool, models)]
    rows.sort(key=lambda r: (r.task, row_order(r)))
    return Board(tuple(rows), tuple(models.values()), tuple(sorted({r.task for r in rows})))


def rank_pool(pool: Sequence[Entry], models: dict[str, Model]) -> list[BoardRow]:
    """Rows of entries that may be compared: one task in one version under one protocol."""
    influences = (
        _influences(pool)
        if len(pool) > 1 and pool[0].protocol_version is not None
        else [{} for _ in pool]
    )
    ranks: dict[tuple[int, str], tuple[int | None, int, Mapping[str, float]]] = {}
    names = dict.fromkeys(d.name for entry in pool for d in entry.detectors)
    for name in names if pool[0].current else ():
        if suite.constant(name):
            continue  # 0.5 by construction: there is nothing to rank
        there = [(i, d) for i, entry in enumerate(pool) if (d := entry.detector(name)) is not None]
        estimates = [_estimate(d, influences[i].get(name)) for i, d in there]
        groups = rank_groups(estimates)
        rivals = sum(g is not None for g in groups)
        paired = _paired([safe_slug(pool[i].slug) for i, _ in there], estimates)
        ranks |= {
            (i, name): (g if rivals > 1 else None, rivals, se)
            for (i, _), g, se in zip(there, groups, paired, strict=True)
        }
    return [
        _row(entry, d, models[entry.slug], *ranks.get((i, d.name), (None, 0, {})))
        for i, entry in enumerate(pool)
        for d in entry.detectors
    ]


def _paired(slugs: Sequence[str], estimates: Sequence[Estimate]) -> list[dict[str, float]]:
    """For each estimate the standard error of its difference to each other one, by that one's
    model, where both have decisions per example."""
    there = [i for i, e in enumerate(estimates) if e.influence is not None]
    found: list[dict[str, float]] = [{} for _ in estimates]
    if 1 < len(there) <= PAIRED:
        se = difference_se([estimates[i] for i in there])
        for row, i in enumerate(there):
            found[i] = {slugs[j]: float(se[row, k]) for k, j in enumerate(there) if j != i}
    return found


def _row(
    entry: Entry,
    d: DetectorRow,
    model: Model,
    rank: int | None,
    rivals: int,
    paired_se: Mapping[str, float],
) -> BoardRow:
    low, high = d.low, d.high
    if low is None and high is None and d.spread is not None and d.auroc is not None:
        half = Z95 * float(np.hypot(d.spread, PRINTED))
        low, high = max(0.0, d.auroc - half), min(1.0, d.auroc + half)
    probe = d.name == "probe"
    over = entry.splits if probe else None
    return BoardRow(
        model,
        entry.task,
        entry.task_version,
        entry.current,
        entry.protocol_version,
        entry.tier,
        d.name,
        d.label,
        d.kind,
        d.when,
        d.auroc,
        low,
        high,
        d.n,
        d.difference,
        d.difference_low,
        d.difference_high,
        d.name in HEADLINE,
        d.spread,
        d.source or entry.source,
        entry.selection if probe else None,
        rank,
        rivals,
        over.n if over else 0,
        over.mean if over else None,
        over.sd if over else None,
        entry.residual if probe else None,
        entry.map_p if probe else None,
        d.n_correct,
        paired_se,
    )


def _estimate(d: DetectorRow, moved: Influence | None) -> Estimate:
    """With the decisions' own standard error where they are there, else from the interval or the
    printed spread; without one where a class has too few answers to rank."""
    value = float("nan") if d.auroc is None else d.auroc
    if d.n is not None and d.n_correct is not None:
        fewer, more = sorted((d.n_correct, d.n - d.n_correct))
        if fewer < RANKED_CLASS:
            return Estimate(value, float("nan"))
        if moved is not None:
            if moved.groups < RANKED_CLASS:
                return Estimate(value, float("nan"))
            least = least_variance(value, Sides(more, fewer, more, fewer), moved.effect)
            own = standard_error(moved.sums, moved.groups)
            return Estimate(value, max(own, least**0.5), moved.sums)
    if d.low is not None and d.high is not None:
        return Estimate(value, (d.high - d.low) / (2 * Z95))
    return Estimate(value, float("nan") if d.spread is None else float(np.hypot(d.spread, PRINTED)))


def _influences(pool: Sequence[Entry]) -> list[dict[str, Influence]]:
    """Per entry and detector the influence of each group of questions, groups numbered alike for
    the whole pool.

    Groups of different submissions are matched by the ids of their examples.
    """
    known: dict[str, int] = {}
    n_groups = 0
    parts = []
    for entry in pool:
        read = entry.decisions()
        test = (read.split == "test") & read.scored
        ids, group = read.id[test].tolist(), read.group[test].tolist()
        number: dict[int, int] = {}
        for example, own in zip(ids, group, strict=True):
            if example in known:
                number.setdefault(own, known[example])
        for own in group:
            if own not in number:
                number[own] = n_groups
                n_groups += 1
        known |= {example: number[own] for example, own in zip(ids, group, strict=True)}
        parts.append(
            _entry_influences(
                entry,
                read,
                test,
                np.array([number[own] for own in group], dtype=np.int64),
                n_groups,
            )
        )
    return [
        {name: moved.among(n_groups) for name, moved in part.items()} for part in parts
    ]  # new groups may follow


def _entry_influences(
    entry: Entry, read: Decisions, test: NDArray[np.bool_], group: NDArray[np.int64], n_groups: int
) -> dict[str, Influence]:
    label, found = read.label[test], {}
    for d in entry.detectors:
        if d.name in read.values:
            score = read.values[d.name][test]
            has = np.isfinite(score)
            moved = influence(label[has], score[has], group[has], n_groups)
            if moved is not None:
                found[d.name] = moved
    return found
