"""Rows of the leaderboard, from submissions and from papers, in one form for tables and pages.

Three tiers. `published`: figures that a paper prints. `recomputed`: a submission whose numbers were
computed again from its decisions. `rerun`: maintainers repeated the run and got the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from probebench.detectors import suite
from probebench.errors import BadFileError
from probebench.leaderboard.submission.names import variant_of
from probebench.leaderboard.submission.read import (
    RECORD,
    RERUN,
    CellRow,
    Decisions,
    check_headline,
    find_submissions,
    fingerprint,
    read_cells,
    read_decisions,
)
from probebench.leaderboard.submission.strict import Broken, read_json
from probebench.record.claims import chance
from probebench.record.parts.confounded import Residual
from probebench.record.parts.measured import CellName, DetectorFacts
from probebench.record.parts.resplits import SplitSpread
from probebench.record.published import TEST_AUROC, figures, our_name
from probebench.record.schema import PROTOCOL_VERSION, Record
from probebench.tasks.schema import list_tasks

Tier = Literal["published", "recomputed", "rerun"]


@dataclass(frozen=True, slots=True)
class DetectorRow:
    """One detector of one row; None for what was not measured."""

    name: str
    label: str
    kind: str
    when: str | None
    n: int | None
    n_correct: int | None
    auroc: float
    low: float | None
    """95 % interval, cluster bootstrap by group."""
    high: float | None
    difference: float | None
    """AUROC of the selected probe minus this one's."""
    difference_low: float | None
    difference_high: float | None
    n_missing: int | None = None
    spread: float | None = None
    """Published rows only: the figure after the plus-minus sign."""
    source: str | None = None
    """Published rows only: paper and table."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One model on one task. Every text in it comes from a stranger."""

    tier: Tier
    protocol_version: int | None
    """None for a paper's own protocol: never ranked with runs."""
    model: str
    variant: str
    """What distinguishes it from the plain model: `int8`, `int4`, `peft-<hash>`, or nothing."""
    slug: str
    """Safe in file names and addresses."""
    family: str | None
    revision: str | None
    n_parameters: int | None
    n_layers: int | None
    width: int | None
    dtype: str | None
    task: str
    task_version: int | None
    task_hash: str | None
    task_folder: str
    current: bool
    """Are the task's version and hash the package's?"""
    n_test: int | None
    n_compared: int | None
    prevalence: float | None
    detectors: tuple[DetectorRow, ...]
    """The selected probe first."""
    selection: CellName | None
    """The selected cell; None for published rows."""
    cells: tuple[CellRow, ...]
    layers: tuple[str, ...]
    positions: tuple[str, ...]
    warnings: tuple[str, ...]
    source: str | None
    """Paper and table; None for runs."""
    rerun: Mapping[str, Any] | None
    folder: Path | None
    splits: SplitSpread | None = None
    """What other splits gave, where the run asked for some."""
    residual: Residual | None = None
    """The probe with its confounds regressed out, where the run could do that."""
    map_p: float | None = None
    """Of the best cell of the map against maps of shuffled labels."""

    def detector(self, name: str) -> DetectorRow | None:
        """A detector by name; None when this row does not have it."""
        return next((d for d in self.detectors if d.name == name), None)

    def decisions(self) -> Decisions:
        """Labels and decisions, read now.

        Raises:
            BadFileError: a published row, or a file that cannot be read.
        """
        if self.folder is None:
            raise BadFileError(
                f"Published figures of {self.model} on {self.task} come without decisions."
            )
        try:
            return read_decisions(self.folder)
        except Broken as error:
            raise BadFileError(f"{self.folder}: {error}") from None


@cache
def task_hashes() -> dict[str, tuple[int, str]]:
    """Version and hash of every task of the suite."""
    return {t.name: (t.version, t.hash) for t in list_tasks()}


def read_entries(root: Path, *, published: bool = True) -> Iterator[Entry]:
    """Rows below `root` (the folder `leaderboards`), one in memory at a time, then those of papers.

    Raises:
        BadFileError: a submission that cannot be read; `probebench leaderboard validate` says more.
    """
    for folder in find_submissions(root):
        try:
            yield read_entry(folder)
        except Broken as error:
            raise BadFileError(f"{folder}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise BadFileError(
                f"{folder}: {RECORD} does not follow the schema ({type(error).__name__}: {error})."
            ) from None
    if published:
        yield from published_entries()


