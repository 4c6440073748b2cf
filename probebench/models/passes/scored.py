"""Scores of given answers, by one forward pass over prompt and answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import BATCH_TOKENS, Budget, in_batches

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


def score_answers(
    loaded: LoadedModel,
    sequences: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    *,
    budget: Budget | None = None,
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Log-probabilities, logits and entropies of given answers, by one forward pass over prompt +
    answer.

    Args:
        loaded: the model.
        sequences: (prompt ids, answer ids) per example.
        budget: what a batch may hold; None: half of the fixed one, since the scores of every token
            stand there at once.

    Returns:
        Per example three (answer token,) float32 arrays.
    """

    def run(rows: list[int]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        return _score_batch(loaded, [sequences[i] for i in rows])

    limit = budget if budget is not None else Budget(BATCH_TOKENS // 2)
    return in_batches([len(p) + len(a) for p, a in sequences], run, "scoring given answers", limit)


def _score_batch(
    loaded: LoadedModel, batch: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    import torch

    ids, mask = pad_right([p + a for p, a in batch])
    results = []
    with torch.inference_mode():
        logits = loaded.model(
            input_ids=ids.to(loaded.device), attention_mask=mask.to(loaded.device), use_cache=False
        ).logits
        for row, (p, a) in enumerate(batch):
            own = logits[row, len(p) - 1 : len(p) + len(a) - 1].float()
            logprobs = torch.log_softmax(own, dim=-1)
            chosen = torch.tensor(a, device=own.device, dtype=torch.long)[:, None]
            entropy = -(logprobs.exp() * logprobs).nan_to_num(0.0).sum(-1)
            results.append(
                (
                    logprobs.gather(-1, chosen)[:, 0].cpu().numpy(),
                    own.gather(-1, chosen)[:, 0].cpu().numpy(),
                    entropy.cpu().numpy(),
                )
            )
    return results
