"""Drawn answers: each token taken with the probability that the model gives it, by a number of its
own.

The number of a token depends on the seed, the prompt's name, which of its answers it is in and
where it stands there, and on nothing else: the same answers come whatever shares their batch,
whatever was drawn before, and in whatever order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

LIKELY = 256
"""Tokens of each step that are drawn by the distribution function."""


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
        return {**asdict(self), "by": [LIKELY, "gumbel, philox"]}

    def stream(self, name: str, sample: int) -> Stream:
        """The numbers of one answer to the prompt of this name."""
        words = json.dumps([self.seed, name, sample])
        return Stream(hashlib.blake2b(words.encode(), digest_size=32).digest())

    def tokens(self, logits: torch.Tensor, numbers: Sequence[float]) -> torch.Tensor:
        """(row,) one token of each row, with the probability that the row gives it.

        Among its likeliest tokens, in the order of the vocabulary, a number draws the one at which
        the distribution function first exceeds it. Where it falls beyond them, the largest sum of
        logit and Gumbel noise of all others is drawn (Gumbel 1954), whose noise follows from the
        number: among many tokens that are rarer than the error of a pass, the last bits of logits,
        which depend on the batch, would move the distribution function past it.

        Args:
            logits: (row, vocabulary); -inf is a token that cannot come.
            numbers: of each row one, from 0 to below 1.
        """
        import torch

        scores = self._tempered(logits)
        top, which = scores.softmax(dim=-1).topk(min(LIKELY, scores.shape[-1]), dim=-1)
        which, order = which.sort(dim=-1)
        upto = top.gather(-1, order).cumsum(dim=-1)
        at = torch.tensor(list(numbers), dtype=upto.dtype, device=upto.device)[:, None]
        rest = scores.scatter(-1, which, -torch.inf)
        rare = rest.isfinite().any(dim=-1)
        total = upto[:, -1:].contiguous()
        # where nothing else can come, they have all of it
        number = torch.where(rare[:, None], at, at * total)
        places = torch.searchsorted(upto, number, right=True)
        places = torch.minimum(places, torch.searchsorted(upto, total))
        tokens = which.gather(-1, places)[:, 0]
        for row in torch.nonzero(rare & (at >= total)[:, 0])[:, 0].tolist():
            noise = gumbel(numbers[row], scores.shape[-1])
            tokens[row] = (rest[row] + torch.from_numpy(noise).to(rest.device)).argmax()
        return tokens

    def _tempered(self, logits: torch.Tensor) -> torch.Tensor:
        """(row, vocabulary) logits after temperature, -inf outside the nucleus."""
        import torch

        scores = logits.double() / self.temperature
        if self.top_p == 1:
            return scores
        ordered, which = scores.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
        beyond = ordered.cumsum(dim=-1) - ordered >= self.top_p
        return scores.masked_fill(beyond.gather(-1, which.argsort(dim=-1)), -torch.inf)


def gumbel(number: float, size: int) -> NDArray[np.float64]:
    """Gumbel noise that follows from a number from 0 to below 1."""
    key = np.random.Philox(key=int(number * 2**53))
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log(np.random.Generator(key).standard_exponential(size)))


@dataclass(frozen=True, slots=True)
class Named:
    """How answers to some prompts are drawn, with the names that their numbers depend on."""

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
