"""Vectors taken at the wanted tokens while a batch passes by, and brought to the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


class Copy:
    """One copy of a batch's vectors to the host, under way while the device goes on.

    Args:
        parts: (position, example, width) of each layer and site, on their devices.
    """

    def __init__(self, parts: Sequence[torch.Tensor]) -> None:
        import torch

        device = parts[-1].device
        self.done: torch.cuda.Event | None = None
        # they are where they should be: one part after the other is looked at, and none is copied
        if device.type == "cpu":
            self.parts, self.good = (
                [part.to(device) for part in parts],
                [_finite(part) for part in parts],
            )
            return
        flat = torch.cat([part.to(device).flatten() for part in parts])
        good = _finite(flat)
        if device.type == "cuda":
            flat = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True).copy_(
                flat, non_blocking=True
            )
            good = torch.empty((), dtype=torch.bool, pin_memory=True).copy_(good, non_blocking=True)
            self.done = torch.cuda.Event()
            self.done.record(torch.cuda.current_stream(device))
        else:
            flat, good = flat.cpu(), good.cpu()
        pieces = flat.split([part.numel() for part in parts])
        self.parts, self.good = (
            [p.view(part.shape) for p, part in zip(pieces, parts, strict=True)],
            [good],
        )

    def arrays(self) -> list[NDArray[Any]]:
        """The vectors on the host, once they are there; bits of bfloat16 as uint16."""
        import torch

        if self.done is not None:
            self.done.synchronize()
        return [
            (part.view(torch.uint16) if part.dtype == torch.bfloat16 else part).numpy()
            for part in self.parts
        ]

    @property
    def finite(self) -> bool:
        """Is every number one? Known once the vectors are there."""
        return all(bool(good) for good in self.good)


def _finite(x: torch.Tensor) -> torch.Tensor:
    """Is every number finite? From the bits: NaN and infinity have the largest exponent. In half
    precision on a CPU 30 times faster than `isfinite`, which took as long as all gathering."""
    import torch

    bits = torch.int16 if x.element_size() == 2 else torch.int32
    if not x.numel():
        return torch.ones((), dtype=torch.bool, device=x.device)
    infinite = int(torch.tensor(torch.inf, dtype=x.dtype).view(bits))
    return (x.view(bits) & torch.iinfo(bits).max).amax() < infinite


class Gather:
    """Takes the vectors at named places out of one module's states, on the device they are on.

    Args:
        table: (example, position, 2) first and last token of each place, -1 where absent.
        n_tokens: padded length of the batch.
        dtype: of what is kept.
    """

    def __init__(self, table: NDArray[np.int64], n_tokens: int, dtype: torch.dtype) -> None:
        self.table, self.n_tokens, self.dtype = table, n_tokens, dtype
        self.shape = table.shape[:2]
        self.means = np.flatnonzero((table[:, :, 0] != table[:, :, 1]).any(axis=0))
        self.places: dict[torch.device, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

    def __call__(
        self, states: torch.Tensor, width: int, into: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(position, example, width) of (example, token, module width) states; zeros where a place
        is absent.

        Args:
            states: of one module.
            width: of the result; what a narrower module lacks is zero.
            into: where to write it, on the device of the states; None takes new memory.
        """
        import torch

        index, absent, weights = self._on(states.device)
        # a copy: models go on to change some of these in place
        vectors = states.flatten(0, 1).index_select(0, index)
        if len(self.means):
            vectors = vectors.float()  # a sum over many tokens would not fit into half precision
            vectors.view(self.shape[1], self.shape[0], -1)[self.means] = (
                weights @ states.float()
            ).transpose(0, 1)
        if into is None:
            into = torch.empty(
                (self.shape[1], self.shape[0], width), dtype=self.dtype, device=states.device
            )
        kept = into.view(-1, width)
        kept[:, : vectors.shape[1]].copy_(vectors)
        kept[:, vectors.shape[1] :].zero_()
        if len(absent):
            kept.index_fill_(0, absent, 0)
        return into

    def _on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows to take of a batch's tokens, which of those taken are absent, and weights of the
        means: once per device."""
        import torch

        if device not in self.places:
            first, last = self.table[:, self.means, 0, None], self.table[:, self.means, 1, None]
            token = np.arange(self.n_tokens)
            inside = (token >= first) & (token <= last) & (first >= 0)
            weights = inside / np.maximum(inside.sum(axis=2, keepdims=True), 1)
            of_example = np.arange(self.shape[0])[:, None] * self.n_tokens
            index = of_example + np.maximum(self.table[:, :, 1], 0)
            self.places[device] = (
                # (position, example), the order they are kept in
                torch.from_numpy(index.T.ravel()).to(device),
                torch.from_numpy(np.flatnonzero((self.table[:, :, 0] < 0).T)).to(device),
                torch.from_numpy(weights.astype(np.float32)).to(device),
            )
        return self.places[device]
