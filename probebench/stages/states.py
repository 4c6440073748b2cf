"""What is read inside the model: hidden states at every position of every layer."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from probebench.files import content_key, seen_from
from probebench.models.blocks.sites import SitePlan, plan_sites
from probebench.models.handles import ModelHandle
from probebench.models.passes.head import Head
from probebench.models.passes.scored import GivenScores, Scorer
from probebench.stages.answers import scored_answers, scores_given, with_scores
from probebench.stages.engine import Work
from probebench.stages.plan import Plan
from probebench.stages.stage import Finished, Runner, Stage
from probebench.states.exchange.reuse import given_states, source_facts
from probebench.states.extract import Extractor
from probebench.states.positions import locate, present
from probebench.states.reader import INDEX, SiteLayout, StatesReader
from probebench.states.shards import SCORES, Shard, read_states_bytes, states_bytes
from probebench.types import LabelledAnswer

DEVIATION, DEVIATION_EXAMPLES = "deviation.json", 32
"""What batches change, measured on the run's own first examples."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadShard:
    """What was read of some examples."""

    values: Mapping[str, NDArray[Any]]
    """Of each site (layer, position, example, width)."""
    scores: NDArray[np.float32] | None
    """(log-probability | logit | entropy, token) of the answers' tokens, one example after the
    other; None where they were not asked for."""


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


@dataclass(frozen=True, slots=True)
class Where:
    """Which vectors are read."""

    sites: tuple[str, ...]
    layers: tuple[int, ...]

    def planned(self, base: Any, handle: ModelHandle) -> SitePlan:
        """The same in a model, or in its skeleton."""
        return plan_sites(base, handle.identity.n_layers, self.sites, self.layers)


@dataclass(frozen=True, eq=False)
class StatesStage(Stage[ReadShard]):
    """A stage that reads hidden states into shards that `StatesReader` opens."""

    plan: Plan
    sequences: Sequences
    layout: Mapping[str, SiteLayout]
    """What is stored of each site."""
    suffix: ClassVar[str] = "safetensors"

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.sequences.ids]

    @property
    def how(self) -> dict[str, Any]:
        """What decides the numbers of every such stage: answers, tokens and precision."""
        r = self.plan.reading
        return {
            "answers": self.plan.answer_inputs,
            "dtype": r.dtype,
            "batching": r.batching,
            "content": self.sequences.content,
        }

    @property
    @abstractmethod
    def where(self) -> Where:
        """What is read of each block."""

    @property
    def needs(self) -> ModelHandle:
        return self.plan.handle

    def extractor(self, work: Work) -> Extractor:
        """What reads."""
        r, loaded = self.plan.reading, work.models.get(self.needs)
        sites = self.where.planned(loaded.base, self.needs)
        return Extractor(loaded, sites, r.dtype, r.batching, work.budget())

    def scorer(self, rows: list[int], work: Work) -> Scorer | None:
        """What scores the answers of some examples in the same pass; None: nothing does."""
        return None

    def compute(self, rows: list[int], work: Work) -> ReadShard:
        s, scorer = self.sequences, self.scorer(rows, work)
        read = self.extractor(work)
        values = read([s.ids[i] for i in rows], s.table[rows], s.positions, scorer)
        if scorer is None:
            return ReadShard(values, None)
        return ReadShard(values, np.concatenate([np.stack(x) for x in scorer.scores()], axis=-1))

    def pack(self, found: ReadShard, rows: list[int]) -> bytes:
        return states_bytes(found.values, rows, found.scores)

    def unpack(self, content: bytes) -> ReadShard:
        values = read_states_bytes(content)
        return ReadShard(values, values.pop(SCORES, None))

    def reader(self, done: Finished[ReadShard]) -> StatesReader:
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
    """Hidden states of the run's own model, and in the same pass what it says of answers that were
    given to it."""

    prompts: tuple[int, ...] | None
    """(example,) tokens before each answer that is scored; None: none is."""
    name: ClassVar[str] = "states"
    title: ClassVar[str] = "Reading hidden states"
    budget_name: ClassVar[str] = "states"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        r = self.plan.reading
        return {
            **self.how,
            "layers": r.layers,
            "positions": r.positions,
            "sites": r.sites.sites,
            **({} if self.prompts is None else {"prompts": content_key({"of": self.prompts})}),
        }

    @property
    def where(self) -> Where:
        return Where(self.plan.reading.sites.sites, self.plan.reading.layers)

    def scorer(self, rows: list[int], work: Work) -> Scorer | None:
        if self.prompts is None:
            return None
        pairs = [(self.sequences.ids[i], self.prompts[i]) for i in rows]
        head = Head(work.models.get(self.needs))
        return Scorer(head, [(ids[:n], ids[n:]) for ids, n in pairs])

    def scored(
        self, done: Finished[ReadShard], answers: Sequence[LabelledAnswer]
    ) -> tuple[LabelledAnswer, ...]:
        """The answers with the scores that were read."""
        found = list(answers)
        if self.prompts is None:
            return tuple(found)
        for file, rows in zip(done.files, done.shards, strict=True):
            ends = np.cumsum([len(answers[i].answer.answer_ids) for i in rows])[:-1]
            pieces = np.split(np.array(Shard(file).raw(SCORES)), ends, axis=1)
            for i, piece in zip(rows, pieces, strict=True):
                own = with_scores(answers[i].answer, GivenScores(*piece))
                found[i] = replace(answers[i], answer=own)
        return tuple(found)

    def finish(self, done: Finished[ReadShard], work: Work) -> None:
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


def hidden_states(
    plan: Plan, runner: Runner, answers: Sequence[LabelledAnswer]
) -> tuple[tuple[LabelledAnswer, ...], StoredStates]:
    """Hidden states of every site at every position of every layer; and the answers, those that
    were given to the model with its scores, from the same pass.

    Raises:
        StatesError: given ones are of something else.
    """
    r, sequences = plan.reading, Sequences.of(answers, plan.reading.positions)
    if r.given is not None:
        ids = [a.example.id for a in answers]
        identity = asdict(plan.handle.identity)
        stored = given_states(r.given, identity, sequences.content, r.positions, ids)
        place = seen_from(plan.folder, stored.folder)
        facts = {"batching": None, "source": source_facts(stored, place)}
        found = StoredStates(stored.reader, sequences, stored.folder, stored.key, place, facts)
        return scored_answers(plan, runner, answers), found
    prompts = tuple(len(a.answer.prompt_ids) for a in answers) if scores_given(plan) else None
    stage = Hidden(plan, sequences, r.layout, prompts)
    done = runner.run(stage)
    folder = done.store.folder
    return stage.scored(done, answers), StoredStates(
        stage.reader(done),
        sequences,
        folder,
        done.store.key,
        seen_from(plan.folder, folder),
        {"batching": r.batching, **json.loads(done.store.read(DEVIATION))},
    )
