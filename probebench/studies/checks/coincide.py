"""Columns of the map that are one token: with short answers several names mean the same place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.record.tables import SAME
from probebench.states.positions import locate
from probebench.studies.registry import Concern, Scored, concern, study

NEARLY = 0.5
"""Part of the answers from which on two columns are listed as one token."""


@study("coincidences")
def _coincidences(run: Scored) -> dict[str, Any]:
    positions = run.data.plan.reading.positions
    return coincidences(locate([a.tokens for a in run.data.answers], positions), positions)


def coincidences(table: NDArray[np.int64], positions: Sequence[str]) -> dict[str, Any]:
    """How often columns are the same token.

    Args:
        table: (example, position, 2) first and last token of each, -1 where absent.
        positions: names of the columns.

    Returns:
        The mean number of different tokens among the columns of an answer, and of each column the
        earlier one that it most often coincides with, as a share of the answers that have either.
    """
    there = table[:, :, 0] >= 0
    different = [
        len({tuple(at) for at in row[has].tolist()}) for row, has in zip(table, there, strict=True)
    ]
    same = []
    for j, name in enumerate(positions):
        shares = [_share(table, there, i, j) for i in range(j)]
        if shares and max(shares) >= NEARLY:
            i = int(np.argmax(shares))
            same.append({"position": name, "same_as": positions[i], "share": shares[i]})
    return {
        "columns": len(positions),
        "tokens_per_answer": float(np.mean(different)) if different else float("nan"),
        "same": same,
    }


def _share(table: NDArray[np.int64], there: NDArray[np.bool_], i: int, j: int) -> float:
    either, both = there[:, i] | there[:, j], there[:, i] & there[:, j]
    equal = both & (table[:, i] == table[:, j]).all(axis=1)
    return float(equal.sum() / either.sum()) if either.any() else 0.0


@concern
def _one_token(run: Concern) -> Iterator[str]:
    """Columns that are one token in nearly all answers."""
    found = run.record.coincidences
    marked = [s for s in found.same if s.share >= SAME] if found else []
    if found and marked:
        names = ", ".join(f"{s.position} = {s.same_as} ({s.share:.0%})" for s in marked)
        yield (
            f"{len(marked)} of {found.columns} columns are, in at least {SAME:.0%} of the "
            f"answers, the same token as an earlier one: {names}. An answer has "
            f"{found.tokens_per_answer:.1f} different tokens among them."
        )
