"""What is kept of a model's next-token distribution: log-probability and logit of one token, and
the entropy, in one pass over the logits.

A row of logits is up to a megabyte and is needed several times over, so on a CPU rows are taken in
blocks that stay in its cache. There softmax is also faster than exp, which is more exact than
needed, and numpy's argmax twenty times as fast as torch's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK_BYTES = 2**20
"""Of float32 logits that are looked at together on a CPU."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenScores:
    """Scores of one token in each row of logits; all on the device of the logits."""

    tokens: torch.Tensor
    """(row,) which token: the given one, or the greedy one."""
    logprobs: torch.Tensor
    """(row,) its log-probability, float32."""
    logits: torch.Tensor
    """(row,) its logit, float32."""
    entropies: torch.Tensor
    """(row,) entropy of the whole distribution in nats, float32."""


def token_scores(logits: torch.Tensor, chosen: torch.Tensor | None = None) -> TokenScores:
    """Scores of one token of each row.

    Args:
        logits: (row, vocabulary), of any floating type; -inf is a token that cannot come.
        chosen: (row,) tokens; None: the one of the largest logit, the first of equals.
    """
    import torch

    on_cpu, (n, size) = logits.device.type == "cpu", logits.shape
    step = max(BLOCK_BYTES // (4 * size), 1) if on_cpu else max(n, 1)
    parts = [
        _block(rows.float(), None if chosen is None else chosen[i * step : (i + 1) * step])
        for i, rows in enumerate(logits.split(step))
    ]
    return TokenScores(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _block(
    logits: torch.Tensor, chosen: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, log-probabilities, logits and entropies of some rows."""
    import torch

    if chosen is not None:
        chosen = chosen[:, None]
        top = logits.amax(dim=-1, keepdim=True)
    else:
        chosen = _largest(logits)
        top = logits.gather(-1, chosen)
    shares = logits.softmax(dim=-1)
    # the largest share is at least one in the size of the vocabulary: its logarithm is exact enough
    total = top - shares.amax(dim=-1, keepdim=True).log()
    own = logits.gather(-1, chosen)
    # of what cannot come the share is zero, and zero times infinity would be no number
    logprobs = (logits - total).clamp_(min=torch.finfo(torch.float32).min)
    entropy = -shares.mul_(logprobs).sum(dim=-1)
    return chosen[:, 0], (own - total)[:, 0], own[:, 0], entropy


def _largest(logits: torch.Tensor) -> torch.Tensor:
    """(row, 1) token of the largest logit."""
    import torch

    if logits.device.type != "cpu":
        return logits.argmax(dim=-1, keepdim=True)
    return torch.from_numpy(logits.numpy().argmax(axis=-1))[:, None]
