"""One shard of hidden states: a safetensors file, written in one piece and read by memory map,
without torch.

numpy has no bfloat16. Its bits are kept as uint16, the upper half of a float32, and widened to
float32 when they are read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError
from probebench.files import elsewhere, located, read_range

STATE_DTYPES = ("float16", "bfloat16", "float32")
"""What vectors can be stored as."""
CODES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
"""Name -> what safetensors calls it."""
HELD: dict[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "F16": np.float16,
    "BF16": np.uint16,
    "F32": np.float32,
    "F64": np.float64,
    "I64": np.int64,
}
"""What safetensors calls it -> how numpy holds it."""
NAMES = {code: name for name, code in CODES.items()}
FIRST = 4096
"""Bytes of a file elsewhere that are asked for first: most descriptions of tensors are shorter."""
SCORES = "scores"
"""The tensor of what the model says of the tokens of given answers, read in the same pass."""


def host_dtype(name: str) -> np.dtype[Any]:
    """How numpy holds vectors that are stored as `name`; the bits of bfloat16 as uint16."""
    return np.dtype(HELD[CODES[name]])


def read_dtype(name: str) -> np.dtype[Any]:
    """What vectors that are stored as `name` are read as: bfloat16 as float32, which holds every
    one of its values."""
    return np.dtype(np.float32 if name == "bfloat16" else name)


def to_bfloat16(values: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    """Bits of the nearest bfloat16, ties to even; what is not finite stays so, and what is too
    large becomes infinite."""
    single = np.ascontiguousarray(values, dtype=np.float32)
    bits = single.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    # rounding could turn a NaN into something else
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(single), quiet, rounded).astype(np.uint16)


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The values of bfloat16 bits."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def widened(values: NDArray[Any]) -> NDArray[Any]:
    """Vectors as numbers: bits of bfloat16 as float32, all others as they are."""
    return from_bfloat16(values) if values.dtype == np.uint16 else values


def header_of(
    shapes: Mapping[str, Sequence[int]], dtype: str, n_rows: int, n_scored: int | None = None
) -> bytes:
    """The first bytes of a shard: everything before its numbers.

    Args:
        shapes: site -> (layer, position, example, width).
        dtype: one of `STATE_DTYPES`.
        n_rows: examples in the shard.
        n_scored: tokens with scores; None: it holds no scores.
    """
    # one metadata key only: with several, a reader that writes them again may change their order
    head: dict[str, Any] = {"__metadata__": {"axes": "layer, position, example, width"}}
    at = 0
    scores = {} if n_scored is None else {SCORES: ("F32", (3, n_scored), 4)}
    sizes = {"example": ("I64", (n_rows,), 8), **scores} | {
        site: (CODES[dtype], tuple(shape), host_dtype(dtype).itemsize)
        for site, shape in shapes.items()
    }
    for name, (code, shape, size) in sizes.items():
        end = at + size * int(np.prod(shape, dtype=np.int64))
        head[name] = {"dtype": code, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def shard_size(
    shapes: Mapping[str, Sequence[int]], dtype: str, n_rows: int, n_scored: int | None = None
) -> int:
    """Bytes of a shard's file, exactly; arguments as in `header_of`."""
    values = (
        sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values())
        * host_dtype(dtype).itemsize
    )
    head = header_of(shapes, dtype, n_rows, n_scored)
    return len(head) + 8 * n_rows + 4 * 3 * (n_scored or 0) + values


def states_bytes(
    values: Mapping[str, NDArray[Any]],
    rows: Sequence[int],
    scores: NDArray[np.float32] | None = None,
) -> bytes:
    """One shard as safetensors: one tensor per site, which examples they are, and their scores.

    Args:
        values: site -> (layer, position, example, width); uint16 holds the bits of bfloat16.
        rows: index of each example.
        scores: (log-probability | logit | entropy, token) of the tokens of one example after the
            other, where they were read in the same pass.
    """
    example = np.asarray(rows, dtype=np.int64)
    arrays = {site: np.ascontiguousarray(part) for site, part in values.items()}
    dtype = _name(next(iter(arrays.values())).dtype) if arrays else "float32"
    head = header_of(
        {site: part.shape for site, part in arrays.items()},
        dtype,
        len(example),
        None if scores is None else scores.shape[1],
    )
    first = [example] if scores is None else [example, np.ascontiguousarray(scores)]
    # joined, so that beside the arrays there is one copy of the shard and not several
    return b"".join(
        [head, *(part.view(np.uint8).data for part in (*first, *arrays.values()) if part.size)]
    )


