"""The stages after the labels: hidden states, and a probe for every cell. Each is saved shard by
shard."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.errors import UsageError
from probebench.files import ShardStore, content_key, shard_name
from probebench.job.record import versions
from probebench.models.blocks.sites import SITES, SitePlan, plan_sites
from probebench.models.devices import pick_device
from probebench.models.passes.batches import Budget
from probebench.probes.fit import Job, fit_cells, masked_cell
from probebench.probes.kinds import get_probe, linear_map
from probebench.probes.labels import Labels
from probebench.stages import parquet
from probebench.stages.answers import Stages
from probebench.states.attribution import LIMIT, ProbeTarget, attribution
from probebench.states.exchange.find import Stored
from probebench.states.exchange.reuse import given_states, restrict, source_facts
from probebench.states.extract import Extractor, site_layouts
from probebench.states.positions import locate, present
from probebench.states.reader import INDEX, SiteLayout, StatesReader, states_bytes
from probebench.types import Cell, CellFit, LabelledAnswer, layer_name

ATTRIBUTION = "attribution.parquet"
DEVIATION, DEVIATION_EXAMPLES = "deviation.json", 32
"""What batches change, measured on the run's own first examples."""
SHUFFLES = 100
"""Shuffled-label fits per cell, for probes that are fitted in batches."""


Asked = tuple[SitePlan, Mapping[str, SiteLayout]]
"""What can be read of what was asked for, and what will be stored of it."""


def plan_run(stages: Stages) -> Asked:
    """Sites and layers of a run, checked before anything is generated.

    Raises:
        UsageError: the model has none of the sites asked for, or vectors narrower than `--width`.
    """
    identity, width = stages.handle.identity, stages.settings.width
    plan = plan_sites(
        stages.handle.skeleton, identity.n_layers, stages.settings.sites, stages.layers
    )
    layout = site_layouts(plan)
    if not layout:
        reasons = sorted(set(plan.absent.values()))
        raise UsageError(
            f"{identity.name!r} ({identity.architecture}) has none of {', '.join(plan.sites)}: "
            f"{'; '.join(reasons)}."
        )
    narrow = {site: min(at.widths) for site, at in layout.items() if site != "resid"}
    if width is not None and not narrow:
        raise UsageError(
            f"--width {width} projects components, and this run reads resid only. Add --sites all, "
            "or leave it out."
        )
    if width is not None and width > min(narrow.values()):
        site = min(narrow, key=lambda name: narrow[name])
        raise UsageError(
            f"--width {width} is wider than {site}, which has {narrow[site]}. Take {narrow[site]} "
            "or less."
        )
    if stages.settings.states is not None:
        return restrict(plan, layout, stages.settings.states, stages.settings.layers)
    return plan, layout


