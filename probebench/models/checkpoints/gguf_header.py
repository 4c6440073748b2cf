"""The header of a GGUF file, read from front to back."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STRING, ARRAY = 8, 9
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
"""Types of a header's values, as `struct` calls them."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file."""

    shape: tuple[int, ...]
    """As the file has it: the fastest axis first."""
    kind: int
    """Type by its number in GGUF."""
    offset: int
    """Bytes from where the tensors begin."""


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What a GGUF file says before its tensors."""

    path: Path
    fields: Mapping[str, Any]
    """Numbers, texts and truth values by name; of a list its length."""
    lists: Mapping[str, tuple[int, int]]
    """First byte, and the one after the last, of each entry that is a list."""
    entries: tuple[int, int]
    """The same of all entries together."""
    tensors: Mapping[str, Tensor]
    table: tuple[int, int]
    """The same of the list of tensors."""
    data: int
    """Byte where the tensors begin."""

    @property
    def architecture(self) -> str:
        """In llama.cpp's words."""
        return str(self.fields["general.architecture"])

    def value(self, name: str) -> Any:
        """A field of the architecture; None where it is not there."""
        return self.fields.get(f"{self.architecture}.{name}")


class Cursor:
    """Reads a header from front to back; long lists are passed over, for a vocabulary takes longer
    than all else."""

    def __init__(self, blob: mmap.mmap) -> None:
        self.blob, self.at = blob, 8

    def number(self, code: str) -> Any:
        """One number."""
        (value,) = struct.unpack_from(f"<{code}", self.blob, self.at)
        self.at += struct.calcsize(f"<{code}")
        return value

    def text(self) -> str:
        """One text."""
        n = self.number("Q")
        self.at += n
        if self.at > len(self.blob):
            raise IndexError
        return self.blob[self.at - n : self.at].decode("utf-8")

    def value(self, kind: int) -> Any:
        """One value; of a list its length."""
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            return self.number(SCALARS[kind])
        inner, n = self.number("I"), self.number("Q")
        if inner == STRING:
            for _ in range(n):
                (length,) = struct.unpack_from("<Q", self.blob, self.at)
                self.at += 8 + length
        elif inner == ARRAY:
            for _ in range(n):
                self.value(ARRAY)
        else:
            self.at += n * struct.calcsize(f"<{SCALARS[inner]}")
        return n

    def header(self, path: Path) -> Header:
        """All of it."""
        n_tensors, n_fields = self.number("Q"), self.number("Q")
        start, fields, lists = self.at, {}, {}
        for _ in range(n_fields):
            begins, name = self.at, self.text()
            kind = self.number("I")
            if kind not in (*SCALARS, STRING, ARRAY):
                raise IndexError
            fields[name] = self.value(kind)
            if kind == ARRAY:
                lists[name] = begins, self.at
        middle, tensors = self.at, {}
        for _ in range(n_tensors):
            name, n = self.text(), self.number("I")
            shape = tuple(self.number("Q") for _ in range(n))
            tensors[name] = Tensor(shape, self.number("I"), self.number("Q"))
        step = int(fields.get("general.alignment", 32))
        return Header(
            path,
            fields,
            lists,
            (start, middle),
            tensors,
            (middle, self.at),
            -(-self.at // step) * step,
        )
