"""Networks over the tokens of an answer, as their papers define them; imported only where one is
trained, since this module needs torch.

Each takes (example, token, width) vectors and (example, token) where there is a token, and gives
(example,) logits. No example is without a token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN, HEADS = 100, 10
"""Width of what tokens are turned into, and heads over it (Kramár et al. 2026)."""
TEMPERATURE = 5.0
"""Of the softmax probe (McKenzie et al. 2025)."""
ICR_WIDTHS, SLOPE, DROPOUT = (128, 64, 32), 0.01, 0.3
"""The network on ICR scores (the published code of Zhang et al. 2025)."""


@dataclass(frozen=True, slots=True, eq=False)
class Net:
    """A network with its weights."""

    parts: nn.Module
    """What has weights."""
    logits: Callable[[Tensor, Tensor], Tensor]
    """(example,) of vectors, and where there is a token."""


def attention_probe(width: int) -> Net:
    """softmax(A q) . (A v): one learned query weighs the tokens' values (McKenzie et al. 2025)."""
    query, value = nn.Linear(width, 1, bias=False), nn.Linear(width, 1)

    def logits(X: Tensor, there: Tensor) -> Tensor:
        return weighted(query(X), value(X), there)[:, 0]

    return Net(nn.ModuleList([query, value]), logits)


def softmax_probe(width: int) -> Net:
    """softmax(A w / temperature) . (A w): a token's own score weighs it (McKenzie et al. 2025)."""
    score = nn.Linear(width, 1)

    def logits(X: Tensor, there: Tensor) -> Tensor:
        z = score(X)
        return weighted(z / TEMPERATURE, z, there)[:, 0]

    return Net(score, logits)


def rolling_mean_probe(width: int, window: int) -> Net:
    """The largest mean of the scores A w over a window of neighbouring tokens (McKenzie et al.
    2025)."""
    score = nn.Linear(width, 1)

    def logits(X: Tensor, there: Tensor) -> Tensor:
        z = score(X)
        return rolling(torch.zeros_like(z), z, there, window)[:, 0]

    return Net(score, logits)


def multimax_probe(width: int) -> Net:
    """The sum over heads of the largest value v_h . y of any token, y a small network of its vector
    (Kramár et al. 2026)."""
    small, values = _small(width), nn.Linear(HIDDEN, HEADS, bias=False)

    def logits(X: Tensor, there: Tensor) -> Tensor:
        own: Tensor = values(small(X)).masked_fill(~there[..., None], -torch.inf)
        return own.amax(dim=1).sum(dim=-1)

    return Net(nn.ModuleList([small, values]), logits)


def rolling_attention_probe(width: int, window: int) -> Net:
    """The sum over heads of the largest attention-weighted mean over a window of neighbouring
    tokens (Kramár et al. 2026)."""
    small = _small(width)
    queries, values = (nn.Linear(HIDDEN, HEADS, bias=False) for _ in range(2))

    def logits(X: Tensor, there: Tensor) -> Tensor:
        y = small(X)
        return rolling(queries(y), values(y), there, window).sum(dim=-1)

    return Net(nn.ModuleList([small, queries, values]), logits)


def icr_probe(width: int) -> Net:
    """A network of 128, 64 and 32 on the ICR scores of all blocks, the one token of each example
    (Zhang et al. 2025)."""
    layers: list[nn.Module] = []
    for n in ICR_WIDTHS:
        layers += [nn.Linear(width, n), nn.BatchNorm1d(n), nn.LeakyReLU(SLOPE), nn.Dropout(DROPOUT)]
        width = n
    whole = nn.Sequential(*layers, nn.Linear(width, 1))
    for layer in whole:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
            nn.init.zeros_(layer.bias)

    def logits(X: Tensor, there: Tensor) -> Tensor:
        own: Tensor = whole(X[:, 0])[:, 0]
        return own

    return Net(whole, logits)


def _small(width: int) -> nn.Module:
    """What turns each token's vector into a smaller one."""
    return nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN))


def weighted(scores: Tensor, values: Tensor, there: Tensor) -> Tensor:
    """(example, head) means of (example, token, head) values, weighed by a softmax of scores."""
    weights = scores.masked_fill(~there[..., None], -torch.inf).softmax(dim=1)
    return (weights * values).sum(dim=1)


def rolling(scores: Tensor, values: Tensor, there: Tensor, window: int) -> Tensor:
    """(example, head) the largest of such means over a whole window of tokens; over all of them
    where they are fewer."""
    short = max(window - there.shape[1], 0)
    # (example, window, head, token)
    scores, values = (
        functional.pad(x, (0, 0, 0, short)).unfold(1, window, 1) for x in (scores, values)
    )
    inside = functional.pad(there, (0, short)).unfold(1, window, 1)[:, :, None]
    whole = inside[..., -1:].clone()
    whole[:, 0] = True
    # a window that is not whole may hold anything: it is left out below
    weights = torch.where(inside | ~whole, scores, -torch.inf).softmax(dim=-1)
    means = (weights * values).sum(dim=-1)
    return means.masked_fill(~whole[..., 0], -torch.inf).amax(dim=1)
