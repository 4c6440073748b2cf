"""A probe for every cell, saved a row of the map at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar

import numpy as np

from probebench.models.blocks.sites import SITES
from probebench.probes.choose import with_bars
from probebench.probes.fit import Job, fit_cells, masked_cell
from probebench.probes.labels import Labels
from probebench.record.versions import versions
from probebench.stages.engine import Work
from probebench.stages.parquet import fits_bytes, read_fits_bytes
from probebench.stages.plan import Plan
from probebench.stages.stage import Runner, Stage, in_order
from probebench.stages.states import StoredStates
from probebench.types import Cell, CellFit, LabelledAnswer


@dataclass(frozen=True, eq=False)
class Fitted(Stage[list[CellFit]]):
    """A stage that fits probes to stored hidden states."""

    plan: Plan
    job: Job
    states: str
    """Content key of the hidden states."""
    cells: Sequence[Cell]
    suffix: ClassVar[str] = "parquet"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        labels = self.job.labels
        return {
            "states": self.states,
            "y": labels.y.tolist(),
            "splits": labels.splits,
            "groups": labels.groups,
            "probe": self.plan.fitting.inputs,
            "versions": versions(),
            # the key of states that were given does not say which of their layers are read
            **({"cells": list(map(astuple, self.cells))} if self.plan.reading.given else {}),
        }

    def pack(self, found: list[CellFit], rows: list[int]) -> bytes:
        return fits_bytes(found)

    def unpack(self, content: bytes) -> list[CellFit]:
        return read_fits_bytes(content)

    def tokens(self, found: list[CellFit], rows: list[int]) -> int:
        """None: vectors are all it reads."""
        return 0


@dataclass(frozen=True, eq=False)
class CellFits(Fitted):
    """Probes of some cells; a shard is one layer of one site."""

    name: ClassVar[str] = "probes"
    title: ClassVar[str] = "Fitting probes"
    unit: ClassVar[str] = "cells"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        return {**super().inputs, "shuffles": self.job.shuffles}

    @property
    def lengths(self) -> list[int]:
        return [1] * len(self.cells)

    def shards(self) -> list[list[int]]:
        """One row of the map each."""
        rows: dict[tuple[str, int], list[int]] = {}
        for i, cell in enumerate(self.cells):
            rows.setdefault((cell.site, cell.layer), []).append(i)
        return list(rows.values())

    def compute(self, rows: list[int], work: Work) -> list[CellFit]:
        return list(fit_cells(self.job, [self.cells[i] for i in rows]))

    def stream(self, shards: Sequence[list[int]], work: Work) -> Iterator[list[CellFit]]:
        """Row after row, out of one pool of processes that does not wait at the end of a row."""
        fits = fit_cells(self.job, [self.cells[i] for rows in shards for i in rows])
        for rows in shards:
            found: list[CellFit] = []
            for fit in islice(fits, len(rows)):
                found.append(fit)
                work.begun(len(found))
            yield found


def job_of(plan: Plan, answers: Sequence[LabelledAnswer], states: StoredStates) -> Job:
    """What is the same for every cell of a run."""
    labels = Labels(
        np.array([a.label for a in answers]),
        tuple(a.split for a in answers),
        tuple(a.example.group for a in answers),
    )
    f = plan.fitting
    return Job(states.reader, labels, f.probe, f.shuffles, f.width, plan.seed, f.device)


def fits_of(plan: Plan, runner: Runner, job: Job, states: StoredStates) -> tuple[CellFit, ...]:
    """A probe for every cell, in the order of the map; cells of layers that do not have their site
    say why."""
    found = in_order(runner.run(CellFits(plan, job, states.key, plan.reading.cells)))
    absent = [
        masked_cell(Cell(site, layer, name), len(job.labels.y), reason, absent=True)
        for (site, layer), reason in plan.reading.sites.absent.items()
        for name in plan.reading.positions
    ]
    order = {site: i for i, site in enumerate(SITES)}
    # stable: positions stay in map order
    whole = sorted([*found, *absent], key=lambda f: (order[f.cell.site], f.cell.layer))
    return tuple(with_bars(whole, job.labels))
