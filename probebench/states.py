"""Stored hidden states: safetensors shards of (layer, position, example, width), read cell by cell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError
from probebench.types import HiddenStates

INDEX = "index.safetensors"
"""Beside the shards: which tokens are present, and the names of layers and positions."""


@dataclass(frozen=True, slots=True)
class StatesReader:
    """Reads stored hidden states cell by cell; light enough to be sent to other processes.

    A cell is read as one contiguous slice per shard.
    """

    files: tuple[str, ...]
    """Shard files, each one safetensors tensor `<site>` of shape (layer, position, example, width)."""
    order: tuple[tuple[int, ...], ...]
    """Example index of each row of each shard."""
    layers: tuple[int, ...]
    positions: tuple[str, ...]
    present: NDArray[np.bool_]
    """(example, position)."""
    site: str = "resid"

    @classmethod
    def open(cls, folder: Path) -> StatesReader:
        """The stored states of a finished run.

        Raises:
            StatesError: the folder is not there or not whole.
        """
        from safetensors import SafetensorError, safe_open
        from safetensors.numpy import load_file

        try:
            with safe_open(folder / INDEX, framework="numpy") as index:
                head, present = json.loads(index.metadata()["index"]), index.get_tensor("present")
            files = tuple(str(folder / name) for name in head["files"])
            order = tuple(tuple(load_file(file)["example"].tolist()) for file in files)
        except (OSError, SafetensorError, KeyError) as error:
            raise StatesError(
                f"The hidden states in {folder} are not there or not whole ({error}). Run the same command again to make them."
            ) from None
        return cls(files, order, tuple(head["layers"]), tuple(head["positions"]), present.astype(bool), head["site"])

    def index(self) -> bytes:
        """What `open` needs, as safetensors."""
        from safetensors.numpy import save

        head = {
            "files": [Path(f).name for f in self.files],
            "layers": self.layers,
            "positions": self.positions,
            "site": self.site,
        }
        return bytes(save({"present": self.present}, metadata={"index": json.dumps(head)}))

    def cell(self, layer: int, position: str) -> NDArray[np.float32]:
        """(example, width) vectors of one cell; zeros where the position is absent."""
        from safetensors import safe_open

        row, column = self.layers.index(layer), self.positions.index(position)
        out: NDArray[np.float32] | None = None
        for file, rows in zip(self.files, self.order, strict=True):
            with safe_open(file, framework="numpy") as shard:
                part = shard.get_slice(self.site)[row : row + 1, column : column + 1][0, 0]
            if out is None:
                out = np.zeros((len(self.present), part.shape[1]), dtype=np.float32)
            out[list(rows)] = part
        if out is None:
            raise StatesError("These hidden states hold no examples.")
        return out

    def load(self) -> HiddenStates:
        """All cells at once, in memory."""
        from safetensors.numpy import load_file

        parts = [load_file(file)[self.site] for file in self.files]
        n_layers, n_positions, _, width = parts[0].shape
        values = np.zeros((len(self.present), n_layers, n_positions, width), dtype=parts[0].dtype)
        for part, rows in zip(parts, self.order, strict=True):
            values[list(rows)] = part.transpose(2, 0, 1, 3)
        return HiddenStates(values, self.present, self.layers, self.positions, self.site)


def states_bytes(values: NDArray[Any], site: str, rows: Sequence[int]) -> bytes:
    """One shard of hidden states as safetensors."""
    from safetensors.numpy import save

    index = np.asarray(rows, dtype=np.int64)
    # one metadata key only: with several, their order in the file would differ from run to run
    return bytes(save({site: np.ascontiguousarray(values), "example": index}, metadata={"axes": "layer, position, example, width"}))
