"""Drawn answers: each token taken with the probability that the model gives it, by a number of its
own.

The number of a token hangs on the seed, the prompt's name, which of its answers it is in and where
it stands there, and on nothing else: the same answers come whatever shares their batch, whatever
was drawn before, and in whatever order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Drawing:
    """How answers are drawn."""

    n: int
    """Answers to each prompt."""
    temperature: float
    """Logits are divided by it."""
    top_p: float
    """Only the likeliest tokens are drawn that have this share together (Holtzman et al. 2020,
    arXiv:1904.09751), after the division; 1: any."""
    seed: int

    @classmethod
    def asked(
        cls, n: int, temperature: float | None, top_p: float | None, seed: int
    ) -> Drawing | None:
        """As many answers as were asked for, from the model's own distribution where nothing else
        was said; None: none."""
        if not n:
            return None
        return cls(
            n, 1.0 if temperature is None else temperature, 1.0 if top_p is None else top_p, seed
        )

    @property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides what is drawn, beside the model and the prompts."""
        return asdict(self)

    def stream(self, name: str, sample: int) -> Stream:
        """The numbers of one answer to the prompt of this name."""
        words = json.dumps([self.seed, name, sample])
        return Stream(hashlib.blake2b(words.encode(), digest_size=32).digest())

    def tokens(self, logits: torch.Tensor, numbers: Sequence[float]) -> torch.Tensor:
        """(row,) the token of each row at which the distribution function first exceeds its number.

        Tokens stand in the order of the vocabulary, in which the last bits of logits, which hang on
        the batch, move the function least.

        Args:
            logits: (row, vocabulary); -inf is a token that cannot come.
            numbers: of each row one, from 0 to below 1.
        """
        import torch

        shares = (logits.double() / self.temperature).softmax(dim=-1)
        if self.top_p < 1:
            ordered, which = shares.sort(dim=-1, descending=True, stable=True)
            beyond = ordered.cumsum(dim=-1) - ordered >= self.top_p
            shares = shares.masked_fill(beyond.gather(-1, which.argsort(dim=-1)), 0.0)
        upto = shares.cumsum(dim=-1)
        at = torch.tensor(list(numbers), dtype=upto.dtype, device=upto.device)[:, None]
        total = upto[:, -1:].contiguous()
        tokens = torch.searchsorted(upto, at * total, right=True)[:, 0]
        # where rounding leaves nothing above the number: the last token that can come
        return torch.minimum(tokens, torch.searchsorted(upto, total)[:, 0])


@dataclass(frozen=True, slots=True)
class Named:
    """How answers to some prompts are drawn, with the names that their numbers hang on."""

    how: Drawing
    names: Sequence[str]
    """(prompt,)"""

    def stream(self, prompt: int, sample: int) -> Stream:
        """The numbers of one answer to one prompt."""
        return self.how.stream(self.names[prompt], sample)


@dataclass(frozen=True, slots=True)
class Stream:
    """The numbers of one answer, each found by itself."""

    key: bytes

    def at(self, step: int) -> float:
        """A number from 0 to below 1 for the token at this place: 53 bits of a keyed hash."""
        digest = hashlib.blake2b(step.to_bytes(8, "little"), digest_size=8, key=self.key).digest()
        return (int.from_bytes(digest, "little") >> 11) * 2.0**-53
