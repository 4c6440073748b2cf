"""Scores of given answers, by one forward pass over prompt and answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import Budget, in_batches
from probebench.models.passes.head import Head
from probebench.models.passes.token_scores import token_scores

if TYPE_CHECKING:
    import torch


def pad_right(sequences: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, both (example, token), padded on the right with zeros."""
    import torch

    width = max(map(len, sequences))
    ids = torch.zeros((len(sequences), width), dtype=torch.long)
    mask = torch.zeros((len(sequences), width), dtype=torch.long)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.tensor(sequence)
        mask[i, : len(sequence)] = 1
    return ids, mask


class GivenScores(NamedTuple):
    """What a model says of the tokens of one answer that was given to it."""

    logprobs: NDArray[np.float32]
    """(answer token,)"""
    logits: NDArray[np.float32]
    """(answer token,)"""
    entropies: NDArray[np.float32]
    """(answer token,) of the whole distribution, in nats."""


class Scorer:
    """Scores given answers batch by batch, from the last states of the model's base.

    Args:
        head: of a causal language model.
        sequences: (prompt ids, answer ids) per example, no prompt empty.
    """

    def __init__(
        self, head: Head, sequences: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
    ) -> None:
        self.head, self.sequences = head, sequences
        self._found: list[tuple[list[int], torch.Tensor]] = []

    def __call__(self, rows: list[int], states: torch.Tensor) -> None:
        """Score some examples; nothing is waited for on a GPU.

        Args:
            rows: which, by index.
            states: (example, token, width) of their sequences, padded on the right.
        """
        import torch

        some, width = [self.sequences[i] for i in rows], states.shape[1]
        # a token is foretold at the place before it
        places = [
            i * width + len(p) - 1 + k for i, (p, a) in enumerate(some) for k in range(len(a))
        ]
        index = torch.tensor([places, [k for _, a in some for k in a]], dtype=torch.long)
        at, chosen = index.to(states.device)
        wanted = states.flatten(0, 1).index_select(0, at)
        parts, first = [wanted.new_zeros((3, 0), dtype=torch.float32)], 0
        for logits in self.head.logits(wanted):
            own = chosen[first : first + len(logits)].to(logits.device)
            scores = token_scores(logits, own)
            parts.append(
                torch.stack([scores.logprobs, scores.logits, scores.entropies]).to(states.device)
            )
            first += len(logits)
            del logits  # before the next are made
        self._found.append((rows, torch.cat(parts, dim=-1)))

    def scores(self) -> list[GivenScores]:
        """Of every example, in their order; of one that was scored twice the last."""
        found: dict[int, GivenScores] = {}
        for rows, table in self._found:
            sizes = [len(self.sequences[i][1]) for i in rows]
            pieces = table.cpu().split(sizes, dim=-1)
            found.update((i, GivenScores(*p.numpy())) for i, p in zip(rows, pieces, strict=True))
        return [found[i] for i in range(len(self.sequences))]


def score_answers(
    loaded: LoadedModel,
    sequences: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    *,
    budget: Budget | None = None,
) -> list[GivenScores]:
    """Scores of given answers, by one forward pass over prompt + answer.

    Args:
        loaded: a causal language model.
        sequences: (prompt ids, answer ids) per example.
        budget: what a batch may hold; None: the fixed one.
    """
    import torch

    scorer = Scorer(Head(loaded), sequences)

    def run(rows: list[int]) -> list[int]:
        ids, mask = pad_right([p + a for p, a in (sequences[i] for i in rows)])
        with torch.inference_mode():
            states = scorer.head.states(ids.to(loaded.device), mask.to(loaded.device))
            scorer(rows, states)
        return rows

    in_batches([len(p) + len(a) for p, a in sequences], run, "scoring given answers", budget)
    return scorer.scores()
