"""Token sequences: what a model is given, and what it writes with the scores of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Ids = tuple[int, ...]
"""Token ids."""


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """Tokens written, perhaps with some after the end."""

    ids: list[int]
    scores: NDArray[Any]
    """(log-probability | logit | entropy, token)."""


def shared(sequences: Sequence[Ids]) -> Ids:
    """The longest beginning of all of some sequences that leaves each at least one token."""
    first, last = min(sequences), max(sequences)
    most = min(map(len, sequences)) - 1
    end = next((i for i in range(most) if first[i] != last[i]), most)
    return first[:end]
