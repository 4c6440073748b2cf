"""Stored hidden states, read cell by cell from safetensors shards of (layer, position, example,
width)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError, UnknownNameError
from probebench.files import elsewhere, located
from probebench.states.shards import AGAIN, Shard
from probebench.types import HiddenStates, layer_name

AT_ONCE = 8
"""Files elsewhere that are read from at the same time."""
INDEX = "index.safetensors"
"""Beside the shards: which tokens are present, and the names of sites, layers and positions."""

T = TypeVar("T")
X = TypeVar("X")


@dataclass(frozen=True, slots=True)
class SiteLayout:
    """What is stored of one site."""

    layers: tuple[int, ...]
    """Block indices along the first axis, `EMB` (-1) for the embedding output; layers without the
    site are left out."""
    widths: tuple[int, ...]
    """Width of each layer's vectors; the rest of the last axis, up to the widest layer, is zero."""


@dataclass(frozen=True)
class StatesReader:
    """Reads stored hidden states cell by cell; light enough to be sent to other processes.

    A cell is read as one contiguous slice per shard, elsewhere as one range of its bytes.
    """

    files: tuple[str, ...]
    """Shard files, each with one safetensors tensor `<site>` of shape (layer, position, example,
    width) per site."""
    order: tuple[tuple[int, ...], ...]
    """Example index of each row of each shard."""
    sites: Mapping[str, SiteLayout]
    positions: tuple[str, ...]
    present: NDArray[np.bool_]
    """(example, position)."""

    def __repr__(self) -> str:
        """One line: the rows of its shards are thousands of numbers."""
        sites = ", ".join(f"{name} x {len(at.layers)} layers" for name, at in self.sites.items())
        n, positions = len(self.present), len(self.positions)
        return f"<StatesReader: {n:,} examples x {positions} positions, {sites}>"

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """The files, opened."""
        return tuple(_each(Shard, self.files, self.files))

    @classmethod
    def open(cls, folder: Path) -> StatesReader:
        """The stored states of a finished run.

        Raises:
            StatesError: they are not there or not whole.
        """
        try:
            index = Shard(folder / INDEX)
            head, present = json.loads(index.metadata["index"]), index.raw("present")
            files = tuple(str(folder / name) for name in head["files"])
            order = _each(lambda f: tuple(Shard(f).raw("example").tolist()), files, files)
            sites = {
                name: SiteLayout(tuple(at["layers"]), tuple(at["widths"]))
                for name, at in head["sites"].items()
            }
            return cls(files, tuple(order), sites, tuple(head["positions"]), np.array(present))
        except StatesError as error:  # which names the file, and may say what to do
            said = str(error)
            again = "" if said.endswith(AGAIN) else f" {AGAIN}"
            raise StatesError(f"{said}{again}") from None
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise StatesError(
                f"The hidden states in {folder} are not there or not whole ({error}). {AGAIN}"
            ) from None

    def index(self) -> bytes:
        """What `open` needs, as safetensors."""
        from safetensors.numpy import save

        head = {
            "files": [Path(f).name for f in self.files],
            "sites": {
                name: {"layers": at.layers, "widths": at.widths} for name, at in self.sites.items()
            },
            "positions": self.positions,
        }
        return bytes(save({"present": self.present}, metadata={"index": json.dumps(head)}))

    def site(self, name: str) -> SiteLayout:
        """Layers and widths of one site.

        Raises:
            UnknownNameError: a site that was not read.
        """
        if name not in self.sites:
            raise UnknownNameError("site", name, self.sites)
        return self.sites[name]

    def there(self, position: str) -> NDArray[np.bool_]:
        """(example,) which examples have this token.

        Raises:
            UnknownNameError: a position that was not read.
        """
        mask: NDArray[np.bool_] = self.present[:, self._column(position)]
        return mask

    def _column(self, position: str) -> int:
        """Where a position stands along the second axis of a site."""
        if position not in self.positions:
            raise UnknownNameError("position", position, self.positions)
        return self.positions.index(position)

    def _row(self, layer: int | str, site: str) -> int:
        """Where a layer stands along the first axis of a site."""
        names = [layer_name(there) for there in self.site(site).layers]
        name = layer if isinstance(layer, str) else layer_name(layer)
        if name not in names:
            raise UnknownNameError(f"layer of {site}", name, names)
        return names.index(name)

    def cell(self, layer: int | str, position: str, site: str = "resid") -> NDArray[np.float32]:
        """(example, width) vectors of one cell; zeros where the position is absent.

        A layer may be named as records name it: `"7"`, `"emb"`.

        Raises:
            UnknownNameError: a site, layer or position that was not read.
        """
        at, row = self.site(site), self._row(layer, site)
        column = self._column(position)
        out = np.zeros((len(self.present), at.widths[row]), dtype=np.float32)
        parts = _each(lambda shard: shard.vectors(site, row, column), self.shards, self.files)
        for part, rows in zip(parts, self.order, strict=True):
            out[list(rows)] = part[:, : at.widths[row]]
        return out

    def alike(self, layer: int | str, site: str = "resid") -> dict[str, str]:
        """Position -> the first one with the same vectors in all examples, to the bit, and the same
        ones absent: mostly itself.

        Two positions are often one token throughout, such as the last of a statement. Only what is
        alike so far is read on.

        Raises:
            UnknownNameError: a site or layer that was not read.
        """
        row = self._row(layer, site)
        groups = _parted(
            [list(self.positions)], dict(zip(self.positions, self.present.T, strict=True))
        )
        for shard in self.shards:
            if len(groups) == len(self.positions):
                break
            vectors = shard.raw(site, row)  # (position, example, width)
            groups = _parted(groups, dict(zip(self.positions, vectors, strict=True)))
        return {name: names[0] for names in groups for name in names}

    def load(self, site: str = "resid") -> HiddenStates:
        """All cells of one site at once, in memory; what is stored as bfloat16 comes as float32."""
        at = self.site(site)
        values: NDArray[Any] | None = None
        for shard, rows in zip(self.shards, self.order, strict=True):
            part = shard.vectors(site)
            if values is None:
                values = np.zeros(
                    (len(self.present), *part.shape[:2], part.shape[3]), dtype=part.dtype
                )
            values[list(rows)] = part.transpose(2, 0, 1, 3)
        if values is None:
            raise StatesError("These hidden states hold no examples.")
        return HiddenStates(values, self.present, at.layers, self.positions, site)


def _each(do: Callable[[T], X], items: Iterable[T], files: Sequence[str]) -> list[X]:
    """What is read of each shard; elsewhere of several at a time, where most of it is waiting."""
    if not files or not elsewhere(located(files[0])):
        return list(map(do, items))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(do, items))


def _parted(groups: list[list[str]], held: Mapping[str, NDArray[Any]]) -> list[list[str]]:
    """Groups parted by what their members hold, to the bit; who is alone is not looked at."""
    out: list[list[str]] = []
    for names in groups:
        parts: dict[bytes, list[str]] = {}
        for name in names:
            parts.setdefault(held[name].tobytes() if len(names) > 1 else b"", []).append(name)
        out += parts.values()
    return out
