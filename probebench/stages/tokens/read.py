"""Vectors at the tokens of marked answers, and what the model says of these tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probebench.models.blocks.sites import plan_sites
from probebench.models.handles import ModelHandle
from probebench.models.passes.head import Head
from probebench.models.passes.scored import Scorer
from probebench.stages.engine import Work
from probebench.stages.stage import Finished, Stage
from probebench.stages.tokens.plan import SpanPlan
from probebench.states.extract import SHARD, Extractor
from probebench.states.shards import Shard, host_dtype, widened

SITE = "resid"
ROOM = 2**28
"""Bytes that the vectors of a shard may take."""


class TokenShard(NamedTuple):
    """What was read of some answers."""

    values: NDArray[Any]
    """(layer, token, width), the bits of bfloat16 as uint16."""
    scores: NDArray[np.float32]
    """(2, token) log-probability and entropy, in nats."""


@dataclass(frozen=True, eq=False)
class TokenStates(Stage[TokenShard]):
    """The residual stream at tokens inside answers, and the scores of these tokens, in one pass."""

    plan: SpanPlan
    name: ClassVar[str] = "token_states"
    title: ClassVar[str] = "Reading hidden states"
    suffix: ClassVar[str] = "safetensors"
    budget_name: ClassVar[str] = "states"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        return self.plan.reading

    @cached_property
    def lengths(self) -> list[int]:
        return [len(m.ids) for m in self.plan.marked]

    @property
    def needs(self) -> ModelHandle:
        return self.plan.handle

    def shards(self) -> list[list[int]]:
        """Answers of similar length, as many as `ROOM` holds when each has as many tokens as the
        one with most."""
        plan, counts = self.plan, np.diff(self.plan.table.first)
        each = len(plan.layers) * plan.handle.identity.width * host_dtype(plan.dtype).itemsize
        found: list[list[int]] = []
        for i in sorted(range(len(counts)), key=lambda i: (-self.lengths[i], i)):
            last = found[-1] if found else []
            most = max((int(counts[j]) for j in (*last, i)), default=0)
            if not last or len(last) == SHARD or (len(last) + 1) * most * each > ROOM:
                found.append([])
            found[-1].append(i)
        return found

    def compute(self, rows: list[int], work: Work) -> TokenShard:
        plan, loaded = self.plan, work.models.get(self.needs)
        some = [plan.marked[i] for i in rows]
        places = [plan.table.place[plan.table.first[i] : plan.table.first[i + 1]] for i in rows]
        table = np.full((len(rows), max(1, *map(len, places)), 2), -1, dtype=np.int64)
        for i, (m, own) in enumerate(zip(some, places, strict=True)):
            table[i, : len(own)] = (own + len(m.prompt_ids))[:, None]
        n_layers = plan.handle.identity.n_layers
        sites = plan_sites(loaded.base, n_layers, (SITE,), plan.layers)
        extractor = Extractor(loaded, sites, plan.dtype, plan.batching, work.budget())
        scorer = Scorer(Head(loaded), [(m.prompt_ids, m.answer_ids) for m in some])
        names = [f"token {k}" for k in range(table.shape[1])]
        read = extractor([m.ids for m in some], table, names, scorer)[SITE]
        values = np.concatenate([read[:, : len(p), i] for i, p in enumerate(places)], axis=1)
        said = [
            np.stack([s.logprobs[p], s.entropies[p]])
            for s, p in zip(scorer.scores(), places, strict=True)
        ]
        return TokenShard(values, np.concatenate(said, axis=1).astype(np.float32))

    def pack(self, found: TokenShard, rows: list[int]) -> bytes:
        from safetensors.numpy import save

        return bytes(save({"values": np.ascontiguousarray(found.values), "scores": found.scores}))

    def unpack(self, content: bytes) -> TokenShard:
        from safetensors.numpy import load

        return TokenShard(**load(content))


@dataclass(frozen=True, slots=True, eq=False)
class TokenVectors:
    """What was read, a layer at a time."""

    done: Finished[TokenShard]
    order: NDArray[np.int64]
    """(token,) where each token of the table stands in the shards."""

    @classmethod
    def of(cls, plan: SpanPlan, done: Finished[TokenShard]) -> TokenVectors:
        """Those of a plan, whose shards are all there."""
        first = plan.table.first
        held = [np.arange(first[i], first[i + 1]) for rows in done.shards for i in rows]
        return cls(done, np.argsort(np.concatenate(held)))

    def layer(self, k: int) -> NDArray[np.float32]:
        """(token, width) vectors of the layer that stands at `k`, read alone from each shard."""
        parts = [Shard(path).raw("values", k) for path in self.done.files]
        return np.asarray(widened(np.concatenate(parts))[self.order], dtype=np.float32)

    def scores(self) -> NDArray[np.float64]:
        """(2, token) log-probability and entropy of each token."""
        parts = [Shard(path).raw("scores") for path in self.done.files]
        return np.concatenate(parts, axis=1)[:, self.order].astype(np.float64)
