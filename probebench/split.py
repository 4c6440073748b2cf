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


def split_of(group: str, seed: int = 0) -> SplitName:
    """Split of a group: its hash as a uniform number, cut at 0.6 and 0.8."""
    digest = hashlib.sha256(f"probebench/split/{seed}/{group}".encode()).digest()
    place, edge = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for name, share in SHARES[:-1]:
        edge += share
        if place < edge:
            return name
    return SHARES[-1][0]
