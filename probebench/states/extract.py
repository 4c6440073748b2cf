"""Hidden states at named positions: one forward pass, gathered on the device, one copy per batch.

Sequences are padded on the right and run through the base model without vocabulary projection or
cache. Each hook takes the wanted tokens of its site and layer while the pass goes on, so tokens x
layers x width never exists; means over a stretch of tokens are taken there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError
from probebench.models.blocks.sites import SITES, SitePlan, watch
from probebench.models.generate import pad_right
from probebench.models.loading import LoadedModel
from probebench.models.passes.batches import BATCH_TOKENS, Budget, attempt
from probebench.states.reader import SiteLayout
from probebench.states.shards import STATE_DTYPES as STATE_DTYPES
from probebench.states.shards import host_dtype
from probebench.states.sound import check_finite, check_zeros
from probebench.types import layer_name

if TYPE_CHECKING:
    import torch

SHARD = 256
"""Examples per stored shard."""
BATCHINGS = ("default", "exact")


def plan_shards(lengths: Sequence[int]) -> list[list[int]]:
    """Example indices of each shard: similar lengths together, so that padding is small and shards
    are independent."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return [order[i : i + SHARD] for i in range(0, len(order), SHARD)]


def site_layouts(plan: SitePlan) -> dict[str, SiteLayout]:
    """What will be stored of each site: its layers, and the width of each."""
    sites: dict[str, dict[int, int]] = {}
    for (site, layer), tap in sorted(plan.taps.items(), key=lambda item: item[0][1]):
        sites.setdefault(site, {})[layer] = tap.width
    return {
        site: SiteLayout(tuple(sites[site]), tuple(sites[site].values()))
        for site in SITES
        if site in sites
    }


