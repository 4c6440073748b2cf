"""Weights that were never written: a file whose place on the disk was taken before its bytes came.

Such a file has its full size and its header, and zeros where the download stopped. Reading it all
would tell; here each matrix is looked at in five places.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from probebench.errors import BadFileError

MATRIX = 4096
"""Bytes from which on a matrix is looked at; smaller ones may be zero."""
SLICE, SLICES = 512, 5
"""Bytes read at once, and in how many places of a tensor: its beginning, quarters and end."""
OFTEN_ZERO = re.compile(r"bias|zero|scale|absmax|g_idx|token_type|^base_model\.(?!.*lora_A)")
"""Tensors that are zero in whole files too: zero points of symmetric quantisation, and all but the
first factor of an adapter, which begins where the base model is."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a tensor is in its file."""

    name: str
    shape: tuple[int, ...]
    first: int
    """Byte where it begins."""
    last: int
    """The one after its last."""

    @property
    def full(self) -> bool:
        """Whether it is a matrix that training leaves nowhere at zero."""
        large = self.last - self.first >= MATRIX and sum(n > 1 for n in self.shape) > 1
        return large and not OFTEN_ZERO.search(self.name)


def check_written(path: Path, spans: Iterable[Span]) -> None:
    """Complain about a file of weights of which a part was never written.

    That is so where zeros cover a whole matrix or more and begin or end inside a tensor beside it;
    where the file ends in several matrices of zeros; and where its last matrix is zero from its
    middle on. Matrices that are zero from their first byte to their last may be meant: blocks
    that were added to a trained model begin so, and experts that were pruned.

    Raises:
        BadFileError: with the first weight that is not there.
    """
    placed = sorted((s for s in spans if s.last > s.first), key=lambda s: s.first)
    with path.open("rb") as file:
        filled = [_filled(file, span) for span in placed]
    found = _hole(placed, filled)
    if found is not None:
        what = "zeros in its second half" if any(filled[found]) else "nothing but zeros"
        shape = " x ".join(map(str, placed[found].shape))
        raise BadFileError(
            f"{path} has its full size, but a part of it was never written: "
            f"{placed[found].name!r} ({shape}) has {what}. Its download did not finish; get it "
            "again."
        )


def _filled(file: BinaryIO, span: Span) -> tuple[bool, ...]:
    """Whether there is anything but zeros in each place that is looked at."""
    width = span.last - span.first
    if width <= SLICE * SLICES:
        file.seek(span.first)
        content = file.read(width)
        n = math.ceil(width / SLICES)
        return tuple(any(content[k * n : (k + 1) * n]) for k in range(SLICES))
    found = []
    for k in range(SLICES):
        file.seek(span.first + k * (width - SLICE) // (SLICES - 1))
        found.append(any(file.read(SLICE)))
    return tuple(found)


def _hole(placed: list[Span], filled: list[tuple[bool, ...]]) -> int | None:
    """The first matrix that was not written."""
    at, n = 0, len(placed)
    while at < n:
        end = at
        while end < n and not any(filled[end]):
            end += 1
        empty = [i for i in range(at, end) if placed[i].full]
        cut = (at > 0 and not filled[at - 1][-1]) or (end < n and not filled[end][0])
        if empty and (cut or (end == n and len(empty) > 1)):
            return empty[0]
        at = end + 1
    last = next((i for i in reversed(range(n)) if placed[i].full or any(filled[i])), None)
    if last is None or not placed[last].full or not any(filled[last]):
        return None
    return None if any(filled[last][SLICES // 2 :]) else last
