"""The control `random-model`: the selected cell's probe on a model that has learnt nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from probebench.detectors.registry import Description, Scores, detector
from probebench.metrics.auroc import auroc
from probebench.models.blocks.sites import plan_sites
from probebench.probes.fit import Job
from probebench.probes.labels import split_index
from probebench.scoring.select import cell_facts, select
from probebench.stages.data import RunData
from probebench.stages.engine import Work
from probebench.stages.fits import CellFits
from probebench.stages.stage import Runner, Stage
from probebench.stages.states import Sequences, StatesStage, Where
from probebench.states.extract import Extractor, site_layouts
from probebench.states.positions import readable_when
from probebench.store.shards import STAGES
from probebench.types import Cell, CellFit


@dataclass(frozen=True, eq=False)
class RandomHidden(StatesStage):
    """States of the untrained model at one position, in every layer that was read of the trained
    one."""

    site: str
    name: ClassVar[str] = "random-model-states"
    title: ClassVar[str] = "Reading random model"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        r = self.plan.reading
        return {
            **self.how,
            "site": self.site,
            "layers": r.layers,
            "position": self.sequences.positions[0],
            "seed": self.plan.seed,
        }

    @property
    def where(self) -> Where:
        return Where((self.site,), self.plan.reading.layers)

    def prepare(self, work: Work) -> None:
        work.models.get(self.plan.handle, self.plan.seed)

    def extractor(self, work: Work) -> Extractor:
        r, loaded = self.plan.reading, work.models.get(self.plan.handle, self.plan.seed)
        sites = self.where.planned(loaded.base, self.plan.handle)
        return Extractor(loaded, sites, r.dtype, r.batching, zeros=True)


@dataclass(frozen=True, eq=False)
class RandomFitted(CellFits):
    """Probes of the untrained model: one layer after the other, as they are few."""

    name: ClassVar[str] = "random-model-probes"
    title: ClassVar[str] = "Fitting random model"

    def shards(self) -> list[list[int]]:
        """All together."""
        return [list(range(len(self.cells)))]

    def stream(self, shards: Sequence[list[int]], work: Work) -> Iterator[list[CellFit]]:
        return Stage.stream(self, shards, work)

    def compute(self, rows: list[int], work: Work) -> list[CellFit]:
        found = []
        for i in rows:
            found.append(self.job.fit(self.cells[i]))
            work.begun(len(found))
        return found


@detector(
    Description(
        name="probe_random_model",
        of_answers="probe, random model",
        of_statements="probe, random model",
        kind="control",
        when=None,
        needs=frozenset({"cells", "untrained model"}),
        control="random-model",
    )
)
def probe_random_model(data: RunData, runner: Runner) -> Iterator[Scores]:
    """The probe of the selected cell on an untrained model that reads the same tokens, C chosen as
    for the trained one.

    In its detail also the untrained model's own best layer at that position, by validation.
    """
    plan, cell = data.plan, data.chosen.cell
    whole = data.states.sequences
    column = whole.positions.index(cell.position)
    sequences = Sequences(whole.ids, whole.table[:, [column]], (cell.position,))
    n_layers = plan.handle.identity.n_layers
    sites = plan_sites(plan.handle.skeleton, n_layers, (cell.site,), plan.reading.layers)
    reading = RandomHidden(plan, sequences, site_layouts(sites), cell.site)
    fits = _fits(data.job, reading, cell, runner)
    chosen = next(f for f in fits if f.cell == cell)
    best = select(fits)
    test = split_index(data.labels.splits)["test"]
    there = test[np.isfinite(best.decisions[test])]
    own_best = {
        **cell_facts(best),
        "test_auroc": auroc(data.labels.y[there], best.decisions[there]),
        "n_test": len(there),
    }
    detail = {**cell_facts(chosen), "seed": plan.seed, "best_layer": own_best}
    when = readable_when(cell.position, given=data.statements)
    yield Scores("probe_random_model", chosen.decisions, detail, when)


def _fits(job: Job, reading: RandomHidden, cell: Cell, runner: Runner) -> list[CellFit]:
    """A probe for each layer of the untrained model at the position of a cell; its vectors, which
    say nothing, are deleted."""
    own = replace(job, shuffles=0)
    cells = [Cell(cell.site, layer, cell.position) for layer in reading.layout[cell.site].layers]
    found = runner.find(RandomFitted(reading.plan, own, reading.key, cells))
    if found is None:
        read = runner.run(reading)
        own = replace(own, reader=reading.reader(read))
        found = runner.run(RandomFitted(reading.plan, own, reading.key, cells))
        read.drop()
        return [fit for _, part in found.parts() for fit in part]
    # parts leave the vectors to the run without `--part`
    place = reading.plan.folder / STAGES / f"{reading.name}-{reading.key[:16]}"
    left = runner.find(reading) if place.is_dir() else None
    if left is not None:
        left.drop()
    return [fit for _, part in found.parts() for fit in part]