class Extractor:
    """Reads the vectors of a model's sites at given tokens.

    Args:
        loaded: the model.
        plan: which sites of which layers, and where they pass by.
        dtype: `float16`, `bfloat16` or `float32`, of the stored vectors.
        batching: `default`: batches of similar length; `exact`: the numbers of one example at a
            time, to the last bit.
        budget: what a batch may hold; None: the fixed one.
        zeros: a layer may be zero, as that of the embedding is at the padding token of a model that
            has learnt nothing.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        plan: SitePlan,
        dtype: str = "float16",
        batching: str = "default",
        budget: Budget | None = None,
        *,
        zeros: bool = False,
    ) -> None:
        self.budget = budget if budget is not None else Budget(BATCH_TOKENS)
        self.loaded, self.plan, self.dtype, self.batching, self.zeros = (
            loaded,
            plan,
            dtype,
            batching,
            zeros,
        )
        self.base = loaded.base
        self.layout = site_layouts(plan)

    def __call__(
        self, sequences: Sequence[tuple[int, ...]], table: NDArray[np.int64], names: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Vectors of one shard.

        Args:
            sequences: token ids per example.
            table: (example, position, 2) first and last token of each place, -1 where absent.
            names: position names, for messages.

        Returns:
            Of each site (layer, position, example, width); zeros where a position is absent, and
            beyond the width of a layer that is narrower than the site's widest. bfloat16 comes as
            its bits, in uint16.

        Raises:
            StatesError: a vector that is not finite, with its site, layer and position; or a layer
                of zeros.
        """
        out = {
            site: np.zeros(
                (len(at.layers), table.shape[1], len(sequences), max(at.widths)),
                dtype=host_dtype(self.dtype),
            )
            for site, at in self.layout.items()
        }
        lengths = [len(s) for s in sequences]
        while (
            failed := self._read(sequences, table, names, out, self.batches(lengths))
        ) is not None:
            self.budget.halve(failed, lengths, "reading hidden states")
        if not self.zeros:
            check_zeros(out, table, self.layout)
        return out

    def _read(
        self,
        sequences: Sequence[tuple[int, ...]],
        table: NDArray[np.int64],
        names: Sequence[str],
        out: dict[str, NDArray[Any]],
        batches: Sequence[list[int]],
    ) -> list[int] | None:
        """Fill `out` batch by batch; the batch that memory was too small for, or None when all are
        there."""
        waiting: tuple[list[int], Copy] | None = None
        for k, batch in enumerate(batches, 1):
            copy = attempt(lambda b: self._batch([sequences[i] for i in b], table[b]), batch)
            if copy is None:
                return batch
            if waiting is not None:  # the batch before, while the device is busy with this one
                self._keep(*waiting, table, names, out)
            waiting = batch, copy
            if (
                copy.done is None
            ):  # nothing is under way, so this batch need not wait beside the next
                self._keep(*waiting, table, names, out)
                waiting = None
            self.budget.reached(sum(map(len, batches[:k])))
        if waiting is not None:
            self._keep(*waiting, table, names, out)
        return None

    def batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Examples that go through the model together.

        `exact` takes one at a time: even batches of equal length change the last bits, on a CPU as
        on a GPU, since the kernels of a matrix product depend on how many rows it has
        (DECISIONS.md).
        """
        if self.batching == "exact":
            return [[i] for i in range(len(lengths))]
        return self.budget.plan(lengths)

    def deviation(self, sequences: Sequence[tuple[int, ...]], table: NDArray[np.int64]) -> float:
        """Largest relative distance between a vector read in a batch and the same one read alone,
        in float32."""
        plain = Extractor(self.loaded, self.plan, "float32", self.batching, self.budget)
        names = [""] * table.shape[1]
        together = plain(sequences, table, names)
        worst = 0.0
        for i, sequence in enumerate(sequences):
            alone = plain([sequence], table[[i]], names)
            for site, values in together.items():
                a, b = values[:, :, i], alone[site][:, :, 0]
                size = np.linalg.norm(b, axis=-1)
                distance = np.linalg.norm(a - b, axis=-1)
                worst = max(worst, float(np.max(distance / np.where(size > 0, size, 1.0))))
        return worst

    def _batch(self, sequences: list[tuple[int, ...]], table: NDArray[np.int64]) -> Copy:
        import torch

        ids, mask = pad_right(sequences)
        gather = Gather(table, ids.shape[1], getattr(torch, self.dtype))
        kept: dict[tuple[str, int], torch.Tensor] = {}
        order = [(site, layer) for site, at in self.layout.items() for layer in at.layers]
        room = self._room(order, table) if self.loaded.device.type == "cpu" else {}

        def sink(site: str, layer: int, states: torch.Tensor) -> None:
            if (site, layer) in kept:
                raise StatesError(
                    f"Site {site} of layer {layer_name(layer)} passes by twice in one pass; such "
                    "models cannot be read."
                )
            kept[site, layer] = gather(
                states, max(self.layout[site].widths), room.get((site, layer))
            )

        hooks = watch(self.plan, sink)
        try:
            with torch.inference_mode():
                self.base(
                    input_ids=ids.to(self.loaded.device),
                    attention_mask=mask.to(self.loaded.device),
                    use_cache=False,
                )
        finally:
            for hook in hooks:
                hook.remove()
        if missing := [key for key in order if key not in kept]:
            site, layer = missing[0]
            raise StatesError(
                f"Site {site} of layer {layer_name(layer)} did not pass by during the forward pass."
            )
        return Copy([kept[key] for key in order])

    def _room(
        self, order: Sequence[tuple[str, int]], table: NDArray[np.int64]
    ) -> dict[tuple[str, int], torch.Tensor]:
        """(position, example, width) for each vector of a batch, in one piece of host memory.

        Pieces taken one by one during the pass would lie between the model's own buffers, whose
        memory then goes back to the system and comes again page by page: which can cost up to a
        sixth of the pass's time with all sites.
        """
        import torch

        shapes = [
            (table.shape[1], table.shape[0], max(self.layout[site].widths)) for site, _ in order
        ]
        sizes = [int(np.prod(shape)) for shape in shapes]
        pieces = torch.empty(sum(sizes), dtype=getattr(torch, self.dtype)).split(sizes)
        return {
            key: piece.view(shape) for key, piece, shape in zip(order, pieces, shapes, strict=True)
        }

    def _keep(
        self,
        rows: list[int],
        copy: Copy,
        table: NDArray[np.int64],
        names: Sequence[str],
        out: dict[str, NDArray[Any]],
    ) -> None:
        """Put a batch's vectors, layer by layer, where they belong."""
        pieces = iter(copy.arrays())
        first, n = rows[0], len(rows)
        # examples of a shard stand by length, so a batch is mostly a stretch of them, which numpy
        # copies faster
        where = slice(first, first + n) if rows == list(range(first, first + n)) else rows
        for site, at in self.layout.items():
            for k in range(len(at.layers)):
                out[site][k][:, where] = next(pieces)
            if not copy.finite:
                check_finite(site, out[site][:, :, rows], at.layers, table[rows], names, self.dtype)


class Copy:
    """One copy of a batch's vectors to the host, under way while the device goes on.

    Args:
        parts: (position, example, width) of each layer and site, on their devices.
    """

    def __init__(self, parts: Sequence[torch.Tensor]) -> None:
        import torch

        device = parts[-1].device
        self.done: torch.cuda.Event | None = None
        if (
            device.type == "cpu"
            # they are where they should be: one part after the other is looked at, and none is copied
        ):
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
        vectors = states.flatten(0, 1).index_select(
            0, index
        )  # a copy: models go on to change some of these in place
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
                torch.from_numpy(index.T.ravel()).to(
                    device
                ),  # (position, example), the order they are kept in
                torch.from_numpy(np.flatnonzero((self.table[:, :, 0] < 0).T)).to(device),
                torch.from_numpy(weights.astype(np.float32)).to(device),
            )
        return self.places[device]
