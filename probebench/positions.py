"""Named token positions: where in prompt + answer a hidden state is read.

A position is a function from a `TokenizedAnswer` to an index into the sequence, or None where the example has no such
token. A missing position is never replaced by another one. To add a position, write one function.

Names, order and meaning of the first fifteen follow Orgad et al., "LLMs Know More Than They Show" (ICLR 2025,
arXiv:2410.02707).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from probebench.errors import UnknownNameError, UsageError
from probebench.types import TokenizedAnswer

Rule = Callable[[TokenizedAnswer], int | None]
POSITIONS: dict[str, Rule] = {}
ALIASES = {"end_question": "last_q", "last_token": "-1"}


def position(rule: Rule) -> Rule:
    """Register a position under its function's name."""
    POSITIONS[rule.__name__] = rule
    return rule


@position
def last_q(answer: TokenizedAnswer) -> int | None:
    """Last prompt token, after the generation prompt of a chat template."""
    return answer.n_prompt - 1 if answer.n_prompt else None


@position
def first_answer(answer: TokenizedAnswer) -> int | None:
    """First generated token."""
    return answer.n_prompt if answer.n_total > answer.n_prompt else None


@position
def second_answer(answer: TokenizedAnswer) -> int | None:
    """Second generated token."""
    return answer.n_prompt + 1 if answer.n_total > answer.n_prompt + 1 else None


@position
def exact_answer_before_first(answer: TokenizedAnswer) -> int | None:
    """Token before the exact answer; the last prompt token when the answer begins with it."""
    return answer.exact[0] - 1 if answer.exact and answer.exact[0] > 0 else None


@position
def exact_answer_first(answer: TokenizedAnswer) -> int | None:
    """First token of the exact answer."""
    return answer.exact[0] if answer.exact else None


@position
def exact_answer_last(answer: TokenizedAnswer) -> int | None:
    """Last token of the exact answer."""
    return answer.exact[1] if answer.exact else None


@position
def exact_answer_after_last(answer: TokenizedAnswer) -> int | None:
    """Token after the exact answer."""
    return answer.exact[1] + 1 if answer.exact and answer.exact[1] + 1 < answer.n_total else None


def _from_end(k: int) -> Rule:
    def rule(answer: TokenizedAnswer) -> int | None:
        return answer.n_total - k if answer.n_total >= k else None

    rule.__name__ = f"-{k}"
    rule.__doc__ = f"Token {k} from the end of the sequence, the stop token included."
    return rule


for _k in range(8, 0, -1):
    position(_from_end(_k))

PUBLISHED: tuple[str, ...] = tuple(POSITIONS)
"""The fifteen columns of the published heatmap, in its order."""


@position
def statement_last(answer: TokenizedAnswer) -> int | None:
    """Last token of a given statement; an encoder's closing special token comes after it."""
    return answer.statement_last


STATEMENTS: tuple[str, ...] = (*(f"-{k}" for k in range(8, 0, -1)), "statement_last")
"""The columns of statement tasks, where nothing is generated."""


def resolve_positions(names: Sequence[str] | None, default: tuple[str, ...] = PUBLISHED) -> tuple[str, ...]:
    """Names in map order, aliases replaced; None means `default`.

    Raises:
        UnknownNameError: a name that is no position, with the nearest one.
        UsageError: no name at all.
    """
    if names is None:
        return default
    wanted = set()
    for name in names:
        name = ALIASES.get(name, name)
        if name not in POSITIONS:
            raise UnknownNameError("position", name, [*POSITIONS, *ALIASES])
        wanted.add(name)
    if not wanted:
        raise UsageError("No position given. Name at least one, for example --positions exact_answer_last,-1.")
    return tuple(name for name in POSITIONS if name in wanted)


def locate(answers: Sequence[TokenizedAnswer], positions: Sequence[str]) -> NDArray[np.int64]:
    """Index of each position in each sequence.

    Returns:
        (example, position) indices into prompt + answer; -1 only where the position is absent (see `present`).
    """
    table = np.full((len(answers), len(positions)), -1, dtype=np.int64)
    for j, name in enumerate(positions):
        rule = POSITIONS[name]
        for i, answer in enumerate(answers):
            index = rule(answer)
            if index is not None:
                table[i, j] = index
    return table


def present(table: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(example, position) mask of a table made by `locate`."""
    return table >= 0
