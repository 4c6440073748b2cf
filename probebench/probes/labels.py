"""The labels of a run: what every cell is fitted to, how they are shuffled, and when they are too
few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probebench.types import SPLITS, SplitName

MIN_CLASS = 20
"""Examples of each class that a cell needs in all; and at least one in every split."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What every cell is fitted to."""

    y: NDArray[np.int64]
    """(example,) 1 = correct."""
    splits: tuple[SplitName, ...]
    """(example,)."""
    groups: tuple[str, ...] = ()
    """(example,) group of each example; empty when every example is a group of its own."""

    @property
    def every(self) -> NDArray[np.int64]:
        """Index of every example."""
        return np.arange(len(self.y), dtype=np.int64)

    def group_names(self, rows: NDArray[np.int64]) -> list[str]:
        """Group of each of these examples; its own number where every example is a group of its
        own."""
        return [str(self.groups[i] if self.groups else i) for i in rows]

    def rows(self, places: NDArray[np.int64]) -> dict[SplitName, NDArray[np.int64]]:
        """Of each split, where its examples stand among those at `places`."""
        there = np.isin(np.arange(len(self.y)), places)
        return {
            name: np.searchsorted(places, at[there[at]])
            for name, at in split_index(self.splits).items()
        }

    def shuffled(
        self, n: int, seed: int, places: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """(shuffle, place) labels of the examples at `places` (None: all), permuted so that they
        say nothing of the states.

        They move inside each split, and among these examples only: whether a token exists may go
        with the label, and labels from elsewhere would change the balance of classes. Groups of one
        size exchange their labels as blocks, then each group's labels are permuted inside it:
        answers of one group stay as alike, or as balanced, as they are. The order comes from random
        keys of groups and examples, the same for every cell, so that cells with the same tokens are
        permuted alike and others as nearly as can be.
        """
        places = np.arange(len(self.y)) if places is None else places
        names, group = np.unique(
            np.asarray(self.groups or np.arange(len(self.y))), return_inverse=True
        )
        size = len(names) + len(self.y)
        # a generator for each, so that the first shuffles do not depend on how many follow
        keys = np.stack(
            [np.random.default_rng([seed, k]).random(size, dtype=np.float32) for k in range(n)]
        )
        of_group, of_example = keys[:, : len(names)], keys[:, len(names) :]
        y, out = self.y[places], np.tile(self.y[places], (n, 1))
        for rows in self.rows(places).values():
            for blocks in _blocks(group[places], rows):
                # (shuffle, group)
                order = np.argsort(of_group[:, group[places[blocks[:, 0]]]], axis=1)
                moved = y[blocks][order]  # (shuffle, group, member)
                if blocks.shape[1] > 1:
                    moved = np.take_along_axis(
                        moved, np.argsort(of_example[:, places[blocks]], axis=2), axis=2
                    )
                out[:, blocks] = moved
        return out

    def share_by_size(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """(place,) what shuffled labels keep: the share of correct train examples in groups of the
        size that each one's has among those at `places` in its split; of all, where train has no
        group of that size."""
        group = np.unique(np.asarray(self.group_names(places)), return_inverse=True)[1]
        size, y = np.zeros(len(places), dtype=np.int64), self.y[places]
        rows = self.rows(places)
        for at in rows.values():
            size[at] = np.bincount(group[at], minlength=len(places))[group[at]]
        train = rows["train"]
        n = np.bincount(size[train], minlength=size.max(initial=0) + 1)
        correct = np.bincount(size[train], y[train], minlength=len(n))
        return np.where(n > 0, correct / np.maximum(n, 1), y[train].mean())[size]


def _blocks(group: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """(group, member) rows of the groups of each size."""
    _, own, sizes = np.unique(group[rows], return_inverse=True, return_counts=True)
    for size in np.unique(sizes):
        members = np.flatnonzero(sizes[own] == size)
        yield rows[members[np.argsort(own[members], kind="stable")]].reshape(-1, size)


def why_masked(labels: Labels, there: NDArray[np.bool_]) -> str:
    """Why a cell cannot have a probe: counts of classes among the examples that have its token;
    empty when it can."""
    for value, name in ((1, "correct"), (0, "wrong")):
        n = int(((labels.y == value) & there).sum())
        if n < MIN_CLASS:
            return f"{n} {name} answers have this token; at least {MIN_CLASS} are needed"
    for split, rows in split_index(labels.splits).items():
        if len(np.unique(labels.y[rows][there[rows]])) < 2:
            return f"one class only in {split}"
    return ""


def why_no_probe(X: NDArray[np.float32], there: NDArray[np.bool_], labels: Labels) -> str:
    """Why a cell of (example, width) vectors cannot have a probe; empty when it can."""
    if reason := why_masked(labels, there):
        return reason
    return "" if np.isfinite(X[there]).all() else "vectors that are not finite"


def split_index(splits: Sequence[SplitName]) -> dict[SplitName, NDArray[np.int64]]:
    """Example indices of each split."""
    names = np.asarray(splits)
    return {name: np.flatnonzero(names == name) for name in SPLITS}
