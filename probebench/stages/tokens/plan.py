"""The plan of a run whose labels are inside answers: which tokens are read, and what each is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.files import content_key
from probebench.models.handles import ModelHandle
from probebench.probes.kinds import Probe
from probebench.tasks.labelled.tokens import MarkedTokens
from probebench.tasks.schema import Task
from probebench.types import Example, SplitName

OTHERS = 32
"""Tokens outside all spans that are read of an answer, at most."""
SHOWN = 24
"""Test answers of which every token is read, so that they can be painted."""
NEITHER = -1
"""The label of a token that goes into no figure."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenTable:
    """The tokens that are read, answer by answer, in their order."""

    answer: NDArray[np.int64]
    """(token,) which answer each is of."""
    place: NDArray[np.int64]
    """(token,) its place in the answer, from 0."""
    y: NDArray[np.int64]
    """(token,) 1 = right, 0 = wrong, `NEITHER`."""
    first: NDArray[np.int64]
    """(answer + 1,) where the tokens of each answer begin in this table."""

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(token,) does it go into figures?"""
        return np.asarray(self.y != NEITHER)

    def of_span(self, i: int, first: int, last: int) -> slice:
        """Rows of the tokens of a span of answer `i`, all of which are read."""
        begin = int(self.first[i])
        places = self.place[begin : self.first[i + 1]]
        low, high = np.searchsorted(places, [first, last + 1])
        return slice(begin + int(low), begin + int(high))


@dataclass(frozen=True, eq=False)
class SpanPlan:
    """What one run at tokens will do."""

    folder: Path
    task: Task
    handle: ModelHandle
    examples: Sequence[Example]
    marked: Sequence[MarkedTokens]
    splits: tuple[SplitName, ...]
    """(answer,)."""
    layers: tuple[int, ...]
    dtype: str
    batching: str
    probe: Probe
    device: str | None
    seed: int
    facts: Mapping[str, Any]
    """Origin, revision, content hash, and how many rows were left out."""
    fitting: Sequence[Any]
    """Everything that decides the fits, for content keys."""
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    """What a reader must know of the model and of how the answers were read."""

    @cached_property
    def shown(self) -> frozenset[int]:
        """Answers that are painted: test answers with a labelled span, by the hash of their
        ids."""
        some = [i for i, s in enumerate(self.splits) if s == "test" and self.marked[i].spans]
        return frozenset(sorted(some, key=lambda i: _hash(self.examples[i].id))[:SHOWN])

    @cached_property
    def table(self) -> TokenTable:
        """Every token of a labelled span; of the others a sample of each answer, drawn by its id;
        of painted answers all."""
        assert self.task.spans is not None  # of every task of this kind
        right = self.task.spans.others == "right"
        answer, place, y, first = [], [], [], [0]
        for i, (example, m) in enumerate(zip(self.examples, self.marked, strict=True)):
            labels = m.labels
            outside = [k for k, label in enumerate(labels) if label is None]
            rng = np.random.default_rng([self.seed, _hash(example.id)])
            drawn = rng.permutation(outside)[:OTHERS]
            sampled = set(drawn.tolist())
            for k, label in enumerate(labels):
                if label is None and k not in sampled and i not in self.shown:
                    continue
                other = 1 if right and k in sampled else NEITHER
                answer.append(i)
                place.append(k)
                y.append(other if label is None else label)
            first.append(len(place))
        return TokenTable(*(np.array(x, dtype=np.int64) for x in (answer, place, y, first)))

    @cached_property
    def reading(self) -> Mapping[str, Any]:
        """Everything that decides the vectors."""
        return {
            "model": self.handle.identity.key(),
            "ids": content_key({"of": [(m.prompt_ids, m.answer_ids) for m in self.marked]}),
            "tokens": content_key(
                {"answer": self.table.answer.tolist(), "place": self.table.place.tolist()}
            ),
            "layers": self.layers,
            "dtype": self.dtype,
            "batching": self.batching,
            "versions": self.versions,
        }

    @cached_property
    def key(self) -> str:
        """Content key of the run."""
        own = {
            "task": self.task.hash,
            "data": self.facts["sha256"],
            "y": self.table.y.tolist(),
            "splits": self.splits,
            "probe": self.fitting,
            "seed": self.seed,
        }
        return content_key({**self.reading, **own})

    @property
    def token_splits(self) -> tuple[SplitName, ...]:
        """(token,) the split of each."""
        return tuple(self.splits[i] for i in self.table.answer)

    @property
    def token_groups(self) -> tuple[str, ...]:
        """(token,) the group of each: that of its answer."""
        return tuple(self.examples[i].group for i in self.table.answer)

    @property
    def n_bytes(self) -> int:
        """What the stored vectors take."""
        size = 4 if self.dtype == "float32" else 2
        return len(self.table.y) * len(self.layers) * self.handle.identity.width * size


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
