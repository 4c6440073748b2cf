"""Ranked rows, and what is counted over them: what every table of the leaderboard, the Markdown
file and the site are made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from probebench.detectors import suite
from probebench.leaderboard.board.models import Model
from probebench.metrics.intervals import wilson
from probebench.record.claims import ALPHA, Outcome, outcome
from probebench.record.parts.confounded import Residual
from probebench.record.parts.measured import CellName
from probebench.record.schema import PROTOCOL_VERSION
from probebench.types import Interval

HEADLINE = ("probe", "probe@exact_answer_last")
"""The probe each source reports first: a run's selected cell, the paper's probe on the end of the
exact answer."""
TIERS = ("rerun", "recomputed", "published")
Run = tuple[str, int | None, int | None, str]
"""Task, its version, protocol and model."""


def old_words(protocol: int | None, version: int | None) -> str:
    """What of a row that is not current is an older version's."""
    by_protocol = protocol not in (None, PROTOCOL_VERSION)
    return f"protocol {protocol}" if by_protocol else f"version {version}"


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One detector on one model and task."""

    model: Model
    task: str
    """Name of the task, without its version."""
    version: int | None
    current: bool
    """Measured on the version of the task, and by the protocol, that this package has."""
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
    cell: CellName | None
    """Where the selected probe reads."""
    rank: int | None = None
    """Rank group among rows of the same pool and detector, 1 = best; None where there is nothing to
    compare with."""
    rivals: int = 0
    """Ranked rows of the pool, this one included."""
    splits: int = 0
    """Other splits that the selected cell's AUROC was measured on too."""
    splits_mean: float | None = None
    splits_sd: float | None = None
    """Standard deviation over them."""
    residual: Residual | None = None
    """Of the selected probe: with its confounds regressed out."""
    map_p: float | None = None
    """Of the selected probe: of its whole map against shuffled labels."""
    n_correct: int | None = None
    """Of the `n` examples, those of the positive class."""
    paired_se: Mapping[str, float] = field(default_factory=dict)
    """Slug of another model -> standard error of the difference of this detector's two AUROCs,
    paired by question."""

    @property
    def old(self) -> str:
        """What of it is an older version's; empty where nothing is."""
        return "" if self.current else old_words(self.protocol, self.version)

    @property
    def nothing_read(self) -> bool:
        """Is no cell of its map above shuffled labels?"""
        return self.map_p is not None and self.map_p >= ALPHA

    @property
    def run(self) -> Run:
        """What the rows of one run share."""
        return (self.task, self.version, self.protocol, self.model.slug)


@dataclass(frozen=True, slots=True)
class Standing:
    """How often a model's headline probe is in a task's first group."""

    model: Model
    tiers: tuple[str, ...]
    tasks: int
    """Tasks with a row of this model."""
    first: int
    decided: int
    """Tasks that tell models apart: some model differs significantly from the first group's leader.
    Elsewhere all are in the first group, however little was measured."""
    undecided: int
    """Tasks on which this model has rivals and no model differs from the leader."""
    share: Interval

    @property
    def nothing_decided(self) -> str:
        """Why there is no share."""
        return "nobody differs" if self.undecided else "not ranked yet"


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
class Absent:
    """A run that gave no row."""

    model: Model
    task: str
    why: str
    """In sentences, as the run said it."""


