"""Train, validation and test by group: nothing seen in training, nor its twin, is in test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from probebench.types import Example, SplitName

SHARES: tuple[tuple[SplitName, float], ...] = (("train", 0.6), ("validation", 0.2), ("test", 0.2))


def split_examples(examples: Sequence[Example], seed: int = 0) -> list[SplitName]:
    """The split of each example: the official one where it is given, else by a hash of the group.

    A group keeps its place whatever other examples the run holds.
    """
    return [e.split if e.split is not None else split_of(e.group, seed) for e in examples]


def official_split(group: str) -> SplitName:
    """Where a group of an official train split goes: a quarter of the groups to validation, for
    60/20 of the whole."""
    return "validation" if _place(group, "official") < 0.25 else "train"


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