def read_states_bytes(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of `states_bytes` again, by site; scores under `SCORES`."""
    start = 8 + int.from_bytes(content[:8], "little")
    head = json.loads(content[8:start])
    return {
        site: np.frombuffer(
            content[start + t["data_offsets"][0] : start + t["data_offsets"][1]],
            dtype=HELD[t["dtype"]],
        ).reshape(t["shape"])
        for site, t in head.items()
        if site not in ("__metadata__", "example")
    }


def _name(dtype: np.dtype[Any]) -> str:
    """The name of stored vectors that numpy holds so."""
    name = "bfloat16" if dtype == np.uint16 else dtype.name
    if name not in CODES:
        raise ValueError(f"Hidden states are stored as {', '.join(STATE_DTYPES)}; got {dtype}.")
    return name


AGAIN = "Run the same command again to make them."
"""What to do where hidden states cannot be read."""


class Shard:
    """One file of hidden states, read by memory map, or elsewhere by ranges of bytes.

    Raises:
        StatesError: a file that is not there, is not safetensors, or is not whole.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self.path = located(file)
        self.file = str(self.path)
        try:
            size = self.path.stat().st_size
            head, self.start = self._head(size)
            self.metadata: dict[str, str] = head.pop("__metadata__", {})
            self.tensors = {
                name: (str(t["dtype"]), tuple(t["shape"]), tuple(t["data_offsets"]))
                for name, t in head.items()
            }
            end = max((offsets[1] for _, _, offsets in self.tensors.values()), default=0)
            if self.start + end != size:
                raise ValueError(f"{size:,} bytes instead of {self.start + end:,}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise StatesError(
                f"The hidden states in {self.file} are not there or not whole ({reason})."
            ) from None

    def _head(self, size: int) -> tuple[dict[str, Any], int]:
        """The description of its tensors, and where their numbers begin."""
        if elsewhere(self.path):
            first = read_range(self.path, 0, min(FIRST, size))
            n = int.from_bytes(first[:8], "little")
            if len(first) < 8 + n <= size:
                first += read_range(self.path, len(first), 8 + n)
        else:
            with self.path.open("rb") as opened:
                first = opened.read(8)
                n = int.from_bytes(first, "little")
                first += opened.read(min(n, size))
        if n > size:
            raise ValueError("its first bytes say that it is longer than it is")
        return json.loads(first[8 : 8 + n]), 8 + n

    def dtype(self, name: str) -> str:
        """How safetensors calls a tensor's type, such as `BF16`."""
        return self.tensors[name][0]

    def shape(self, name: str) -> tuple[int, ...]:
        """Of one tensor."""
        return self.tensors[name][1]

    def raw(self, name: str, *at: int) -> NDArray[Any]:
        """A tensor as it is in the file, or its part at some first indices; nothing is read until
        it is looked at. Elsewhere that part is read at once, and nothing else.

        Raises:
            StatesError: a tensor that is not there, or of a type that hidden states are not stored
                as.
        """
        if name not in self.tensors or self.tensors[name][0] not in HELD:
            what = (
                f"holds {name!r} as {self.dtype(name)}"
                if name in self.tensors
                else f"has no {name!r}"
            )
            raise StatesError(f"{self.file} {what}. {AGAIN}")
        code, whole, (begin, _) = self.tensors[name]
        shape, dtype = whole[len(at) :], np.dtype(HELD[code])
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        begin += self.start + (int(np.ravel_multi_index(at, whole[: len(at)])) * size if at else 0)
        if not size:
            return np.zeros(shape, dtype=dtype)
        try:
            if elsewhere(self.path):
                content = read_range(self.path, begin, begin + size)
                return np.frombuffer(content, dtype).reshape(shape)
            return np.memmap(self.file, dtype=dtype, mode="r", offset=begin, shape=shape)
        except (OSError, ValueError) as error:
            raise StatesError(f"{self.file} cannot be read: {error}.") from None

    def vectors(self, name: str, *at: int) -> NDArray[Any]:
        """A tensor, or its part at some first indices, as numbers; bfloat16 as float32."""
        return widened(np.asarray(self.raw(name, *at)))
