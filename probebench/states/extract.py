"""Hidden states at named positions: one forward pass, gathered on the device, one copy per batch.

Sequences are padded on the right and run through the base model without vocabulary projection or
cache. Each hook takes the wanted tokens of its site and layer while the pass goes on, so tokens x
layers x width never exists; means over a stretch of tokens are taken there too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError
from probebench.models.blocks.sites import SITES, SitePlan, watch
from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import BATCH_TOKENS, Budget, attempt
from probebench.models.passes.scored import pad_right
from probebench.states.gather import Copy, Gather
from probebench.states.reader import SiteLayout
from probebench.states.shards import host_dtype
from probebench.states.sound import check_finite, check_zeros
from probebench.types import layer_name

if TYPE_CHECKING:
    import torch

SHARD = 256
"""Examples per stored shard."""
BATCHINGS = ("default", "exact")
Last = Callable[[list[int], "torch.Tensor"], None]
"""Called with which examples a batch held, and the last states of the model's base, after its final
norm: (example, token, width), padded on the right."""


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
        self,
        sequences: Sequence[tuple[int, ...]],
        table: NDArray[np.int64],
        names: Sequence[str],
        last: Last | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Vectors of one shard.

        Args:
            sequences: token ids per example.
            table: (example, position, 2) first and last token of each place, -1 where absent.
            names: position names, for messages.
            last: told of each batch once it has passed; of one that did not fit into memory it may
                be told again.

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
            failed := self._read(sequences, table, names, out, self.batches(lengths), last)
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
        last: Last | None,
    ) -> list[int] | None:
        """Fill `out` batch by batch; the batch that memory was too small for, or None when all are
        there."""
        waiting: tuple[list[int], Copy] | None = None
        for k, batch in enumerate(batches, 1):
            copy = attempt(
                lambda b: self._batch(
                    [sequences[i] for i in b], table[b], last and partial(last, b)
                ),
                batch,
            )
            if copy is None:
                return batch
            if waiting is not None:  # the batch before, while the device is busy with this one
                self._keep(*waiting, table, names, out)
            waiting = batch, copy
            # nothing is under way, so this batch need not wait beside the next
            if copy.done is None:
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

    def _batch(
        self,
        sequences: list[tuple[int, ...]],
        table: NDArray[np.int64],
        last: Callable[[torch.Tensor], None] | None,
    ) -> Copy:
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
                out = self.base(
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
        copy = Copy([kept[key] for key in order])
        if last is not None:  # while the copy is under way
            with torch.inference_mode():
                last(out[0])
        return copy

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
