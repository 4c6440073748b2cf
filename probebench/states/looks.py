"""Where a model's heads look while it writes, and whether its updates come from there.

Attention maps are looked at layer by layer while a pass goes on, and none is kept: of each answer
there remain a score per layer and a ratio per head. Only the `eager` implementation of attention
makes maps at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError
from probebench.models.blocks.sites import find_blocks, plan_sites, watch
from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import Budget, in_batches
from probebench.models.passes.scored import pad_right
from probebench.types import EMB, layer_name

if TYPE_CHECKING:
    import torch
    from torch import nn

EAGER = "eager"
"""The implementation of attention that makes maps."""
TOP = 20
"""Tokens, those that are looked at most, over which an update is compared with attention (the
published code of Zhang et al. 2025)."""
TINY = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What is kept of one answer: means over its tokens."""

    icr: NDArray[np.float32]
    """(block,) ICR score."""
    lookback: NDArray[np.float32]
    """(head,) lookback ratio of every head, block by block."""


@dataclass(frozen=True, slots=True)
class Written:
    """Prompt and answer as a model is given them, and which tokens of the answer count."""

    ids: tuple[int, ...]
    n_prompt: int
    end: int
    """One past the last token that counts; more than `n_prompt`."""


def icr(
    update: torch.Tensor, before: torch.Tensor, attention: torch.Tensor, first: int
) -> torch.Tensor:
    """ICR scores of some tokens in one block (Zhang et al. 2025): how far what a block adds to a
    token is from pointing where its heads look.

    The update is projected on the direction of every visible token's vector. Over the `TOP` tokens
    that get most attention, projections and attention are each standardised and made a
    distribution; the score is their Jensen-Shannon divergence, in nats.

    Args:
        update: (token, width) what the block adds to tokens `first`, `first` + 1, ...
        before: (sequence, width) the residual stream before the block.
        attention: (token, sequence) of these tokens, the mean over heads.
        first: where the first of them stands in the sequence.

    Returns:
        (token,) from 0 to ln 2.
    """
    import torch

    places = torch.arange(len(before), device=before.device)
    later = places[None] > first + places[: len(update), None]
    projected = update @ (before / before.norm(dim=-1, keepdim=True).clamp_min(TINY)).T
    most = attention.masked_fill(later, -torch.inf).topk(min(TOP, len(before)), dim=-1)
    there = most.values.isfinite()
    p, q = (_standard(x, there) for x in (projected.gather(1, most.indices), most.values))
    middle = (p + q) / 2
    both: torch.Tensor = sum(torch.xlogy(x, x) - torch.xlogy(x, middle) for x in (p, q))
    return both.sum(dim=-1).clamp_min(0) / 2


