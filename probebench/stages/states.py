"""What is read inside the model: hidden states at every position of every layer, and what passes
through its components."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.files import content_key
from probebench.models.blocks.sites import plan_sites
from probebench.models.handles import ModelHandle
from probebench.probes.kinds import linear_map
from probebench.record.versions import versions
from probebench.stages.engine import Work
from probebench.stages.parquet import TableStage
from probebench.stages.plan import Plan
from probebench.stages.stage import Finished, Runner, Stage
from probebench.states.attribution import LIMIT, ProbeTarget, attribution
from probebench.states.exchange.reuse import given_states, source_facts
from probebench.states.extract import Extractor
from probebench.states.positions import locate, present
from probebench.states.reader import INDEX, SiteLayout, StatesReader
from probebench.states.shards import read_states_bytes, states_bytes
from probebench.types import CellFit, LabelledAnswer

DEVIATION, DEVIATION_EXAMPLES = "deviation.json", 32
"""What batches change, measured on the run's own first examples."""
Arrays = dict[str, NDArray[Any]]
"""Of each site (layer, position, example, width)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Whole sequences, and the places in them that are read."""

    ids: tuple[tuple[int, ...], ...]
    """(example,) token ids of prompt and answer."""
    table: NDArray[np.int64]
    """(example, position, 2) first and last token of each place, -1 where absent."""
    positions: tuple[str, ...]

    @classmethod
    def of(cls, answers: Sequence[LabelledAnswer], positions: Sequence[str]) -> Sequences:
        """Those of some answers."""
        table = locate([a.tokens for a in answers], positions)
        return cls(tuple(a.answer.ids for a in answers), table, tuple(positions))

    @property
    def content(self) -> str:
        """Content key."""
        return content_key({"ids": self.ids, "table": self.table.tolist()})


@dataclass(frozen=True, eq=False)
class StatesStage(Stage[Arrays]):
    """A stage that reads hidden states into shards that `StatesReader` opens."""

    plan: Plan
    sequences: Sequences
    layout: Mapping[str, SiteLayout]
    """What is stored of each site."""
    suffix: ClassVar[str] = "safetensors"

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.sequences.ids]

    @abstractmethod
    def extractor(self, work: Work) -> Extractor:
        """What reads."""

    def compute(self, rows: list[int], work: Work) -> Arrays:
        s = self.sequences
        return self.extractor(work)([s.ids[i] for i in rows], s.table[rows], s.positions)

    def pack(self, found: Arrays, rows: list[int]) -> bytes:
        return states_bytes(found, rows)

    def unpack(self, content: bytes) -> Arrays:
        return read_states_bytes(content)

    def reader(self, done: Finished[Arrays]) -> StatesReader:
        """Reads what was stored."""
        return StatesReader(
            tuple(map(str, done.files)),
            tuple(map(tuple, done.shards)),
            dict(self.layout),
            self.sequences.positions,
            present(self.sequences.table),
        )


@dataclass(frozen=True, eq=False)
class Hidden(StatesStage):
    """Hidden states of the run's own model."""

    name: ClassVar[str] = "states"
    title: ClassVar[str] = "Reading hidden states"
    budget_name: ClassVar[str] = "states"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        r = self.plan.reading
        return {
            "answers": self.plan.answer_inputs,
            "layers": r.layers,
            "positions": r.positions,
            "sites": r.sites.sites,
            "dtype": r.dtype,
            "batching": r.batching,
            "content": self.sequences.content,
        }

    @property
    def needs(self) -> ModelHandle:
        return self.plan.handle

    def extractor(self, work: Work) -> Extractor:
        r, loaded = self.plan.reading, work.models.get(self.needs)
        n_layers = self.plan.handle.identity.n_layers
        sites = plan_sites(loaded.base, n_layers, r.sites.sites, r.layers)
        return Extractor(loaded, sites, r.dtype, r.batching, work.budget())

    def finish(self, done: Finished[Arrays], work: Work) -> None:
        """Write the index, and what batches change."""
        if not done.store.has(DEVIATION):
            first, table = self.sequences.ids[:DEVIATION_EXAMPLES], self.sequences.table
            worst = self.extractor(work).deviation(first, table[: len(first)])
            found = {"examples": len(first), "largest_relative_deviation": worst}
            done.store.write(DEVIATION, json.dumps(found).encode())
        if not done.store.has(INDEX):
            done.store.write(INDEX, self.reader(done).index())


@dataclass(frozen=True, slots=True, eq=False)
class StoredStates:
    """The hidden states of a run: read for it, or given to it."""

    reader: StatesReader
    sequences: Sequences
    folder: Path
    key: str
    """Content key of what they are of."""
    place: str
    """The folder, as seen from the run directory."""
    facts: Mapping[str, Any]
    """The record's `extraction`."""


def hidden_states(plan: Plan, runner: Runner, answers: Sequence[LabelledAnswer]) -> StoredStates:
    """Hidden states of every site at every position of every layer.

    Raises:
        StatesError: given ones are of something else.
    """
    r, sequences = plan.reading, Sequences.of(answers, plan.reading.positions)
    if r.given is not None:
        ids = [a.example.id for a in answers]
        identity = asdict(plan.handle.identity)
        stored = given_states(r.given, identity, sequences.content, r.positions, ids)
        place = os.path.relpath(stored.folder, plan.folder)
        facts = {"batching": None, "source": source_facts(stored, place)}
        return StoredStates(stored.reader, sequences, stored.folder, stored.key, place, facts)
    stage = Hidden(plan, sequences, r.layout)
    done = runner.run(stage)
    folder = done.store.folder
    return StoredStates(
        stage.reader(done),
        sequences,
        folder,
        done.store.key,
        os.path.relpath(folder, plan.folder),
        {"batching": r.batching, **json.loads(done.store.read(DEVIATION))},
    )


@dataclass(frozen=True, eq=False)
class Attributed(TableStage):
    """Gradient x activation of every component, on some answers."""

    plan: Plan
    answers: Sequence[LabelledAnswer]
    target: ProbeTarget | None
    """The probe's decision as a second target, where it is linear."""
    name: ClassVar[str] = "attribution"
    title: ClassVar[str] = "Measuring attribution"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        t = self.target
        return {
            "answers": self.plan.answer_inputs,
            "ids": content_key({"ids": [a.answer.ids for a in self.answers]}),
            "exact": [a.tokens.exact for a in self.answers],
            "probe": None
            if t is None
            else content_key({"weight": t.weight.tolist(), "cell": asdict(t.cell)}),
            "versions": versions(),
        }

    @property
    def lengths(self) -> list[int]:
        return [len(a.answer.ids) for a in self.answers]

    @property
    def needs(self) -> ModelHandle:
        return self.plan.handle

    def shards(self) -> list[list[int]]:
        """One: a mean over all of them."""
        return [list(range(len(self.answers)))]

    def compute(self, rows: list[int], work: Work) -> pd.DataFrame:
        return attribution(work.models.get(self.needs), self.answers, self.target)


def attributed(
    plan: Plan, runner: Runner, answers: Sequence[LabelledAnswer], fitted: Any, chosen: CellFit
) -> pd.DataFrame:
    """Gradient x activation of every component on the first test answers: of the answer's
    log-probability, and of the selected probe's decision."""
    linear = linear_map(fitted)
    target = None if linear is None else ProbeTarget(chosen.cell, linear.weight, linear.bias)
    some = [a for a in answers if a.split == "test"][:LIMIT]
    [(_, table)] = runner.run(Attributed(plan, some, target)).parts()
    return table