class Cells:
    """Hidden states and probes of one run's labelled answers."""

    def __init__(self, stages: Stages, answers: Sequence[LabelledAnswer], asked: Asked) -> None:
        self.stages, self.settings, self.answers = stages, stages.settings, answers
        self.positions = stages.positions
        self.plan, self.layout = asked
        self.states_stage: ShardStore | Stored
        self.table = locate([a.tokens for a in answers], self.positions)
        self.labels = Labels(
            np.array([a.label for a in answers]),
            tuple(a.split for a in answers),
            tuple(a.example.group for a in answers),
        )

    @property
    def n_shuffles(self) -> int:
        """Shuffled-label fits per cell."""
        given = 0 if "shuffles" in self.settings.skip else self.settings.shuffles
        return (
            given
            if given is not None
            else SHUFFLES * get_probe(self.settings.probe, self.settings.solver).batched
        )

    def states(self) -> StatesReader:
        """Hidden states of every site at every position of every layer."""
        stages, s = self.stages, self.settings
        ids = [a.answer.ids for a in self.answers]
        inputs = {
            "answers": stages.answer_inputs(),
            "layers": stages.layers,
            "positions": self.positions,
            "sites": self.plan.sites,
            "dtype": s.states_dtype,
            "batching": s.batching,
            "content": content_key({"ids": ids, "table": self.table.tolist()}),
        }

        if s.states is not None:
            return self._given(s.states, str(inputs["content"]))
        budget = stages.budgets.get("states", inputs, Budget)

        @cache
        def extractor() -> Extractor:
            loaded = stages.loaded
            plan = plan_sites(
                loaded.base, stages.handle.identity.n_layers, self.plan.sites, stages.layers
            )
            return Extractor(loaded, plan, s.states_dtype, s.batching, budget())

        def read(rows: list[int]) -> dict[str, NDArray[Any]]:
            return extractor()([ids[i] for i in rows], self.table[rows], self.positions)

        stage, shards = stages.sharded(
            "states",
            inputs,
            [len(i) for i in ids],
            "Reading hidden states",
            read,
            states_bytes,
            "safetensors",
            lambda: stages.loaded,
        )
        if not stage.has(DEVIATION):
            first = ids[:DEVIATION_EXAMPLES]
            found = {
                "examples": len(first),
                "largest_relative_deviation": extractor().deviation(
                    first, self.table[: len(first)]
                ),
            }
            stage.write(DEVIATION, json.dumps(found).encode())
        self.batching = {"batching": s.batching, **json.loads(stage.read(DEVIATION))}
        files = tuple(
            str((stage.folder / shard_name(i, "safetensors")).resolve()) for i in range(len(shards))
        )
        reader = StatesReader(
            files, tuple(map(tuple, shards)), self.layout, self.positions, present(self.table)
        )
        if not stage.has(INDEX):
            stage.write(INDEX, reader.index())
        self.states_stage = stage
        return reader

    def _given(self, path: str, content: str) -> StatesReader:
        """Hidden states that are there already; the folder stays as it is."""
        ids = [a.example.id for a in self.answers]
        stored = given_states(
            path, asdict(self.stages.handle.identity), content, self.positions, ids
        )
        self.states_stage = stored
        self.batching = {"batching": None, "source": source_facts(stored, self.states_place)}
        return stored.reader

    @property
    def states_place(self) -> str:
        """The folder of the hidden states, as seen from the run directory."""
        return os.path.relpath(self.states_stage.folder, self.stages.folder)

    def job(self, reader: StatesReader) -> Job:
        """What is the same for every cell."""
        s, device = self.settings, pick_device(self.settings.model.device)
        return Job(
            reader=reader,
            labels=self.labels,
            probe=get_probe(s.probe, s.solver),
            shuffles=self.n_shuffles,
            width=s.width,
            seed=s.seed,
            device=str(device) if device.type == "cuda" else None,
        )

    def wanted(self) -> list[Cell]:
        """Cells that can have a probe, site by site, downwards."""
        return [
            Cell(site, layer, name)
            for site, at in self.layout.items()
            for layer in at.layers
            for name in self.positions
        ]

    def absent(self) -> list[CellFit]:
        """Cells of layers that do not have a site, with the reason."""
        return [
            masked_cell(Cell(site, layer, name), len(self.answers), reason, absent=True)
            for (site, layer), reason in self.plan.absent.items()
            for name in self.positions
        ]

    def fits(self, job: Job) -> list[CellFit]:
        """A probe for every cell, saved a layer at a time; Ctrl-C keeps what is finished."""
        s = self.settings
        inputs = {
            "states": self.states_stage.key,
            "y": self.labels.y.tolist(),
            "splits": self.labels.splits,
            "groups": self.labels.groups,
            "probe": s.probe_inputs(),
            "shuffles": self.n_shuffles,
            "versions": versions(),
        }
        stage, wanted = ShardStore(self.stages.folder, "probes", inputs), self.wanted()
        done = {
            f.cell: f
            for name in sorted(stage.shards)
            if stage.has(name)
            for f in parquet.read_fits_bytes(stage.read(name))
        }
        missing = [cell for cell in wanted if cell not in done]
        if missing:
            with self.stages.progress.stage(
                "Fitting probes", len(wanted), "cells", len(wanted) - len(missing)
            ) as counter:
                row: list[CellFit] = []
                try:
                    for fit in fit_cells(job, missing):
                        row.append(fit)
                        done[fit.cell] = fit
                        counter.advance()
                        if fit.cell.position == self.positions[-1]:
                            stage.write(shard_of(row), parquet.fits_bytes(row))
                            row = []
                finally:
                    if row:
                        stage.write(shard_of(row), parquet.fits_bytes(row))
        order = {site: i for i, site in enumerate(SITES)}
        fits = [done[cell] for cell in wanted] + self.absent()
        return sorted(
            fits, key=lambda f: (order[f.cell.site], f.cell.layer)
        )  # stable: positions stay in map order

    def selected_probe(self, job: Job, chosen: CellFit) -> Any:
        """The estimator of the selected cell, fitted again by itself."""
        cell, there = chosen.cell, job.reader.there(chosen.cell.position)
        train = np.array([split == "train" for split in job.labels.splits]) & there
        X = job.vectors(cell)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whether it converged is known from the map
            return job.probe.make(chosen.C, X.shape[1]).fit(X[train], job.labels.y[train])

    def attribution(self, fitted: Any, chosen: CellFit) -> pd.DataFrame:
        """Gradient x activation of every component, on the first test answers."""
        linear = linear_map(fitted)
        target = None if linear is None else ProbeTarget(chosen.cell, linear.weight, linear.bias)
        answers = [a for a in self.answers if a.split == "test"][:LIMIT]
        weights = (
            None
            if linear is None
            else content_key({"weight": linear.weight.tolist(), "cell": asdict(chosen.cell)})
        )
        inputs = {
            "answers": self.stages.answer_inputs(),
            "ids": content_key({"ids": [a.answer.ids for a in answers]}),
            "exact": [a.tokens.exact for a in answers],
            "probe": weights,
            "versions": versions(),
        }
        stage = ShardStore(self.stages.folder, "attribution", inputs)
        if not stage.has(ATTRIBUTION):
            loaded = self.stages.loaded
            with self.stages.progress.stage(
                "Measuring attribution", len(answers), "answers"
            ) as counter:
                stage.write(
                    ATTRIBUTION, parquet.parquet_bytes(attribution(loaded, answers, target))
                )
                counter.advance(len(answers))
        return parquet.read_parquet_bytes(stage.read(ATTRIBUTION))


def shard_of(fits: Sequence[CellFit]) -> str:
    """File name of a shard that begins with this cell."""
    cell = fits[0].cell
    return f"{cell.site}-{layer_name(cell.layer)}-{cell.position}.parquet"
