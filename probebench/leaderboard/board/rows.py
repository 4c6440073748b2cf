"""All entries as ranked rows: what every table of the leaderboard, the Markdown file and the site
are made from."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probebench.leaderboard.board.ranks import Estimate, influence, rank_groups, standard_error
from probebench.metrics.delong import Z95
from probebench.metrics.intervals import wilson
from probebench.record.words import cell_words
from probebench.types import Interval

if TYPE_CHECKING:
    from probebench.leaderboard.board.entries import Decisions, DetectorRow, Entry

HEADLINE = ("probe", "probe@exact_answer_last")
"""The probe each source reports first: a run's selected cell, the paper's probe on the end of the
exact answer."""
TIERS = ("rerun", "recomputed", "published")
SIZES = (
    (1e9, "under 1 B"),
    (4e9, "1-4 B"),
    (10e9, "4-10 B"),
    (40e9, "10-40 B"),
    (float("inf"), "over 40 B"),
)
PRINTED = 0.01 / 12**0.5
"""Standard deviation that rounding to two decimals adds to a printed figure."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the tables name it."""

    name: str
    """As submitted: untrusted text."""
    slug: str
    """Safe as a file name and in an address."""
    family: str
    n_parameters: float | None
    size: str
    """A class of sizes, or `unknown`."""
    n_layers: int | None = None
    width: int | None = None
    dtype: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One detector on one model and task."""

    model: Model
    task: str
    """Name of the task, without its version."""
    version: int | None
    current: bool
    """Measured on the version of the task that this package has."""
    protocol: int | None
    """None for a figure from a paper, which has a protocol of its own."""
    tier: str
    detector: str
    label: str
    kind: str
    when: str | None
    auroc: float | None
    low: float | None
    high: float | None
    n: int | None
    difference: float | None
    """The run's probe minus this detector, paired."""
    difference_low: float | None
    difference_high: float | None
    headline: bool
    spread: float | None
    """Published figures only: what the paper prints after the plus-minus sign."""
    source: str | None
    cell: str | None
    """Where the selected probe reads: site, layer and position."""
    rank: int | None = None
    """Rank group among rows of the same pool and detector, 1 = best; None where there is nothing to
    compare with."""
    rivals: int = 0
    """Ranked rows of the pool, this one included."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How often a model's headline probe is in a task's first group."""

    model: Model
    tiers: tuple[str, ...]
    tasks: int
    """Tasks with a row of this model."""
    first: int
    contested: int
    """Tasks on which at least two models are ranked with each other: only there can one be
    first."""
    share: Interval


@dataclass(frozen=True, slots=True)
class Duel:
    """The headline probe against another detector over all runs."""

    detector: str
    label: str
    better: int
    """Runs in which the paired 95 % interval of probe minus detector lies above 0."""
    level: int
    worse: int
    share: Interval
    """95 % interval of better / all."""


@dataclass(frozen=True, slots=True)
class Board:
    """Everything there is to show."""

    rows: tuple[Row, ...]
    models: tuple[Model, ...]
    tasks: tuple[str, ...]

    def of_task(self, task: str) -> list[Row]:
        """Rows of one task, best first: ranked runs, then published figures, then rows of old
        versions."""
        return sorted((r for r in self.rows if r.task == task), key=row_order)

    def standings(self) -> list[Standing]:
        """Every model, most first places first; ties by the lower end of the interval, then by
        name.

        Runs come before published figures, and a model that has both stands there twice: their
            ranks are never counted together.
        """
        mine: dict[str, list[Row]] = {m.slug: [] for m in self.models}
        for row in self.rows:
            if row.headline:
                mine[row.model.slug].append(row)
        table = []
        pools = ((model, published) for published in (False, True) for model in self.models)
        for model, published in pools:
            rows = [r for r in mine[model.slug] if (r.protocol is None) is published]
            if not rows:
                continue
            contested = [r for r in rows if r.rank is not None]
            first = sum(r.rank == 1 for r in contested)
            tiers = tuple(t for t in TIERS if any(r.tier == t for r in rows))
            share = wilson(first, len(contested))
            table.append(
                Standing(model, tiers, len({r.task for r in rows}), first, len(contested), share)
            )
        return sorted(
            table, key=lambda s: ("published" in s.tiers, -s.first, -s.share.low, s.model.name)
        )

    def duels(self) -> list[Duel]:
        """The probe against every other detector with paired intervals, in the order of first
        appearance."""
        counts: dict[str, list[int]] = {}
        labels: dict[str, str] = {}
        for row in self.rows:
            if (
                row.protocol is None
                or not row.current
                or row.difference_low is None
                or row.difference_high is None
            ):
                continue
            if row.kind in ("ensemble", "control"):
                # an ensemble of cells is no simpler than the probe, and a control is no signal
                continue
            labels.setdefault(row.detector, row.label)
            count = counts.setdefault(row.detector, [0, 0, 0])
            count[0 if row.difference_low > 0 else 2 if row.difference_high < 0 else 1] += 1
        return [
            Duel(name, labels[name], better, level, worse, wilson(better, better + level + worse))
            for name, (better, level, worse) in counts.items()
        ]


def row_order(row: Row) -> tuple[object, ...]:
    """Sort key: pool, detector (the headline first), rank group, AUROC."""
    pool = 2 if not row.current else 1 if row.protocol is None else 0
    return (
        pool,
        not row.headline,
        row.detector,
        row.rank is None,
        row.rank or 0,
        *best_first(row),
        row.model.name,
    )


def best_first(row: Row) -> tuple[float]:
    """Sort key: AUROC downwards, absent ones last."""
    return (-row.auroc if row.auroc is not None else 1.0,)


