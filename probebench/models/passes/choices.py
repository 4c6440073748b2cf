"""How likely a model finds one of two next tokens: what prompts share is read once, and nothing of
the vocabulary's width is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import Budget, until_it_fits
from probebench.models.passes.head import Head
from probebench.types import Floats

if TYPE_CHECKING:
    import torch


def choice_scores(
    loaded: LoadedModel,
    prompts: Sequence[tuple[int, ...]],
    first: Sequence[int],
    second: Sequence[int],
    budget: Budget | None = None,
    each: float = 1.0,
) -> Floats:
    """Scores of two sets of next tokens after each prompt.

    Args:
        loaded: a causal language model.
        prompts: token ids, at least one each.
        first: tokens that stand for the first choice; their probabilities are added up.
        second: tokens that stand for the second choice.
        budget: what a batch may hold; None: the fixed one.
        each: prompts of one example of the shard, on average.

    Returns:
        (prompt, 2) probability of the first choice, normalised over the two; and what both have
        together of all next tokens.
    """
    import torch

    from probebench.models.decoding.endings import Endings

    if not prompts:
        return np.zeros((0, 2))
    limit, lengths = budget or Budget(), [len(p) for p in prompts]
    states = until_it_fits(
        lambda: Endings(loaded, prompts, limit, each), lengths, "asking for p(True)", limit
    )
    found = []
    with torch.inference_mode():
        for logits in Head(loaded).logits(states):
            found.append(_choice(logits, first, second))
            del logits  # before the next chunk is there
    return np.concatenate(found)


def _choice(logits: torch.Tensor, first: Sequence[int], second: Sequence[int]) -> Floats:
    """(prompt, 2) of (prompt, vocabulary)."""
    import torch

    both = torch.stack([logits[:, list(t)].double().logsumexp(-1) for t in (first, second)], -1)
    mass = (both.logsumexp(-1) - logits.float().logsumexp(-1).double()).exp()
    found: Floats = torch.stack([both.softmax(-1)[:, 0], mass], dim=-1).cpu().numpy()
    return found
