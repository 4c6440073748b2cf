"""Named token positions: where in prompt + answer a hidden state is read.

A position is a function from a `TokenizedAnswer` to an index into the sequence, or to the first and
last of a stretch of tokens whose mean is read, or None where the example has no such token. A
missing position is never replaced by another one. To add a position, write one function.

Names, order and meaning of the first fifteen follow Orgad et al., "LLMs Know More Than They Show"
(ICLR 2025, arXiv:2410.02707). The others are columns after them and never change them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from probebench.errors import UnknownNameError, UsageError
from probebench.types import TokenizedAnswer

Rule = Callable[[TokenizedAnswer], int | tuple[int, int] | None]
When = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Position:
    """A named token place."""

    name: str
    rule: Rule
    """Index, or first and last index of a stretch whose mean is read, or None."""
    when: When
    """Readable `before` the model answers, or only `after`."""

    @property
    def meaning(self) -> str:
        """The rule in words."""
        return (self.rule.__doc__ or "").strip()


POSITIONS: dict[str, Position] = {}
ALIASES = {"end_question": "last_q", "last_token": "-1"}
ALL = "all"


def position(when: When) -> Callable[[Rule], Rule]:
    """Register a position under its function's name."""

    def register(rule: Rule) -> Rule:
        POSITIONS[rule.__name__] = Position(rule.__name__, rule, when)
        return rule

    return register


@position("before")
def last_q(answer: TokenizedAnswer) -> int | None:
    """Last prompt token, after the generation prompt of a chat template."""
    return answer.n_prompt - 1 if answer.n_prompt else None


@position("after")
def first_answer(answer: TokenizedAnswer) -> int | None:
    """First generated token."""
    return answer.n_prompt if answer.n_total > answer.n_prompt else None


@position("after")
def second_answer(answer: TokenizedAnswer) -> int | None:
    """Second generated token."""
    return answer.n_prompt + 1 if answer.n_total > answer.n_prompt + 1 else None


@position("after")
def exact_answer_before_first(answer: TokenizedAnswer) -> int | None:
    """Token before the exact answer; the last prompt token when the answer begins with it."""
    return answer.exact[0] - 1 if answer.exact and answer.exact[0] > 0 else None


@position("after")
def exact_answer_first(answer: TokenizedAnswer) -> int | None:
    """First token of the exact answer."""
    return answer.exact[0] if answer.exact else None


@position("after")
def exact_answer_last(answer: TokenizedAnswer) -> int | None:
    """Last token of the exact answer."""
    return answer.exact[1] if answer.exact else None


@position("after")
def exact_answer_after_last(answer: TokenizedAnswer) -> int | None:
    """Token after the exact answer."""
    return answer.exact[1] + 1 if answer.exact and answer.exact[1] + 1 < answer.n_total else None


def _from_end(k: int) -> Rule:
    def rule(answer: TokenizedAnswer) -> int | None:
        return answer.n_total - k if answer.n_total - k >= answer.begin else None

    rule.__name__ = f"-{k}"
    rule.__doc__ = f"Token {k} from the end of the sequence, the stop token included."
    return rule


for _k in range(8, 0, -1):
    position("after")(_from_end(_k))

PUBLISHED: tuple[str, ...] = tuple(POSITIONS)
"""The fifteen columns of the published heatmap, in its order."""


@position("before")
def statement_last(answer: TokenizedAnswer) -> int | None:
    """Last token of a given statement; an encoder's closing special token comes after it."""
    return answer.statement_last


@position("before")
def prompt_mean(answer: TokenizedAnswer) -> tuple[int, int] | None:
    """Mean over the prompt's tokens."""
    return (0, answer.n_prompt - 1) if answer.n_prompt else None


@position("after")
def answer_mean(answer: TokenizedAnswer) -> tuple[int, int] | None:
    """Mean over the generated tokens, the stop token included."""
    return (answer.n_prompt, answer.n_total - 1) if answer.n_total > answer.n_prompt else None


@position("after")
def think_first(answer: TokenizedAnswer) -> int | None:
    """First token of the model's thinking, after the opening delimiter."""
    return answer.thinking.first if answer.thinking else None


def _through_thinking(percent: int) -> Rule:
    def rule(answer: TokenizedAnswer) -> int | None:
        t = answer.thinking
        if t is None or t.first is None or t.last is None:
            return None
        return t.first + (t.last - t.first) * percent // 100

    rule.__name__ = f"think_{percent}"
    rule.__doc__ = (
        f"{percent} % of the way from the first to the last token of thinking, rounded down."
    )
    return rule


for _percent in (25, 50, 75):
    position("after")(_through_thinking(_percent))


@position("after")
def think_last(answer: TokenizedAnswer) -> int | None:
    """Last token of thinking, before the closing delimiter; absent when the answer was cut off."""
    return answer.thinking.last if answer.thinking else None


@position("after")
def end_think(answer: TokenizedAnswer) -> int | None:
    """Last token of the closing delimiter of thinking."""
    return answer.thinking.end if answer.thinking else None


@position("after")
def final_first(answer: TokenizedAnswer) -> int | None:
    """First generated token after thinking, where the final answer begins."""
    return answer.thinking.final if answer.thinking else None


@position("after")
def stop(answer: TokenizedAnswer) -> int | None:
    """The stop token; absent when the answer was cut off."""
    return answer.stop


FURTHER: tuple[str, ...] = tuple(
    name for name in POSITIONS if name not in (*PUBLISHED, "statement_last")
)
"""Columns after the published fifteen, read when asked for."""
STATEMENTS: tuple[str, ...] = (*(f"-{k}" for k in range(8, 0, -1)), "statement_last")
"""The columns of statement tasks, where nothing is generated."""


def readable_when(position: str, *, given: bool) -> When:
    """Whether a position can be read before the answer. Given statements are there from the start:
    all of theirs can."""
    return "before" if given else POSITIONS[position].when


def resolve_positions(
    names: Sequence[str] | None, default: tuple[str, ...] = PUBLISHED
) -> tuple[str, ...]:
    """Names in map order, aliases replaced; None means `default`, `all` every column that can exist
    beside it.

    Raises:
        UnknownNameError: a name that is no position, with the nearest one.
        UsageError: no name at all.
    """
    if names is None:
        return default
    wanted: set[str] = set()
    for name in names:
        if name == ALL:
            wanted.update((*default, *FURTHER) if default == PUBLISHED else default)
            continue
        name = ALIASES.get(name, name)
        if name not in POSITIONS:
            raise UnknownNameError("position", name, [*POSITIONS, *ALIASES, ALL])
        wanted.add(name)
    if not wanted:
        raise UsageError(
            "No position given. Name at least one, for example --positions exact_answer_last,-1."
        )
    return tuple(name for name in POSITIONS if name in wanted)


def locate(answers: Sequence[TokenizedAnswer], positions: Sequence[str]) -> NDArray[np.int64]:
    """Place of each position in each sequence.

    Returns:
        (example, position, 2) first and last index into prompt + answer, the same twice for a
        single token; -1 only where the position is absent (see `present`).
    """
    table = np.full((len(answers), len(positions), 2), -1, dtype=np.int64)
    for j, name in enumerate(positions):
        rule = POSITIONS[name].rule
        for i, answer in enumerate(answers):
            place = rule(answer)
            if place is not None:
                table[i, j] = place
    return table


def present(table: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(example, position) mask of a table made by `locate`."""
    return table[:, :, 0] >= 0
