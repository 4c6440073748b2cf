"""Files of hidden states made elsewhere: one array per answer, read and held against the answer's own tokens.

A folder with `examples.jsonl`, one row {"id", "file", "key"} per answer, and safetensors or npz files beside it; or one such
file, whose keys are the ids. Each key names two tensors: `<key>`, (layer, token, width) floats over the whole sequence prompt +
answer, and `<key>.ids`, (token,) the ids that the model was fed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import BadFileError, StatesError
from probebench.models.loading import ModelIdentity
from probebench.tasks.rows import read_rows


@dataclass(frozen=True, slots=True)
class Array:
    """Where one answer's states are."""

    file: Path
    key: str


def find_arrays(path: Path) -> dict[str, Array]:
    """Where each answer's states are, by the answer's id.

    Raises:
        BadFileError: no such folder or file, or one that names what is not there.
    """
    if path.is_dir():
        if not (path / "examples.jsonl").is_file():
            raise BadFileError(
                f'{path} has no examples.jsonl, with one row {{"id", "file", "key"}} per answer. See docs/states.md.'
            )
        found: dict[str, Array] = {}
        for row in read_rows(path / "examples.jsonl"):
            if missing := [name for name in ("id", "file", "key") if name not in row.fields]:
                raise BadFileError(f"{row.where}: {missing[0]!r} is missing; each row needs id, file and key.")
            name, file = str(row.fields["id"]), path / str(row.fields["file"])
            if name in found:
                raise BadFileError(f"{row.where}: the id {name!r} stands in an earlier row too; ids must be unique.")
            if not file.resolve().is_relative_to(path.resolve()) or not file.is_file():
                raise BadFileError(f"{row.where}: the file {row.fields['file']!r} is not in {path}.")
            found[name] = Array(file, str(row.fields["key"]))
        return found
    if not path.is_file():
        raise BadFileError(f"{path} is not there. Give an .npz or .safetensors file, or a folder with examples.jsonl.")
    return {key: Array(path, key) for key in _keys(path) if not key.endswith(".ids")}


def _keys(file: Path) -> list[str]:
    names: list[str] = _open(file, lambda names, get: list(names))
    return names


def read_array(array: Array) -> tuple[NDArray[Any], NDArray[Any]]:
    """(layer, token, width) states and (token,) ids of one answer, as they are in the file.

    Raises:
        BadFileError: a file that cannot be read, or a key that is not in it.
    """

    def pair(names: Sequence[str], get: Callable[[str], NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        for key in (array.key, f"{array.key}.ids"):
            if key not in names:
                raise BadFileError(f"{array.file.name} has no tensor {key!r}. Each answer needs '<key>' and '<key>.ids'.")
        return get(array.key), get(f"{array.key}.ids")

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
                return np.asarray((tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy())

            return use(list(tensors.keys()), get)
    except BadFileError:
        raise
    except Exception as error:  # zipfile, zlib, numpy and safetensors each have their own for a damaged file
        raise BadFileError(f"{file.name} cannot be read: {error}") from None


def check_array(name: str, values: NDArray[Any], ids: NDArray[Any], expected: Sequence[int], model: ModelIdentity) -> None:
    """Refuse arrays that are not one answer's states.

    Args:
        name: the answer's id.
        values: (layer, token, width).
        ids: (token,) that came with them.
        expected: ids of prompt + answer.
        model: whose states they should be.

    Raises:
        BadFileError: other tokens, shape or type.
        StatesError: vectors that are not finite, or zero.
    """
    where = f"States of {name!r}"
    if values.dtype.kind != "f":
        raise BadFileError(f"{where} are {values.dtype}; they must be floats, as the model computed them and not quantised.")
    if ids.dtype.kind not in "iu" or ids.ndim != 1:
        raise BadFileError(f"{where}: the ids are {ids.dtype} of shape {ids.shape}; they must be a list of token ids.")
    if values.ndim != 3 or values.shape[1] != len(ids):
        turned = (
            " The axes look exchanged: (layer, token, width) is the order." if len(ids) in values.shape and values.ndim == 3 else ""
        )
        raise BadFileError(f"{where} have shape {values.shape}, but {len(ids)} token ids came with them.{turned}")
    _check_ids(where, tuple(int(i) for i in ids), tuple(expected))
    if values.shape[2] != model.width:
        raise BadFileError(
            f"{where} have width {values.shape[2]}, but {model.name!r} has {model.width}. Name the model that made them."
        )
    for bad, what in ((~np.isfinite(values).all(axis=2), "not finite"), (~values.any(axis=2), "all zero")):
        if bad.any():
            entry, token = (int(k[0]) for k in np.nonzero(bad))
            raise StatesError(
                f"{where}: {int(bad.sum())} of {bad.size} vectors are {what}, the first at entry {entry}, token {token}. "
                f"They were not computed, or overflowed; make them again for the whole sequence, without padding."
            )


def _check_ids(where: str, ids: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if ids == expected:
        return
    if ids == expected[:-1]:
        fix = "The last generated token was never fed to the model: run one pass over prompt + answer instead."
    elif len(ids) > len(expected) and expected in (ids[-len(expected) :], ids[: len(expected)]):
        fix = "The rest looks like padding: leave it out."
    elif ids[1:] == expected or ids == expected[1:]:
        fix = "One of them begins with one token more, as a special token that was added twice or left out."
    else:
        k = next((k for k, (a, b) in enumerate(zip(ids, expected, strict=False)) if a != b), min(len(ids), len(expected)))
        got, wanted = (s[k] if k < len(s) else "nothing" for s in (ids, expected))
        fix = f"They differ first at token {k}: {got} instead of {wanted}. Give prompt_ids and answer_ids in the answers file."
    raise BadFileError(f"{where} are of {len(ids)} tokens that are not the {len(expected)} of prompt + answer. {fix}")
