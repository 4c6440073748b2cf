"""Every token of the answers in a few layers, as a stage: its shards are bounded, and it is deleted
once what reads it is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from probebench.files import content_key
from probebench.models.blocks.sites import plan_sites
from probebench.models.handles import ModelHandle
from probebench.stages.engine import Work
from probebench.stages.plan import Plan
from probebench.stages.stage import Finished, Stage
from probebench.states.extract import Extractor, site_layouts
from probebench.states.looks import Written
from probebench.states.shards import Shard, host_dtype, read_states_bytes, states_bytes

if TYPE_CHECKING:
    from torch import nn

SITE = "resid"
SPREAD = 4
"""Layers that are kept, spread over the depth, beside the one of the selected cell."""
LONGEST = 256
"""Tokens of an answer that are kept at most: its last ones."""
SHARD_TOKENS = 8192
"""Of the answers of one shard, counted as if all were as long as its longest."""


def kept_layers(n_layers: int, selected: int) -> tuple[int, ...]:
    """The layers of which all tokens are kept: at each quarter of the depth, and the selected one
    where it is a block."""
    quarters = {round((k + 1) * n_layers / SPREAD) - 1 for k in range(SPREAD)}
    return tuple(sorted({k for k in quarters | {selected} if k >= 0}))


def layers_there(model: nn.Module, n_layers: int, layers: Sequence[int]) -> tuple[int, ...]:
    """Those of some layers that a model has vectors of: some pass over some of their blocks."""
    return site_layouts(plan_sites(model, n_layers, (SITE,), layers))[SITE].layers


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Vectors of examples with different numbers of tokens."""

    values: NDArray[Any]
    """(token, width) of one example after the other; uint16 holds the bits of bfloat16."""
    ends: NDArray[np.int64]
    """(example,) one past its last token."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(example,) tokens."""
        return np.diff(self.ends, prepend=0)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.values.shape[1])


@dataclass(frozen=True, eq=False)
class Tokens(Stage[NDArray[Any]]):
    """The residual stream after some blocks, at the answers' tokens. A shard is (layer, token,
    width), the tokens of one answer after the other."""

    plan: Plan
    sequences: Sequence[Written]
    layers: tuple[int, ...]
    name: ClassVar[str] = "tokens"
    title: ClassVar[str] = "Reading all tokens"
    suffix: ClassVar[str] = "safetensors"
    budget_name: ClassVar[str] = "tokens"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        places = [(s.ids, s.n_prompt, s.end) for s in self.sequences]
        return {
            "answers": self.plan.answer_inputs,
            "content": content_key({"sequences": places, "longest": LONGEST}),
            "layers": self.layers,
            "dtype": self.plan.reading.dtype,
            "batching": self.plan.reading.batching,
        }

    @property
    def lengths(self) -> list[int]:
        return [len(s.ids) for s in self.sequences]

    @property
    def needs(self) -> ModelHandle:
        return self.plan.handle

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(answer,) tokens that are kept."""
        n = np.array([s.end - s.n_prompt for s in self.sequences], dtype=np.int64)
        return np.minimum(n, LONGEST)

    def shards(self) -> list[list[int]]:
        """Answers of similar length, up to `SHARD_TOKENS`: what is held at once is bounded."""
        found: list[list[int]] = []
        for i in sorted(range(len(self.sizes)), key=lambda i: (-self.sizes[i], i)):
            if not found or (len(found[-1]) + 1) * self.sizes[found[-1][0]] > SHARD_TOKENS:
                found.append([])
            found[-1].append(i)
        return found

    def compute(self, rows: list[int], work: Work) -> NDArray[Any]:
        loaded, r = work.models.get(self.needs), self.plan.reading
        n_layers = self.plan.handle.identity.n_layers
        sites = plan_sites(loaded.base, n_layers, (SITE,), self.layers)
        read = Extractor(loaded, sites, r.dtype, r.batching, work.budget())
        place, there = np.arange(self.sizes[rows].max()), self.sizes[rows][:, None]
        ends = np.array([self.sequences[i].end for i in rows])[:, None]
        at = np.where(place < there, ends - there + place, -1)
        table = np.repeat(at[..., None], 2, axis=2)
        names = [f"answer token {k}" for k in place]
        values = read([self.sequences[i].ids for i in rows], table, names)[SITE]
        return values.transpose(0, 2, 1, 3)[:, at >= 0]

    def pack(self, found: NDArray[Any], rows: list[int]) -> bytes:
        return states_bytes({SITE: found[:, None]}, np.repeat(rows, self.sizes[rows]).tolist())

    def unpack(self, content: bytes) -> NDArray[Any]:
        return read_states_bytes(content)[SITE][:, 0]

    def layer(self, done: Finished[NDArray[Any]], layer: int) -> Ragged:
        """All answers' tokens of one layer, read from the disk shard by shard."""
        k, ends = self.layers.index(layer), np.cumsum(self.sizes)
        width = Shard(done.files[0]).shape(SITE)[-1]
        values = np.empty((int(ends[-1]), width), dtype=host_dtype(self.plan.reading.dtype))
        for file, rows in zip(done.files, done.shards, strict=True):
            part, first = Shard(file).raw(SITE, k, 0), 0
            for i in rows:
                n = int(self.sizes[i])
                values[ends[i] - n : ends[i]] = part[first : first + n]
                first += n
        return Ragged(values, ends)
