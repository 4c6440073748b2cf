"""The same examples in two finished runs, and groups that hold for both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.tasks.sources import normalise

Ints = NDArray[np.int64]


def matched(a: pd.DataFrame, b: pd.DataFrame) -> tuple[Ints, NDArray[np.bool_]]:
    """(pair, 2) rows of the same example in two runs, and (pair,) whether it was found by its
    question.

    An example is the same when its id and its question are. Ids may hold a hash of label, group or
    answer and so differ between two versions of a task or two models; what is left is matched by
    the question where it stands once in each.
    """
    texts = [[normalise(question) for question in table.question] for table in (a, b)]
    place = {key: j for j, key in enumerate(zip(map(str, b.id), texts[1], strict=True))}
    by_id = [
        (i, place[key])
        for i, key in enumerate(zip(map(str, a.id), texts[0], strict=True))
        if key in place
    ]
    taken = [set(rows) for rows in zip(*by_id, strict=True)] if by_id else [set(), set()]
    free: list[dict[str, int | None]] = [{}, {}]
    for side in (0, 1):
        for i, text in enumerate(texts[side]):
            if i not in taken[side]:
                free[side][text] = None if text in free[side] else i
    by_text = [
        (i, j)
        for text, i in free[0].items()
        if i is not None and (j := free[1].get(text)) is not None
    ]
    pairs = np.array([*by_id, *by_text], dtype=np.int64).reshape(-1, 2)
    found = np.arange(len(pairs)) >= len(by_id)
    order = np.argsort(pairs[:, 0], kind="stable")
    return pairs[order], found[order]


def joined_groups(a: Sequence[str], b: Sequence[str]) -> list[str]:
    """(example,) the finest grouping that holds together what either of two groupings does."""
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def root(node: tuple[int, str]) -> tuple[int, str]:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for x, y in zip(a, b, strict=True):
        parent[root((1, y))] = root((0, x))
    return [root((0, x))[1] for x in a]
