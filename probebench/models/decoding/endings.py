"""A model's output at the end of many sequences; what some of them begin with is read once.

Sequences are walked as a tree: a beginning that several share is a row of a cache, which is copied
for each of them. Two wordings of one question share nearly all of it, and all questions share a
template.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch

from probebench.models.decoding.replies import Ids, shared
from probebench.models.decoding.rows import Rows
from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import Budget
from probebench.models.passes.head import Head
from probebench.models.passes.scored import pad_right

WORTH = 8
"""Tokens saved from which on a shared beginning is read by itself."""
T = TypeVar("T")
Part = tuple[int, Ids]
"""A sequence, by its number, and what of it is still to be read."""


class _Read(NamedTuple):
    rows: Rows
    states: torch.Tensor
    """(row, width) the output at the last token of each."""


class Endings:
    """Reads sequences to their ends.

    Args:
        loaded: the model.
        sequences: token ids, at least one each.
        budget: what may be in memory at once. It is told how many examples have been read.
        each: sequences of one example, on average.
    """

    def __init__(
        self, loaded: LoadedModel, sequences: Sequence[Ids], budget: Budget, each: float = 1.0
    ) -> None:
        self.loaded, self.sequences, self.budget, self.each = loaded, sequences, budget, each
        self.found: dict[int, torch.Tensor] = {}
        self.at_once: list[int] = []
        """Sequences that were last in memory together."""

    def run(self) -> torch.Tensor:
        """(sequence, width) the output, before the vocabulary projection, at the last token of
        each."""
        parts = list(enumerate(self.sequences))
        with torch.inference_mode():
            if Rows.can(self.loaded) and not Rows(self.loaded).runs_on:
                self._walk(None, [(0, parts)])
            else:
                self._whole()
        return torch.stack([self.found[i] for i in range(len(parts))])

    def _walk(self, rows: Rows | None, groups: Sequence[tuple[int, list[Part]]]) -> None:
        """Read on from some rows: what continues each of them, as groups that share a beginning."""
        ends, stems = _fork(groups)
        for some in self._batches(rows, ends, [len(ids) for _, (_, ids) in ends]):
            self.at_once = [i for _, (i, _) in some]
            own = self._read(rows, [row for row, _ in some], [ids for _, (_, ids) in some])
            self._keep(self.at_once, own.states)
        for begun in self._batches(rows, stems, [len(stem) for _, stem, _ in stems]):
            self.at_once = [parts[0][0] for _, _, parts in begun]
            own = self._read(rows, [row for row, _, _ in begun], [stem for _, stem, _ in begun])
            level = own.rows.copy(range(len(begun)), 0)
            del own  # before the next level is in memory
            self._walk(level, [(k, parts) for k, (_, _, parts) in enumerate(begun)])

    def _read(self, rows: Rows | None, picks: Sequence[int], new: Sequence[Ids]) -> _Read:
        """New tokens behind copies of some rows."""
        own = Rows(self.loaded) if rows is None else rows.copy(picks, max(map(len, new)))
        return _Read(own, own.extend(new))

    def _batches(
        self, rows: Rows | None, items: Sequence[T], lengths: Sequence[int]
    ) -> Iterator[list[T]]:
        """Items of similar length that are in memory together, with what comes before them."""
        before = 0 if rows is None else rows.width
        for batch in self.budget.plan([before + n for n in lengths]):
            yield [items[k] for k in batch]

    def _whole(self) -> None:
        """Read every sequence from its beginning: states that ran on cannot be shared."""
        for batch in self.budget.plan([len(ids) for ids in self.sequences]):
            self.at_once = batch
            ids, mask = pad_right([self.sequences[i] for i in batch])
            device = self.loaded.device
            states = Head(self.loaded).states(ids.to(device), mask.to(device))
            last = mask.sum(1).to(states.device) - 1
            self._keep(batch, states[torch.arange(len(batch)), last])

    def _keep(self, which: Sequence[int], states: torch.Tensor) -> None:
        self.found.update(zip(which, states, strict=True))
        self.budget.reached(int(len(self.found) / self.each))


class _Fork(NamedTuple):
    ends: list[tuple[int, Part]]
    """Of a row, what ends without sharing anything more."""
    stems: list[tuple[int, Ids, list[Part]]]
    """Of a row, a beginning and what continues it."""


def _fork(groups: Sequence[tuple[int, list[Part]]]) -> _Fork:
    """What is read next, of each row and its group."""
    found, waiting = _Fork([], []), [*groups]
    while waiting:
        row, parts = waiting.pop()
        stem = shared([ids for _, ids in parts])
        if len(parts) == 1:
            found.ends.append((row, parts[0]))
        elif len(stem) * (len(parts) - 1) >= WORTH:
            found.stems.append((row, stem, [(i, ids[len(stem) :]) for i, ids in parts]))
        else:
            waiting += [(row, some) for some in _split(parts, len(stem))]
    return found


def read_tokens(sequences: Sequence[Ids]) -> int:
    """Tokens that reading these to their ends takes."""
    waiting, n = [(0, list(enumerate(sequences)))] if sequences else [], 0
    while waiting:
        ends, stems = _fork(waiting)
        n += sum(len(ids) for _, (_, ids) in ends) + sum(len(stem) for _, stem, _ in stems)
        waiting = [(row, parts) for row, _, parts in stems]
    return n


def _split(parts: Sequence[Part], at: int) -> list[list[Part]]:
    """Parts by their token at this place; those that end there stand alone."""
    groups: dict[tuple[int, int], list[Part]] = {}
    for i, ids in parts:
        ends = len(ids) == at + 1
        groups.setdefault((ids[at], i if ends else -1), []).append((i, ids))
    return list(groups.values())
