"""An array refused that is not one answer's states: other tokens, shape or type, or no numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import BadFileError, StatesError
from probebench.models.handles import ModelIdentity

CHUNKED = (
    "chunked prefill, cached prefixes and padding on the left leave only what comes after them. "
    "Switch them off, and run one pass over the whole sequence."
)


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
    _check_numbers(where, values)


def _check_numbers(where: str, values: NDArray[Any]) -> None:
    """Complain about (layer, token, width) vectors that are not finite, or zero."""
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