def read_entry(folder: Path) -> Entry:
    """One submission.

    Raises:
        Broken: a file that cannot be read, or decisions that are not the record's.
    """
    record = Record.from_plain(read_json(folder, RECORD))
    model, task = record.model, record.task
    check_headline(folder, record.detectors[0].auroc)
    rerun = read_json(folder, RERUN) if (folder / RERUN).exists() else None
    repeated = (
        rerun is not None
        and rerun.get("agrees") is True
        and rerun.get("fingerprint") == fingerprint(folder)
    )
    detectors = tuple(_detector(d) for d in record.detectors)
    return Entry(
        tier="rerun" if repeated else "recomputed",
        protocol_version=record.protocol_version,
        model=model.name,
        variant=variant_of(model),
        slug=folder.parent.name,
        family=model.architecture.split("For")[0],
        revision=model.revision,
        n_parameters=model.n_parameters,
        n_layers=model.n_layers,
        width=model.width,
        dtype=model.dtype,
        task=task.name,
        task_version=task.version,
        task_hash=task.hash,
        task_folder=folder.name,
        current=task_hashes().get(task.name) == (task.version, task.hash)
        and record.protocol_version == PROTOCOL_VERSION,
        n_test=record.comparison.n_test,
        n_compared=record.comparison.n_compared,
        prevalence=record.detectors[0].prevalence,
        detectors=detectors,
        selection=record.selection,
        cells=read_cells(folder),
        layers=record.layers,
        positions=record.positions,
        warnings=record.warnings,
        source=None,
        rerun=rerun,
        folder=folder,
        splits=record.resplits.spread if record.resplits else None,
        residual=record.confounds.residual if record.confounds else None,
        map_p=chance(record).map_p,
    )


def _detector(d: DetectorFacts) -> DetectorRow:
    known = suite.known().get(d.name)
    # how many cells an ensemble takes differs from run to run, and one name stands for all
    label = known.of_any_run if known and known.kind == "ensemble" else d.label
    (low, high), (difference_low, difference_high) = d.auroc_95, d.probe_minus_this_95
    return DetectorRow(
        name=d.name,
        label=label,
        kind=d.kind,
        when=d.when,
        n=d.n,
        n_correct=d.n_correct,
        auroc=d.auroc,
        low=low,
        high=high,
        difference=d.probe_minus_this,
        difference_low=difference_low,
        difference_high=difference_high,
        n_missing=d.n_missing,
    )


def published_entries() -> Iterator[Entry]:
    """One row per model and task of the papers whose figures travel in the package."""
    rows: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for r in figures(TEST_AUROC):
        rows.setdefault((r["model"], r["task"]), []).append(r)
    for (model, task), own in rows.items():
        yield _published(model, task, own)


def _label(name: str) -> str:
    """A paper's detector in the words of ours."""
    kind, own = our_name(name)
    label = suite.known()[own].of_answers if kind == "detector" else None
    return label or f"probe at {own.replace('_', ' ')}"


def _published(model: str, task: str, rows: Sequence[Mapping[str, str]]) -> Entry:
    detectors = tuple(
        DetectorRow(
            name=r["detector"],
            label=_label(r["detector"]),
            kind="probe" if r["detector"].startswith("probe@") else "baseline",
            when=None,
            n=None,
            n_correct=None,
            auroc=float(r["auroc"]),
            low=None,
            high=None,
            difference=None,
            difference_low=None,
            difference_high=None,
            spread=float(r["spread"]) if r["spread"] else None,
            source=r["source"],
        )
        for r in rows
    )
    return Entry(
        tier="published",
        protocol_version=None,
        model=model,
        variant="",
        slug=model.replace("/", "__"),
        family=None,
        revision=None,
        n_parameters=None,
        n_layers=None,
        width=None,
        dtype=None,
        task=task,
        task_version=None,
        task_hash=None,
        task_folder=task,
        current=True,
        n_test=None,
        n_compared=None,
        prevalence=None,
        detectors=tuple(sorted(detectors, key=lambda d: (d.kind != "probe", d.name))),
        selection=None,
        cells=(),
        layers=(),
        positions=(),
        warnings=(),
        source=rows[0]["source"],
        rerun=None,
        folder=None,
    )
