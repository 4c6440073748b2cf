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
        """(row,) one token of each row, with the probability that the row gives it.

        The largest sum of logit and Gumbel noise is drawn (Gumbel 1954); the noise of every token
        follows from the row's number. The last bits of logits, which hang on the batch, change the
        token only where the two largest sums are that near. By the distribution function they would
        wherever a number falls among tokens that are rarer than its error.

        Args:
            logits: (row, vocabulary); -inf is a token that cannot come.
            numbers: of each row one, from 0 to below 1.
        """
        import numpy as np
        import torch

        scores = logits.double() / self.temperature
        if self.top_p < 1:
            shares = scores.softmax(dim=-1)
            ordered, which = shares.sort(dim=-1, descending=True, stable=True)
            beyond = ordered.cumsum(dim=-1) - ordered >= self.top_p
            scores = scores.masked_fill(beyond.gather(-1, which.argsort(dim=-1)), -torch.inf)
        size = scores.shape[-1]
        noise = np.stack(
            [
                np.random.Generator(np.random.Philox(key=int(u * 2**53))).standard_exponential(size)
                for u in numbers
            ]
        )
        with np.errstate(divide="ignore"):
            gumbel = torch.from_numpy(-np.log(noise)).to(scores.device)
        return (scores + gumbel).argmax(dim=-1)


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
