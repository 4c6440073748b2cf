"""GGUF: one file with config, tokenizer and weights, as llama.cpp keeps them, mostly quantised.

Its header says what the file is and whether it is whole, before transformers is asked to make
anything of it.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from probebench.errors import BadFileError, UsageError
from probebench.models.checkpoints.files import is_pointer
from probebench.models.optional import need

MAGIC = b"GGUF"
VERSIONS = (2, 3)
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
OTHER_KINDS = {"adapter": "an adapter", "mmproj": "the part that sees or hears (mmproj)"}
PLAIN = ("F32", "F16", "BF16", "F64")
"""Types of tensors that are not quantised."""


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What the record says of a GGUF file."""

    file: str
    """Its name."""
    sha256: str
    quantization: str
    """`Q4_K_M` and the like, by the file's own word; else the type that most of its weights
    have."""

    @property
    def method(self) -> str:
        """How the weights were quantised, as the record says it of any model."""
        return "none" if self.quantization in PLAIN else f"gguf-{self.quantization}"

    @property
    def dtype(self) -> str:
        """What the weights are brought back to on a GPU: the file's own, of quantised ones
        bfloat16."""
        return {"F32": "float32", "F64": "float32", "F16": "float16"}.get(
            self.quantization, "bfloat16"
        )


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


def is_gguf(path: Path) -> bool:
    """Whether a file says that it is a GGUF file, by its name or its first bytes."""
    if path.suffix.lower() == ".gguf":
        return True
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def read_header(path: Path) -> Header:
    """The header of a GGUF file that holds a whole language model.

    Raises:
        UsageError: a file of another kind (an adapter, a part, what sees pictures), or `gguf` is
            not installed.
        BadFileError: it is a Git LFS pointer, cut off, or no GGUF file.
    """
    need("A GGUF file", "gguf", "accelerate")
    if is_pointer(path):
        raise BadFileError(
            f"{path} is a Git LFS pointer, not the file itself. Get the content there with: git "
            "lfs pull"
        )
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        if not any(first):
            raise BadFileError(
                f"{path} {'begins with zeros' if size else 'is empty'}: its download did not "
                "finish. Get it again."
            )
        number = int.from_bytes(first[4:], "little")
        if first[:4] != MAGIC or number not in VERSIONS:
            what = (
                f"has version {number} of GGUF" if first[:4] == MAGIC else f"begins with {first!r}"
            )
            raise BadFileError(
                f"{path} {what}; only versions {VERSIONS[0]} and {VERSIONS[1]}, little-endian, can "
                "be read."
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as blob:
            try:
                header = _Cursor(blob).header(path)
            except (struct.error, LookupError, UnicodeDecodeError, ArithmeticError):
                raise BadFileError(
                    f"{path} is cut off or damaged: it has {size:,} bytes, and its header more."
                ) from None
    _check_kind(header)
    _check_size(header, size)
    return header


class _Cursor:
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


def _check_kind(header: Header) -> None:
    fields, path = header.fields, header.path
    kind = str(fields.get("general.type", "model"))
    if fields.get("general.architecture") in (None, "clip"):
        kind = "mmproj"
    if kind != "model":
        raise UsageError(
            f"{path} holds no language model but {OTHER_KINDS.get(kind, repr(kind))}. Give the "
            "file of the model itself."
        )
    if int(fields.get("split.count", 1)) > 1:
        raise UsageError(
            f"{path} is one of {fields['split.count']} parts of a model, which transformers does "
            "not put together. Merge them with "
            f"llama.cpp's: llama-gguf-split --merge {path.name} whole.gguf"
        )


def _check_size(header: Header, size: int) -> None:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    whole = header.data
    for name, tensor in header.tensors.items():
        try:
            block, n_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]
        except (KeyError, ValueError):
            raise UsageError(
                f"{header.path}: the tensor {name!r} is of the type {tensor.kind}, which gguf "
                f"{version('gguf')} does not know. A newer one may: pip install -U gguf"
            ) from None
        whole = max(whole, header.data + tensor.offset + math.prod(tensor.shape) // block * n_bytes)
    if size < whole:
        raise BadFileError(
            f"{header.path} is cut off: it has {size:,} of {whole:,} bytes. Its download did not "
            "finish; get it again."
        )


def facts(header: Header) -> GgufFacts:
    """Name, checksum and quantisation of a file; reads all of it once."""
    with header.path.open("rb") as file:
        return GgufFacts(
            header.path.name, hashlib.file_digest(file, "sha256").hexdigest(), quantization(header)
        )


def quantization(header: Header) -> str:
    """`Q4_K_M` and the like: what the file says that it mostly is, else the type of most of its
    weights."""
    from gguf import GGMLQuantizationType, LlamaFileType

    try:
        name = str(LlamaFileType(header.fields["general.file_type"]).name)
        if name != "GUESSED":
            return name.removeprefix("MOSTLY_").removeprefix("ALL_")
    except (KeyError, ValueError):
        pass
    sizes: dict[str, int] = {}
    for tensor in header.tensors.values():
        kind = str(GGMLQuantizationType(tensor.kind).name)
        sizes[kind] = sizes.get(kind, 0) + math.prod(tensor.shape)
    return max(sizes, key=lambda kind: sizes[kind])