def gather(entries: Iterable[Entry], seen: Callable[[Entry], None] = lambda entry: None) -> Board:
    """Read all entries once, rank them task by task.

    Args:
        entries: as `read_entries` gives them.
        seen: called with each whole entry while it is in memory; its maps are gone from what is
            kept.
    """
    pools: dict[tuple[object, ...], list[Entry]] = {}
    models: dict[str, Model] = {}
    for entry in entries:
        seen(entry)
        models.setdefault(entry.slug, model_of(entry))
        key = (
            entry.task,
            entry.protocol_version,
            entry.task_version,
            entry.task_hash,
            entry.current,
        )
        pools.setdefault(key, []).append(dataclasses.replace(entry, cells=(), record={}))
    rows = [row for pool in pools.values() for row in rank_pool(pool, models)]
    rows.sort(key=lambda r: (r.task, row_order(r)))
    return Board(tuple(rows), tuple(models.values()), tuple(sorted({r.task for r in rows})))


def rank_pool(pool: Sequence[Entry], models: dict[str, Model]) -> list[Row]:
    """Rows of entries that may be compared: one task in one version under one protocol."""
    influences = (
        _influences(pool)
        if len(pool) > 1 and pool[0].protocol_version is not None
        else [{} for _ in pool]
    )
    ranks: dict[tuple[int, str], tuple[int | None, int]] = {}
    names = dict.fromkeys(d.name for entry in pool for d in entry.detectors)
    for name in names if pool[0].current else ():
        if name == "majority":
            continue  # 0.5 by construction: there is nothing to rank
        there = [(i, d) for i, entry in enumerate(pool) if (d := entry.detector(name)) is not None]
        groups = rank_groups([_estimate(d, influences[i].get(name)) for i, d in there])
        rivals = sum(g is not None for g in groups)
        ranks |= {
            (i, name): (g if rivals > 1 else None, rivals)
            for (i, _), g in zip(there, groups, strict=True)
        }
    return [
        _row(entry, d, models[entry.slug], *ranks.get((i, d.name), (None, 0)))
        for i, entry in enumerate(pool)
        for d in entry.detectors
    ]


def _row(entry: Entry, d: DetectorRow, model: Model, rank: int | None, rivals: int) -> Row:
    low, high = d.low, d.high
    if low is None and high is None and d.spread is not None and d.auroc is not None:
        half = Z95 * float(np.hypot(d.spread, PRINTED))
        low, high = max(0.0, d.auroc - half), min(1.0, d.auroc + half)
    chosen = entry.selection or {}
    cell = cell_words(chosen) if chosen and d.name == "probe" else None
    return Row(
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
        cell,
        rank,
        rivals,
    )


def _estimate(d: DetectorRow, sums: NDArray[np.float32] | None) -> Estimate:
    """With the decisions' own standard error where they are there, else from the interval or the
    printed spread."""
    value = float("nan") if d.auroc is None else d.auroc
    if sums is not None:
        return Estimate(value, float(standard_error(sums)), sums)
    if d.low is not None and d.high is not None:
        return Estimate(value, (d.high - d.low) / (2 * Z95))
    return Estimate(value, float("nan") if d.spread is None else float(np.hypot(d.spread, PRINTED)))


def _influences(pool: Sequence[Entry]) -> list[dict[str, NDArray[np.float32]]]:
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
        {name: np.pad(sums, (0, n_groups - len(sums))) for name, sums in part.items()}
        for part in parts
    ]  # new groups may follow


def _entry_influences(
    entry: Entry, read: Decisions, test: NDArray[np.bool_], group: NDArray[np.int64], n_groups: int
) -> dict[str, NDArray[np.float32]]:
    label, found = read.label[test], {}
    for d in entry.detectors:
        if d.name in read.values:
            score = read.values[d.name][test]
            has = np.isfinite(score)
            sums = influence(label[has], score[has], group[has], n_groups)
            if sums is not None:
                found[d.name] = sums
    return found


def model_of(entry: Entry) -> Model:
    """How the tables name and sort an entry's model."""
    name = f"{entry.model} ({entry.variant})" if entry.variant else entry.model
    size = entry.n_parameters or size_in_name(entry.model)
    return Model(
        name,
        safe_slug(entry.slug),
        family_of(entry.model, entry.family),
        size,
        size_class(size),
        entry.n_layers,
        entry.width,
        entry.dtype,
        entry.revision,
    )


def family_of(name: str, architecture: str | None) -> str:
    """Family in words: from the architecture (`Qwen2` is Qwen), for published figures from the
    model's name."""
    if architecture:
        return re.sub(r"(?<=[A-Za-z])\d+.*$", "", architecture) or architecture
    words = re.split(r"[-_.\s]+", name.rpartition("/")[2])
    return next((w for w in words if w.isalpha() and w.lower() != "meta"), "other")


def size_in_name(name: str) -> float | None:
    """Parameters that a name states, such as 7e9 for `Mistral-7B`."""
    found = re.search(
        r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)\s?([BM])(?![A-Za-z0-9])", name, re.IGNORECASE
    )
    return float(found[1]) * (1e9 if found[2].upper() == "B" else 1e6) if found else None


def size_class(n_parameters: float | None) -> str:
    """The filter's class of sizes."""
    return (
        "unknown"
        if n_parameters is None
        else next(word for limit, word in SIZES if n_parameters < limit)
    )


def safe_slug(name: str) -> str:
    """A name that is a plain file name: anything else is replaced, and a short hash keeps two such
    names apart."""
    plain = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", name)).strip(".-_")[:80]
    if plain and plain == name and name.lower() not in {"con", "prn", "aux", "nul"}:
        return plain
    return f"{plain or 'x'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
