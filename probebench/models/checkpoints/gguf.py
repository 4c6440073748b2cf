"""GGUF: one file with config, tokenizer and weights, as llama.cpp keeps them, mostly quantised.

Its header says what the file is and whether it is whole, before transformers is asked to make
anything of it.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import re
import struct
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from probebench.errors import BadFileError, UsageError
from probebench.files import is_pointer
from probebench.models.checkpoints.gguf_header import Cursor, Header
from probebench.models.checkpoints.zeros import Span, check_written
from probebench.models.optional import need

MAGIC = b"GGUF"
VERSIONS = (2, 3)
OTHER_KINDS = {"adapter": "an adapter", "mmproj": "the part that sees or hears (mmproj)"}
BLOCK = re.compile(r"blk\.(\d+)\.")
"""Number of the block that a tensor is of."""
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
                header = Cursor(blob).header(path)
            except (struct.error, LookupError, UnicodeDecodeError, ArithmeticError):
                raise BadFileError(
                    f"{path} is cut off or damaged: it has {size:,} bytes, and its header more."
                ) from None
    _check_kind(header)
    _check_size(header, size)
    _check_blocks(header)
    return header


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

    spans = []
    for name, tensor in header.tensors.items():
        try:
            block, n_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]
        except (KeyError, ValueError):
            raise UsageError(
                f"{header.path}: the tensor {name!r} is of the type {tensor.kind}, which gguf "
                f"{version('gguf')} does not know. A newer one may: pip install -U gguf"
            ) from None
        first = header.data + tensor.offset
        last = first + math.prod(tensor.shape) // block * n_bytes
        spans.append(Span(name, tensor.shape, first, last))
    whole = max((span.last for span in spans), default=header.data)
    if size < whole:
        raise BadFileError(
            f"{header.path} is cut off: it has {size:,} of {whole:,} bytes. Its download did not "
            "finish; get it again."
        )
    check_written(header.path, spans)


def _check_blocks(header: Header) -> None:
    """transformers takes as many blocks as the header says, and drops the others without a word."""
    said = header.value("block_count")
    numbers = {int(m[1]): name for name in header.tensors if (m := BLOCK.match(name))}
    if isinstance(said, int) and numbers and max(numbers) >= said:
        raise BadFileError(
            f"{header.path} says that it has {said} blocks, and holds weights of "
            f"{max(numbers) + 1}, {numbers[max(numbers)]!r} among them. Header and weights do not "
            "belong together: get the file again."
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
