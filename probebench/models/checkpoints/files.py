"""Files of a model folder: whether they are whole, and what their names say, seen before any of
them is used.

A clone without git-lfs leaves pointers of 130 bytes under the names of weights and tokenizers, and
a download that was stopped leaves the beginning of a file. Both look like a model until it is read.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from probebench.errors import BadFileError, UsageError
from probebench.files import is_pointer, leads_nowhere
from probebench.models.checkpoints.zeros import Span, check_written
from probebench.text import listed

CONFIG, INDEX, WEIGHTS = "config.json", "model.safetensors.index.json", "model.safetensors"
GENERATION = "generation_config.json"
READ = (".json", ".safetensors", ".gguf", ".jinja", ".model", ".tiktoken", ".txt", ".py")
"""Endings of what may be read of a folder."""
LINKED = (
    "config.json",
    "tokenizer.json",
    "vocab.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    ".index.json",
    ".jinja",
    ".model",
    ".tiktoken",
)
"""Endings of the small files without which a model is another one, or none."""
LARGEST_HEADER = 100_000_000
"""Bytes that the header of a safetensors file may have, by its format."""


def check_pointers(folder: Path) -> None:
    """Complain about files of a model folder, or an adapter's, that are Git LFS pointers.

    Raises:
        BadFileError: some are.
    """
    names = sorted(
        p.name for p in folder.iterdir() if p.suffix in READ and p.is_file() and is_pointer(p)
    )
    if names:
        what = (
            "is a Git LFS pointer, not the file itself"
            if len(names) == 1
            else "are Git LFS pointers, not the files themselves"
        )
        raise BadFileError(
            f"{listed(names)} of {folder} {what}. Get the content there with: git lfs pull"
        )


def check_links(paths: Iterable[Path]) -> None:
    """Complain about links at whose end there is nothing, as a moved cache or a removed data set
    leaves them.

    Raises:
        BadFileError: with the first of them, and where it leads.
    """
    for path in paths:
        if (to := leads_nowhere(path)) is not None:
            raise BadFileError(
                f"{path} is a link to nothing: there is no {to}. Get that back, or copy the files "
                "themselves to where the links are."
            )


def check_small(folder: Path) -> None:
    """Complain about config and tokenizer files of a folder that are not there, though their names
    are.

    Raises:
        BadFileError: Git LFS pointers, or links to nothing.
    """
    check_links(p for p in sorted(folder.iterdir()) if p.name.endswith(LINKED))
    check_pointers(folder)


def check_weights(folder: Path) -> None:
    """Complain about a model folder whose safetensors weights are not all there, or not whole.

    Raises:
        UsageError: no weights, or only pickled ones.
        BadFileError: a part is missing, cut off or a link to nothing, or the list of parts cannot
            be read.
    """
    check_links([folder / WEIGHTS])
    if (folder / WEIGHTS).is_file():
        return check_safetensors(folder / WEIGHTS)
    parts = sorted(path.name for path in folder.glob("*.safetensors"))
    if (folder / INDEX).is_file():
        try:
            named = sorted(
                set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
            )
        except (ValueError, KeyError, AttributeError, TypeError):
            raise BadFileError(f"{folder / INDEX} does not list the weights of a model.") from None
        check_links(folder / name for name in named)
        if missing := [name for name in named if not (folder / name).is_file()]:
            raise BadFileError(
                f"{len(missing)} of {len(named)} weight files are missing in {folder}, the first "
                f"{missing[0]}."
            )
        for name in named:
            check_safetensors(folder / name)
        return None
    check_links(folder / name for name in parts)
    if parts:
        raise BadFileError(
            f"{folder} holds {', '.join(parts[:3])}, but neither {WEIGHTS} nor {INDEX}, which says "
            "what is where."
        )
    pickled = sorted(p for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
    for path in filter(Path.is_file, pickled):
        _check_zip(path)
    if pickled:
        raise UsageError(
            f"{folder} holds pickled weights only (.bin), which may run code when they are read; "
            "only safetensors are. To convert weights that you trust: "
            "AutoModelForCausalLM.from_pretrained(DIR, use_safetensors=False).save_pretrained(NEW)"
        )
    raise UsageError(
        f"{folder} is not a language model of transformers with safetensors weights: it holds no "
        f"{WEIGHTS}."
    )


def check_safetensors(path: Path) -> None:
    """Complain about a safetensors file that does not have the bytes its own header speaks of, or
    has zeros in their place; of each tensor a few bytes are read.

    Raises:
        BadFileError: it is empty, cut off, not filled, or no such file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        n = int.from_bytes(first, "little")
        if not any(first):
            begins = "is empty" if not size else "begins with zeros"
            raise BadFileError(f"{path} {begins}: its download did not finish. Get it again.")
        if n > LARGEST_HEADER or size < 8:
            raise BadFileError(
                f"{path} is no safetensors file: it begins with {first!r}. Get it again."
            )
        if 8 + n > size:
            raise BadFileError(
                f"{path} is cut off: it has {size:,} bytes, and its header alone {8 + n:,}. Get it "
                "again."
            )
        spans = _spans(path, file.read(n), 8 + n)
    whole = max((span.last for span in spans), default=8 + n)
    if size < whole:
        raise BadFileError(
            f"{path} is cut off: it has {size:,} of {whole:,} bytes. Its download did not finish; "
            "get it again."
        )
    if size > whole:
        raise BadFileError(
            f"{path} has {size:,} bytes, and its header speaks of {whole:,}. Get it again."
        )
    check_written(path, spans)


