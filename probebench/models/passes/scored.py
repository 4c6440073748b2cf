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

    head = Head(loaded)

    def run(rows: list[int]) -> list[GivenScores]:
        some = [sequences[i] for i in rows]
        ids, mask = pad_right([p + a for p, a in some])
        with torch.inference_mode():
            states = head.states(ids.to(loaded.device), mask.to(loaded.device))
            return given_scores(head, states, some)

    lengths = [len(p) + len(a) for p, a in sequences]
    return in_batches(lengths, run, "scoring given answers", budget)


def given_scores(
    head: Head, states: torch.Tensor, sequences: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> list[GivenScores]:
    """Scores of a batch's answers from the last states of the model's base.

    Args:
        head: of the model.
        states: (example, token, width), padded on the right.
        sequences: (prompt ids, answer ids) per example.
    """
    import torch

    width = states.shape[1]
    # a token is foretold at the place before it
    places = [
        i * width + len(p) - 1 + k for i, (p, a) in enumerate(sequences) for k in range(len(a))
    ]
    chosen = torch.tensor([k for _, a in sequences for k in a], dtype=torch.long)
    rows = torch.tensor(places, dtype=torch.long, device=states.device)
    found, first = [], 0
    for logits in head.logits(states.flatten(0, 1).index_select(0, rows)):
        scores = token_scores(logits, chosen[first : first + len(logits)].to(logits.device))
        found.append(torch.stack([scores.logprobs, scores.logits, scores.entropies]))
        first += len(logits)
    table = torch.cat(found, dim=-1).cpu() if found else torch.zeros((3, 0))
    return [GivenScores(*part.numpy()) for part in table.split([len(a) for _, a in sequences], -1)]
