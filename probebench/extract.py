"""Hidden states at named positions: one forward pass, gathered on the device, one copy per batch.

Sequences are padded on the right and run through the base model without vocabulary projection or cache. Each hook takes
the wanted tokens of its layer while the pass goes on, so tokens x layers x width never exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError
from probebench.generate import halving, plan_batches
from probebench.models import LoadedModel
from probebench.positions import present
from probebench.sites import find_blocks, watch_residual
from probebench.types import layer_name

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 8192
SHARD = 256
"""Examples per stored shard."""
STATE_DTYPES = ("float16", "float32")


def plan_shards(lengths: Sequence[int]) -> list[list[int]]:
    """Example indices of each shard: similar lengths together, so that padding is small and shards are independent."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return [order[i : i + SHARD] for i in range(0, len(order), SHARD)]


class Extractor:
    """Reads the residual stream of a model at given tokens.

    Args:
        loaded: the model.
        layers: block indices, `EMB` for the embedding output.
        dtype: `float16` or `float32`, of the stored vectors.
    """

    def __init__(self, loaded: LoadedModel, layers: Sequence[int], dtype: str = "float16") -> None:
        self.loaded, self.layers, self.dtype = loaded, tuple(layers), dtype
        self.base = getattr(loaded.model, loaded.model.base_model_prefix, loaded.model)
        self.blocks = find_blocks(self.base, loaded.handle.identity.n_layers)

    def __call__(self, sequences: Sequence[tuple[int, ...]], table: NDArray[np.int64], names: Sequence[str]) -> NDArray[Any]:
        """Vectors of one shard.

        Args:
            sequences: token ids per example.
            table: (example, position) token indices, -1 where absent.
            names: position names, for messages.

        Returns:
            (layer, position, example, width); zeros where a position is absent.

        Raises:
            StatesError: a vector that is not finite, with its layer and position.
        """
        lengths = [len(s) for s in sequences]
        out: NDArray[Any] | None = None
        for batch in plan_batches(lengths, tokens=BATCH_TOKENS):
            parts = halving(batch, lambda b: [(b, self._batch([sequences[i] for i in b], table[b]))], "reading hidden states")
            for rows, values in parts:
                self._check(values, table[rows], names)
                if out is None:
                    out = np.zeros((*values.shape[:2], len(sequences), values.shape[3]), dtype=values.dtype)
                out[:, :, rows] = values
        assert out is not None  # a shard is never empty
        return out

    def _batch(self, sequences: list[tuple[int, ...]], table: NDArray[np.int64]) -> NDArray[Any]:
        import torch

        device = self.loaded.device
        width = max(map(len, sequences))
        ids = torch.zeros((len(sequences), width), dtype=torch.long)
        mask = torch.zeros((len(sequences), width), dtype=torch.long)
        for i, sequence in enumerate(sequences):
            ids[i, : len(sequence)] = torch.tensor(sequence)
            mask[i, : len(sequence)] = 1
        index = torch.from_numpy(table).to(device)
        rows = torch.arange(len(sequences), device=device)[:, None]
        absent = (index < 0).T[:, :, None]  # (position, example, 1)
        kept: dict[int, torch.Tensor] = {}

        def sink(layer: int, states: torch.Tensor) -> None:
            vectors = states[rows, index.clamp(min=0)].transpose(0, 1)
            kept[layer] = vectors.to(getattr(torch, self.dtype)).masked_fill(absent, 0)

        hooks = watch_residual(self.blocks, self.layers, sink)
        try:
            with torch.inference_mode():
                self.base(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        gathered: NDArray[Any] = torch.stack([kept[layer] for layer in self.layers]).cpu().numpy()
        return gathered

    def _check(self, values: NDArray[Any], table: NDArray[np.int64], names: Sequence[str]) -> None:
        finite = np.isfinite(values).all(axis=3)  # (layer, position, example)
        bad = np.argwhere(~finite & present(table).T[None])
        if len(bad):
            layer, place = layer_name(self.layers[bad[0][0]]), names[bad[0][1]]
            raise StatesError(
                f"{len(bad)} vectors are not finite in {self.dtype}, the first at layer {layer}, position {place!r}. "
                f"If the model itself gives finite values, keep them with --states-dtype float32; if not, try --dtype float32."
            )
