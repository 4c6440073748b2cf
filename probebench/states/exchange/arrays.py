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

from probebench.errors import BadFileError, StatesError
from probebench.models.handles import ModelIdentity
from probebench.tasks.local.rows import read_rows
from probebench.types import EMB

CHUNKED = (
    "chunked prefill, cached prefixes and padding on the left leave only what comes after them. "
    "Switch them off, and run one "
    "pass over the whole sequence."
)
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


def check_array(
    name: str,
    values: NDArray[Any],
    ids: NDArray[Any],
    expected: Sequence[int],
    model: ModelIdentity,
    order: str = "layer, token",
) -> None:
    """Refuse arrays that are not one answer's states.

    Args:
        name: the answer's id.
        values: (layer, token, width).
        ids: (token,) that came with them.
        expected: ids of prompt + answer.
        model: whose states they should be.
        order: of the first two axes in the file.

    Raises:
        BadFileError: other tokens, shape or type.
        StatesError: vectors that are not finite, or zero.
    """
    where = f"States of {name!r}"
    if values.dtype.kind != "f":
        raise BadFileError(
            f"{where} are {values.dtype}; they must be floats, as the model computed them and not "
            "quantised."
        )
    if ids.dtype.kind not in "iu" or ids.ndim != 1:
        raise BadFileError(
            f"{where}: the ids are {ids.dtype} of shape {ids.shape}; they must be a list of token "
            "ids."
        )
    if values.ndim != 3 or values.shape[1] != len(ids):
        shape, hint = values.shape, ""
        if values.ndim == 3 and order != "layer, token":
            shape = (shape[1], shape[0], shape[2])
        if values.ndim == 3 and len(ids) in shape:
            hint = f" The axes look exchanged: ({order}, width) is the order."
        elif values.ndim == 3 and values.shape[1] < len(ids):
            hint = f" {len(ids) - values.shape[1]} tokens have none: {CHUNKED}"
        raise BadFileError(
            f"{where} have shape {shape}, but {len(ids)} token ids came with them.{hint}"
        )
    _check_ids(where, tuple(int(i) for i in ids), tuple(expected))
    if values.shape[2] != model.width:
        raise BadFileError(
            f"{where} have width {values.shape[2]}, but {model.name!r} has {model.width}. Name the "
            "model that made them."
        )
    for bad, what in (
        (~np.isfinite(values).all(axis=2), "not finite"),
        (~values.any(axis=2), "all zero"),
    ):
        if bad.any():
            entry, token = (int(k[0]) for k in np.nonzero(bad))
            whole = bad.all(axis=0)  # a token without any vector
            n = int(np.argmin(whole))
            hint = (
                "They were not computed, or overflowed; make them again for the whole sequence, "
                "without padding."
            )
            if n and not whole.all():
                hint = f"Tokens 0 to {n - 1} have none: {CHUNKED}"
            raise StatesError(
                f"{where}: {int(bad.sum())} of {bad.size} vectors are {what}, the first at entry "
                f"{entry}, token {token}. {hint}"
            )


def _check_ids(where: str, ids: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if ids == expected:
        return
    if ids == expected[:-1]:
        fix = (
            "The last generated token was never fed to the model: run one pass over prompt + "
            "answer instead."
        )
    elif len(ids) > len(expected) and expected in (ids[-len(expected) :], ids[: len(expected)]):
        fix = "The rest looks like padding: leave it out."
    elif 1 < len(ids) < len(expected) - 1 and ids == expected[: len(ids)]:
        fix = (
            "They are its first tokens: the prompt without the answer, or a sequence that was cut "
            "off. Run one pass over all of it."
        )
    elif 1 < len(ids) < len(expected) - 1 and ids == expected[-len(ids) :]:
        fix = (
            "They are its last tokens: a limit on the length cut the beginning off. Raise it, and "
            "run one pass over all of it."
        )
    elif ids[1:] == expected or ids == expected[1:]:
        fix = (
            "One of them begins with one token more, as a special token that was added twice or "
            "left out."
        )
    else:
        k = next(
            (k for k, (a, b) in enumerate(zip(ids, expected, strict=False)) if a != b),
            min(len(ids), len(expected)),
        )
        got, wanted = (s[k] if k < len(s) else "nothing" for s in (ids, expected))
        fix = (
            f"They differ first at token {k}: {got} instead of {wanted}. Give prompt_ids and "
            "answer_ids in the answers file."
        )
    raise BadFileError(
        f"{where} are of {len(ids)} tokens that are not the {len(expected)} of prompt + answer. "
        f"{fix}"
    )