@dataclass(frozen=True, slots=True)
class Board:
    """Everything there is to show."""

    rows: tuple[BoardRow, ...]
    models: tuple[Model, ...]
    tasks: tuple[str, ...]
    absent: tuple[Absent, ...] = ()

    @property
    def measured(self) -> int:
        """Rows with a number that a run measured."""
        return sum(r.protocol is not None and r.auroc is not None for r in self.rows)

    def of_task(self, task: str) -> list[BoardRow]:
        """Rows of one task, best first: ranked runs, then published figures, then rows of old
        versions."""
        return sorted((r for r in self.rows if r.task == task), key=row_order)

    def standings(self) -> list[Standing]:
        """Every model, most first places first; ties by the lower end of the interval, then by
        name.

        Runs come before published figures, and a model that has both stands there twice: their
        ranks are never counted together.
        """
        mine: dict[str, list[BoardRow]] = {m.slug: [] for m in self.models}
        for row in self.rows:
            if row.headline:
                mine[row.model.slug].append(row)
        apart = {_pool(r) for r in self.rows if r.headline and r.rank is not None and r.rank > 1}
        table = []
        pools = ((model, published) for published in (False, True) for model in self.models)
        for model, published in pools:
            rows = [r for r in mine[model.slug] if (r.protocol is None) is published]
            if not rows:
                continue
            ranked = [r for r in rows if r.rank is not None]
            decided = [r for r in ranked if _pool(r) in apart]
            first = sum(r.rank == 1 for r in decided)
            table.append(
                Standing(
                    model,
                    tiers=tuple(t for t in TIERS if any(r.tier == t for r in rows)),
                    tasks=len({r.task for r in rows}),
                    first=first,
                    decided=len(decided),
                    undecided=len(ranked) - len(decided),
                    share=wilson(first, len(decided)),
                )
            )
        return sorted(
            table, key=lambda s: ("published" in s.tiers, -s.first, -s.share.low, s.model.name)
        )

    def duels(self) -> list[Duel]:
        """The probe against every other detector with paired intervals, in the order of first
        appearance."""
        counts: dict[str, Counter[Outcome]] = {}
        labels: dict[str, dict[str, None]] = {}
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
            labels.setdefault(row.detector, {})[row.label] = None
            found = outcome((row.difference_low, row.difference_high))
            counts.setdefault(row.detector, Counter())[found] += 1
        return [
            Duel(
                name,
                _one_label(labels[name]),
                count["better"],
                count["undecided"],
                count["worse"],
                wilson(count["better"], count.total()),
            )
            for name, count in counts.items()
        ]


def turned_round(rows: Iterable[BoardRow], hardest: Mapping[Run, BoardRow]) -> dict[Run, BoardRow]:
    """Of each run the baseline of fixed sign that ranks furthest the wrong way round, where its
    whole interval lies below 0.5 and the probe, on the same examples, would be less far above it
    turned round than above the hardest: there a difference to the hardest says too much."""
    found: dict[Run, BoardRow] = {}
    for row in sorted(rows, key=best_first, reverse=True):
        if row.auroc is None or row.high is None or row.high >= 0.5:
            continue
        rival = hardest.get(row.run)
        if rival is None or rival.difference is None or not suite.label_free(row.detector):
            continue
        if row.difference is not None and row.difference + 2 * row.auroc - 1 < rival.difference:
            found.setdefault(row.run, row)
    return found


def _pool(row: BoardRow) -> tuple[str, int | None]:
    """What headline rows are ranked among: only a task's current version is."""
    return row.task, row.protocol


def _one_label(labels: Iterable[str]) -> str:
    """A detector that is called otherwise on answers than on statements, called for both: `log-prob
    mean, answer or statement`, or what the names begin with where one of them says no more."""
    parts = [label.partition(", ") for label in labels]
    names, tails = {name for name, _, _ in parts}, [tail for _, _, tail in parts]
    if len(names) > 1:
        return " or ".join(name + comma + tail for name, comma, tail in parts)
    (name,) = names
    return f"{name}, {' or '.join(tails)}" if all(tails) else name


def hardest_baselines(rows: Iterable[BoardRow]) -> dict[Run, BoardRow]:
    """Of each run, the baseline that the probe is least far above, each on the test examples that
    both score: an AUROC of other examples compares with none. Of figures without a difference the
    highest."""
    found: dict[Run, BoardRow] = {}
    for row in sorted(rows, key=_nearest_first):
        if row.kind == "baseline" and row.auroc is not None:
            found.setdefault(row.run, row)
    return found


def _nearest_first(row: BoardRow) -> tuple[float, ...]:
    """Sort key: probe minus this detector upwards, absent ones last, by AUROC."""
    return (row.difference if row.difference is not None else 2.0, *best_first(row))


def row_order(row: BoardRow) -> tuple[object, ...]:
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


def best_first(row: BoardRow) -> tuple[float]:
    """Sort key: AUROC downwards, absent ones last."""
    return (-row.auroc if row.auroc is not None else 1.0,)
