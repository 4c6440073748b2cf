"""What ends an answer, and what it is allowed to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class Ends:
    """Where answers end."""

    limit: int
    """Tokens after which an answer is cut off."""
    stops: frozenset[int]
    """Tokens that end one."""
    texts: tuple[str, ...]
    """Texts that end one; they may be spread over several tokens."""
    tokenizer: PreTrainedTokenizerBase

    @cached_property
    def tail(self) -> int:
        """Tokens at the end of an answer that can hold a stop text: a token is at least a byte."""
        return max((len(text.encode()) for text in self.texts), default=0) + 2

    def spelt(self, answers: Sequence[Sequence[int]]) -> list[bool]:
        """Does a stop text stand among the last tokens of each answer?"""
        if not self.texts:
            return [False] * len(answers)
        tails = [list(ids[-self.tail :]) for ids in answers]
        texts = self.tokenizer.batch_decode(tails, skip_special_tokens=True)
        return [any(t in text for t in self.texts) for text in texts]

    def reached(self, answers: Sequence[Sequence[int]]) -> list[bool]:
        """Is each answer, which had not ended one token ago, complete?"""
        return [
            spelt or ids[-1] in self.stops or len(ids) >= self.limit
            for ids, spelt in zip(answers, self.spelt(answers), strict=True)
        ]