def _check_zip(path: Path) -> None:
    """Complain about pickled weights that are not all there: no conversion would read them."""
    with path.open("rb") as file:
        begins = file.read(2)
    if begins == b"PK" and not zipfile.is_zipfile(path):  # its table stands at the end
        raise BadFileError(
            f"{path} is cut off, or its end was never written: its download did not finish. Get it "
            "again, best as safetensors."
        )


def _spans(path: Path, header: bytes, data: int) -> list[Span]:
    """Where the tensors are, by the header of a safetensors file."""
    try:
        entries = {k: v for k, v in json.loads(header).items() if k != "__metadata__"}
        return [
            Span(name, tuple(v["shape"]), *(data + at for at in v["data_offsets"]))
            for name, v in entries.items()
        ]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise BadFileError(
            f"{path} is no safetensors file: its header is not a list of tensors. Get it again."
        ) from None


def check_json(folder: Path) -> None:
    """Complain about a config or tokenizer of a folder that is not whole JSON; asked when something
    could not be read.

    Raises:
        BadFileError: one is not.
    """
    for path in sorted(folder.glob("*.json")):
        read_json(path)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        BadFileError: it is not whole JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # broken UTF-8 too
        raise BadFileError(
            f"{path} is not JSON: {error}. It was cut off, or is another file; get it again."
        ) from None


def stop_tokens(path: Path) -> list[int]:
    """The tokens that end an answer, by a generation_config.json.

    Raises:
        BadFileError: it cannot be read, and a model that does not stop would go on without a word.
    """
    found = read_json(path)
    ids = found.get("eos_token_id") if isinstance(found, dict) else found
    ids = [] if ids is None else ids if isinstance(ids, list) else [ids]
    whole = all(isinstance(i, int | float) and i == int(i) for i in ids)
    if not isinstance(found, dict) or not whole:
        raise BadFileError(
            f"{path} must be an object whose eos_token_id is a number, or a list of numbers; got "
            f"{str(found)[:80]}."
        )
    return [int(i) for i in ids]


def rope_types(config: Any) -> set[str]:
    """Names of the position encodings that a config asks for, at any depth."""
    if isinstance(config, list):
        return {name for item in config for name in rope_types(item)}
    if not isinstance(config, dict):
        return set()
    found = set()
    for key, value in config.items():
        if key in ("rope_scaling", "rope_parameters") and isinstance(value, dict):
            # one for all layers, or one per kind of layer
            some = [value, *(part for part in value.values() if isinstance(part, dict))]
            named = (part.get("rope_type", part.get("type")) for part in some)
            found |= {name for name in named if isinstance(name, str)}
        else:
            found |= rope_types(value)
    return found