def _standard(x: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """A distribution over each row's places that are there: standardised, then a softmax."""
    import torch

    n = there.sum(dim=-1, keepdim=True)
    own = x.masked_fill(~there, 0.0)
    centred = (own - own.sum(dim=-1, keepdim=True) / n).masked_fill(~there, 0.0)
    spread = (centred.square().sum(dim=-1, keepdim=True) / (n - 1).clamp_min(1)).sqrt()
    return torch.softmax((centred / spread.clamp_min(TINY)).masked_fill(~there, -torch.inf), -1)


def lookback(attention: torch.Tensor, n_prompt: int) -> torch.Tensor:
    """Lookback ratios of the heads of one block (Chuang et al. 2024): of the attention that a token
    gives to a prompt's token on average, and to one of the answer, the share of the former.

    Args:
        attention: (head, answer token, sequence) of the answer's tokens.
        n_prompt: tokens before the answer.

    Returns:
        (head, answer token).
    """
    import torch

    n_own = torch.arange(1, attention.shape[1] + 1, device=attention.device)
    # later tokens get none, so sums over all are sums over those that were written
    prompt = attention[..., :n_prompt].sum(dim=-1) / n_prompt
    own = attention[..., n_prompt:].sum(dim=-1) / n_own
    return prompt / (prompt + own)


def look(
    loaded: LoadedModel, sequences: Sequence[Written], budget: Budget | None = None
) -> list[Looks]:
    """Looks at all answers, by one pass over each.

    Raises:
        StatesError: a block without attention maps, or without its vectors.
    """
    import torch

    reader = _Reader(loaded)

    def run(rows: list[int]) -> list[Looks]:
        some = [sequences[i] for i in rows]
        ids, mask = pad_right([s.ids for s in some])
        with reader.batch(some) as found, torch.inference_mode():
            loaded.base(
                input_ids=ids.to(loaded.device),
                attention_mask=mask.to(loaded.device),
                use_cache=False,
            )
        return found.looks()

    return in_batches([len(s.ids) for s in sequences], run, "reading attention", budget)


@dataclass(eq=False)
class _Pass:
    """What one batch shows, block by block."""

    sequences: Sequence[Written]
    before: torch.Tensor | None = None
    attention: torch.Tensor | None = None
    icr: list[list[float]] = field(default_factory=list)
    """(block, example)"""
    lookback: list[list[Any]] = field(default_factory=list)
    """(block, example) of (head,)"""

    def see(self, site: str, layer: int, states: torch.Tensor) -> None:
        """Take the residual stream after a block, whose attention has passed by."""
        if layer != EMB:
            if self.attention is None or self.before is None:
                raise StatesError(
                    f"Layer {layer_name(layer)} has no attention maps: its block gives none back. "
                    "Where every block has attention --attn-implementation eager makes them; else "
                    "leave methods that read maps out of --detectors."
                )
            self._block(self.before, states.detach(), self.attention)
        self.before, self.attention = states.detach().clone(), None

    def take(self, module: nn.Module, args: Any, output: Any) -> None:
        """Take the attention map that a module gives back beside its output."""
        maps = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if self.attention is None and getattr(maps, "ndim", 0) == 4:
            self.attention = maps

    def _block(self, before: torch.Tensor, after: torch.Tensor, maps: torch.Tensor) -> None:
        scores, ratios = [], []
        for i, s in enumerate(self.sequences):
            own, here = slice(s.n_prompt, s.end), slice(0, len(s.ids))
            attention = maps[i, :, own, here].float()
            stream, then = (x[i, here].to(maps.device).float() for x in (before, after))
            update = then[own] - stream[own]
            scores.append(float(icr(update, stream, attention.mean(dim=0), s.n_prompt).mean()))
            ratios.append(lookback(attention, s.n_prompt).mean(dim=-1).cpu().numpy())
        self.icr.append(scores)
        self.lookback.append(ratios)

    def looks(self) -> list[Looks]:
        """Of each example."""
        return [
            Looks(
                np.array([scores[i] for scores in self.icr], dtype=np.float32),
                np.concatenate([ratios[i] for ratios in self.lookback]).astype(np.float32),
            )
            for i in range(len(self.sequences))
        ]


class _Reader:
    """Hooks into one model.

    Raises:
        StatesError: a block whose vectors cannot be read.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        n_layers = loaded.handle.identity.n_layers
        self.plan = plan_sites(loaded.base, n_layers, ("resid",), (EMB, *range(n_layers)))
        if self.plan.absent:
            (_, layer), reason = next(iter(self.plan.absent.items()))
            raise StatesError(
                f"Layer {layer_name(layer)} cannot be read, and attention is compared with what "
                f"every block adds: {reason}. Leave methods that read maps out of --detectors."
            )
        self.modules = [
            module
            for block in find_blocks(loaded.base, n_layers)
            for module in block.modules()
            if "attention" in type(module).__name__.lower()
        ]

    @contextmanager
    def batch(self, sequences: Sequence[Written]) -> Iterator[_Pass]:
        """Watch one pass over a batch of sequences, padded on the right."""
        found = _Pass(sequences)
        hooks = [m.register_forward_hook(found.take) for m in self.modules]
        hooks += watch(self.plan, found.see)
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()
