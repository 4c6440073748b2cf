"""What transformers makes of a GGUF file: config, tokenizer and ordinary weights, and what it would
pass over without a word."""

from __future__ import annotations

import math
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import BadFileError, UsageError
from probebench.models.checkpoints.gguf_header import Header

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TRUSTED = "5.23"
"""Version of transformers whose tokenizers of GGUF files are those of the folder; 5.0 leaves
special tokens in pieces."""
FACTORS = "rope_freqs.weight"
"""By how much each frequency of the rotary embedding is slowed, as Llama 3.1 and later have it."""
NOT_READ = ("rope_factors_long.weight", "rope_factors_short.weight")
"""The same for long and short texts, as Phi-3 has it."""


def config_of(header: Header) -> Any:
    """The model's config, as transformers makes it from the header.

    It is given the header without vocabulary and merges, over which it would spend half a minute,
    and no tensors.

    Raises:
        UsageError: an architecture that it does not read from GGUF, positions that it would read
            wrongly, or a transformers whose tokens would be wrong.
    """
    if find_spec("transformers.integrations.gguf") is None:
        raise UsageError(
            f"transformers {version('transformers')} cuts the text of GGUF files into other tokens "
            "than their models know. A newer "
            f"one does not: pip install -U 'transformers>={TRUSTED}'"
        )
    from transformers import AutoConfig
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    try:
        with tempfile.TemporaryDirectory() as folder:
            config = AutoConfig.from_pretrained(
                folder, gguf_file=str(_without_lists(header, Path(folder)))
            )
    except ValueError as error:
        if "not supported" not in str(error):
            raise
        raise UsageError(
            f"{header.path.name} has the architecture {header.architecture!r}, which transformers "
            f"{version('transformers')} does not read from GGUF; it reads "
            f"{', '.join(sorted(GGUF_SUPPORTED_ARCHITECTURES))}. Give the folder it was made from."
        ) from None
    return _positions(header, config)


def _without_lists(header: Header, folder: Path) -> Path:
    """A file of the same header without its lists of texts, and with as many bytes for the tensors,
    none of them written."""
    path, dropped = folder / "header.gguf", [n for n in header.lists if n.startswith("tokenizer.")]
    try:
        from transformers.integrations.gguf import GGUF_CONFIG_ARCHS

        # read quickly already, and with the vocabulary's length
        if header.architecture in GGUF_CONFIG_ARCHS:
            return header.path
    except ImportError:
        pass
    with header.path.open("rb") as file:
        whole = file.read(header.table[1])
    kept, at = [], header.entries[0]
    for name in dropped:
        begins, ends = header.lists[name]
        kept.append(whole[at:begins])
        at = ends
    kept.append(whole[at : header.entries[1]])
    n_fields, extra = len(header.fields) - len(dropped), b""
    if header.value("vocab_size") is None and "tokenizer.ggml.tokens" in header.fields:
        key = f"{header.architecture}.vocab_size".encode()
        extra = (
            struct.pack("<Q", len(key))
            + key
            + struct.pack("<II", 4, header.fields["tokenizer.ggml.tokens"])
        )
        n_fields += 1
    content = (
        whole[:16]
        + struct.pack("<Q", n_fields)
        + b"".join(kept)
        + extra
        + whole[slice(*header.table)]
    )
    step = int(header.fields.get("general.alignment", 32))
    path.write_bytes(content + bytes(-len(content) % step))
    os.truncate(path, path.stat().st_size + header.path.stat().st_size - header.data)
    return path


def _positions(header: Header, config: Any) -> Any:
    """The config with what the file says of its rotary embedding and transformers does not read.

    Factors per frequency become the kind of embedding that takes such factors for short and long
    texts, the same for both.
    """
    scaling = header.value("rope.scaling.type")
    parameters = getattr(config, "rope_parameters", None)
    if unread := [name for name in NOT_READ if name in header.tensors]:
        scaling = unread[0]
    if header.architecture in ("gpt-oss", "gpt_oss") or (
        scaling in (None, "none") and FACTORS not in header.tensors
    ):
        return config
    if not isinstance(parameters, dict) or scaling not in (None, "none", "linear"):
        raise UsageError(
            f"{header.path.name} changes its positions by {scaling or FACTORS!r}, which "
            f"transformers {version('transformers')} does not read from GGUF: its states would be "
            "those of another model. Give the folder that it was made from."
        )
    changed: dict[str, Any] = {
        "rope_type": "linear",
        "factor": float(header.value("rope.scaling.factor") or 1.0),
    }
    if FACTORS in header.tensors:
        factors, longest = _floats(header, FACTORS).tolist(), config.max_position_embeddings
        changed = {
            "rope_type": "longrope",
            "short_factor": factors,
            "long_factor": factors,
            "attention_factor": 1.0,
            "factor": 1.0,
            "original_max_position_embeddings": longest,
        }
    if "full_attention" in parameters:  # layers with a window keep theirs
        changed = {"full_attention": {**parameters["full_attention"], **changed}}
    config.rope_parameters = {**parameters, **changed}
    return config


def _floats(header: Header, name: str) -> NDArray[np.float32]:
    """A tensor of 32-bit numbers."""
    tensor = header.tensors[name]
    if tensor.kind != 0:
        raise BadFileError(f"{header.path}: the tensor {name!r} should be of 32-bit numbers.")
    return np.fromfile(
        header.path, "<f4", math.prod(tensor.shape), offset=header.data + tensor.offset
    )


def tokenizer_of(header: Header, config: Any) -> PreTrainedTokenizerBase:
    """The tokenizer that the file holds, with its chat template.

    `AutoTokenizer` would choose the same class, but make the config again first.
    """
    from transformers import TOKENIZER_MAPPING, PreTrainedTokenizerFast

    kind = TOKENIZER_MAPPING.get(type(config), None)
    if isinstance(kind, tuple):  # in earlier versions a slow one and a fast one
        kind = kind[-1]
    with alone(header) as where:
        tokenizer: PreTrainedTokenizerBase = (kind or PreTrainedTokenizerFast).from_pretrained(
            where["folder"], gguf_file=where["file"]
        )
    return tokenizer


def stop_tokens(header: Header) -> list[int]:
    """Tokens that end an answer or a turn, by the file."""
    names = (f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))
    return [int(i) for name in names if (i := header.fields.get(name)) is not None]


def loading_options() -> dict[str, Any]:
    """For `from_pretrained`: ordinary weights, also where there are kernels for quantised ones."""
    import transformers

    kind = getattr(transformers, "GgufConfig", None)  # earlier versions know no other way
    return {} if kind is None else {"quantization_config": kind(dequantize=True)}


@contextmanager
def alone(header: Header) -> Iterator[dict[str, str]]:
    """`folder` and `file` for transformers: an empty folder, so that nothing beside the file is
    read in place of it.

    Its bar over the tensors is not shown: it asks nobody whether bars are wanted.
    """
    from transformers import modeling_gguf_pytorch_utils as legacy

    shown = legacy.tqdm
    legacy.tqdm = lambda items, **options: items
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield {"folder": folder, "file": str(header.path.resolve())}
    finally:
        legacy.tqdm = shown
