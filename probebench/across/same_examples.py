"""The same examples in two finished runs, and groups that hold for both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.tasks.examples import normalise

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
    """(example,) the finest grouping that holds together what either of two groupings does, each
    group under the name that `a` first has for it."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, first = np.unique(a, return_inverse=True)
    others, second = np.unique(b, return_inverse=True)
    n = len(names) + len(others)
    edges = coo_array((np.ones(len(first)), (first, len(names) + second)), shape=(n, n))
    _, part = connected_components(edges, directed=False)
    _, at = np.unique(part[: len(names)], return_index=True)
    return [str(name) for name in names[at[part[first]]]]
