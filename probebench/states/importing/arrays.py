"""Files of hidden states made elsewhere: one array per answer, read and held against the answer's
own tokens.

A folder with `examples.jsonl`, one row {"id", "file", "key"} per answer, and safetensors or npz
files beside it; or one such file, whose keys are the ids. Each key names two tensors: `<key>`,
(layer, token, width) floats over the whole sequence prompt + answer, and `<key>.ids`, (token,) the
ids that the model was fed. A tensor `layers`, or `layers` in a row of `examples.jsonl`, names the
layers where they are not all there: block numbers, -1 or `emb` for the stream before block 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import BadFileError
from probebench.tasks.local.rows import read_rows
from probebench.types import EMB

LAYERS = "layers"
"""Tensor that names the layers of a file."""


@dataclass(frozen=True, slots=True)
class Array:
    """Where one answer's states are."""

    file: Path
    key: str
    ids: str | None = None
    """Name of the tensor of token ids; None: the key with `.ids` behind it."""
    token_first: bool = False
    """The axes are (token, layer, width), as vLLM has them, and not (layer, token, width)."""
    layers: tuple[int, ...] | None = None
    """Layers of its layer axis, where they are named."""

    @property
    def ids_name(self) -> str:
        """Name of the tensor of token ids."""
        return self.ids or f"{self.key}.ids"


def find_arrays(
    path: Path, key: str = "", ids: str = "", token_first: bool = False
) -> dict[str, Array]:
    """Where each answer's states are, by the answer's id.

    Args:
        path: a folder with `examples.jsonl`, or one file.
        key, ids: names of the tensors where every file has the same; a row then needs no key.
        token_first: see `Array`.

    Raises:
        BadFileError: no such folder or file, or one that names what is not there.
    """
    if path.is_dir():
        if not (path / "examples.jsonl").is_file():
            raise BadFileError(
                f'{path} has no examples.jsonl, with one row {{"id", "file", "key"}} per answer. '
                "See docs/states.md."
            )
        found: dict[str, Array] = {}
        for row in read_rows(path / "examples.jsonl"):
            needed = ("id", "file") if key else ("id", "file", "key")
            if missing := [name for name in needed if name not in row.fields]:
                raise BadFileError(
                    f"{row.where}: {missing[0]!r} is missing; each row needs {', '.join(needed)}."
                )
            name, file = str(row.fields["id"]), path / str(row.fields["file"])
            if name in found:
                raise BadFileError(
                    f"{row.where}: the id {name!r} stands in an earlier row too; ids must be "
                    "unique."
                )
            if not file.resolve().is_relative_to(path.resolve()) or not file.is_file():
                raise BadFileError(
                    f"{row.where}: the file {row.fields['file']!r} is not in {path}."
                )
            own = key or str(row.fields["key"])
            named = (
                _layers(row.where, row.fields["layers"])
                if row.fields.get("layers") is not None
                else None
            )
            found[name] = Array(file, own, ids or None, token_first, named)
        return found
    if not path.is_file():
        raise BadFileError(
            f"{path} is not there. Give an .npz or .safetensors file, or a folder with "
            "examples.jsonl."
        )
    names: list[str] = _open(path, lambda names, get: list(names))
    return {
        name: Array(path, name) for name in names if not name.endswith(".ids") and name != LAYERS
    }


def _layers(where: str, value: Any) -> tuple[int, ...]:
    """Layers as a file names them: numbers, or text such as `emb`."""
    values = value.split(",") if isinstance(value, str) else np.asarray(value).ravel().tolist()
    try:
        return tuple(EMB if str(v).strip() == "emb" else int(v) for v in values)
    except (TypeError, ValueError):
        raise BadFileError(
            f"{where}: layers are {value!r}; they must be block numbers, and emb or -1."
        ) from None


def read_layers(array: Array) -> tuple[int, ...] | None:
    """Layers of the layer axis, where a row or a tensor `layers` of the file names them."""
    if array.layers is not None:
        return array.layers
    found: Any = _open(array.file, lambda names, get: get(LAYERS) if LAYERS in names else None)
    return None if found is None else _layers(array.file.name, found)


def read_ids(array: Array) -> NDArray[Any]:
    """(token,) ids of one answer, without its states.

    Raises:
        BadFileError: a file that cannot be read, or that has none.
    """
    ids: NDArray[Any] = _open(
        array.file, lambda names, get: _tensor(array, array.ids_name, names, get)
    )
    return ids


def _tensor(
    array: Array, key: str, names: Sequence[str], get: Callable[[str], NDArray[Any]]
) -> NDArray[Any]:
    if key not in names:
        both = (
            f"{array.key!r} and {array.ids_name!r}"
            if array.token_first
            else "'<key>' and '<key>.ids'"
        )
        raise BadFileError(f"{array.file.name} has no tensor {key!r}. Each answer needs {both}.")
    return get(key)


def read_array(array: Array) -> tuple[NDArray[Any], NDArray[Any]]:
    """(layer, token, width) states and (token,) ids of one answer, as they are in the file.

    Raises:
        BadFileError: a file that cannot be read, or a key that is not in it.
    """

    def pair(
        names: Sequence[str], get: Callable[[str], NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        values, ids = (_tensor(array, key, names, get) for key in (array.key, array.ids_name))
        return values.swapaxes(0, 1) if array.token_first and values.ndim == 3 else values, ids

    found: tuple[NDArray[Any], NDArray[Any]] = _open(array.file, pair)
    return found


def _open(file: Path, use: Callable[[Sequence[str], Callable[[str], NDArray[Any]]], Any]) -> Any:
    """Names of a file's tensors and a way to read one, handed to `use`."""
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                return use(archive.files, archive.__getitem__)
        if file.suffix != ".safetensors":
            raise BadFileError(f"{file.name} is neither .npz nor .safetensors.")
        from safetensors import safe_open

        with safe_open(file, framework="pt") as tensors:  # numpy has no bfloat16

            def get(key: str) -> NDArray[Any]:
                tensor = tensors.get_tensor(key)
                return np.asarray(
                    (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
                )

            return use(list(tensors.keys()), get)
    except BadFileError:
        raise
    except (
        Exception
    ) as error:  # zipfile, zlib, numpy and safetensors each have their own for a damaged file
        raise BadFileError(f"{file.name} cannot be read: {error}") from None
