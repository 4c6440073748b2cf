"""Train, validation and test by group: nothing seen in training, nor its twin, is in test."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from probebench.errors import BadFileError
from probebench.types import Example, SplitName

FOLDS = 5
"""Folds of cross-fitting: one is test, the next validation, three are train, as in one split."""
SHARES: tuple[tuple[SplitName, float], ...] = (("train", 0.6), ("validation", 0.2), ("test", 0.2))


def split_examples(examples: Sequence[Example], seed: int = 0) -> list[SplitName]:
    """The split of each example: the official one where it is given, else by a hash of the group.

    A group keeps its place whatever other examples the run holds.
    """
    return [e.split if e.split is not None else split_of(e.group, seed) for e in examples]


def split_again(examples: Sequence[Example], seed: int) -> list[SplitName]:
    """Another split by the same rule, as a run of that seed has it.

    Where a split is given its test examples stay what they are, and the groups of the others are
    shared out anew.
    """
    return [
        split_of(e.group, seed)
        if e.split is None
        else "test"
        if e.split == "test"
        else official_split(e.group, seed)
        for e in examples
    ]


def official_split(group: str, seed: int | None = None) -> SplitName:
    """Where a group of an official train split goes: a quarter of the groups to validation, for
    60/20 of the whole. A seed gives another quarter."""
    salt = "official" if seed is None else f"official/{seed}"
    return "validation" if _place(group, salt) < 0.25 else "train"


def file_splits(name: str, examples: Sequence[Example]) -> list[Example]:
    """Examples in a file's own splits, if it has any; what it lacks is taken from what it has.

    Without a test split the file's validation split is what is reported, and a quarter of the
    groups of train chooses; without a validation split such a quarter chooses too.

    Raises:
        BadFileError: a split for some rows only, or a group in two of them.
    """
    splits = {e.split for e in examples}
    if None in splits and len(splits) > 1:
        raise BadFileError(
            f"{name}: some rows have a 'split' and some have none; give it for all rows or for "
            "none."
        )
    sides: dict[str, str | None] = {}
    for e in examples:
        if sides.setdefault(e.group, e.split) != e.split:
            raise BadFileError(
                f"{name}: the group {e.group!r} stands in {sides[e.group]} and in {e.split}. Rows "
                "of one group must be in one split; say which rows belong together with 'group'."
            )
    if splits not in ({"train", "validation"}, {"train", "test"}):
        return list(examples)
    return [
        replace(e, split=official_split(e.group) if e.split == "train" else "test")
        for e in examples
    ]


def split_folds(groups: Sequence[str], seed: int = 0) -> list[int]:
    """The fold of each example: groups in the order of their hashes, each to the fold that has the
    fewest examples so far."""
    sizes, folds = Counter(groups), dict[str, int]()
    held = [0] * FOLDS
    for group in sorted(sizes, key=lambda g: _place(g, f"folds/{seed}")):
        folds[group] = held.index(min(held))
        held[folds[group]] += sizes[group]
    return [folds[group] for group in groups]


def split_by_fold(folds: Sequence[int], k: int) -> list[SplitName]:
    """The split of each example when fold `k` is tested: the next fold is validation, the others
    are train."""
    names: dict[int, SplitName] = {k: "test", (k + 1) % FOLDS: "validation"}
    return [names.get(fold, "train") for fold in folds]


def split_of(group: str, seed: int = 0) -> SplitName:
    """Split of a group: its hash as a uniform number, cut at 0.6 and 0.8."""
    place, edge = _place(group, str(seed)), 0.0
    for name, share in SHARES[:-1]:
        edge += share
        if place < edge:
            return name
    return SHARES[-1][0]


def _place(group: str, salt: str) -> float:
    """The hash of a group as a uniform number."""
    digest = hashlib.sha256(f"probebench/split/{salt}/{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
