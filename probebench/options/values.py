"""What a caller may give for an option, and how it is held."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import GenericAlias, NoneType
from typing import Any, get_args, get_origin

from probebench.errors import UsageError
from probebench.options.field import Option, joined, own_options

KINDS = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
"""What a value must be, in words."""


def accepted(option: Option) -> Any:
    """The type that the Python function takes: sequences for tuples, paths for their text, and the
    name of a further model for the model."""
    kinds: list[Any] = []
    for kind in option.types:
        if get_origin(kind) is tuple:
            inner = _one(option, get_args(kind)[0])
            alone = [] if get_args(kind)[0] is int else inner
            kinds += [*alone, GenericAlias(Sequence, joined(inner))]
        else:
            kinds += _one(option, kind)
    further = [] if option.also is None else [option.also]
    return joined([*dict.fromkeys([*kinds, *further]), *([NoneType] * option.optional)])


def _one(option: Option, kind: Any) -> list[Any]:
    if kind in (int, float, bool):
        return [kind]
    return [str, Path] if option.path else [str]


def held_all(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """What was given of a dataclass's own options, by field, as it holds them.

    Args:
        cls: the dataclass; options of its parts are not looked at.
        values: what was given, by argument; None counts as not given.

    Raises:
        UsageError: a value of another type.
    """
    return {
        o.name: held(o, values[o.argument])
        for o in own_options(cls)
        if values.get(o.argument) is not None
    }


def held(option: Option, value: Any) -> Any:
    """A value as the options hold it: paths as text, sequences as tuples, numbers as `int` or
    `float`, and a further model as its name.

    Raises:
        UsageError: a value of another type.
    """
    if option.also is not None and isinstance(value, Mapping):
        import json

        return json.dumps(dict(value))
    one = isinstance(value, str | os.PathLike) or not isinstance(value, Iterable)
    if not option.many:
        return _scalar(option, option.types[0], value)
    tuples = next(t for t in option.types if get_origin(t) is tuple)
    kind = get_args(tuples)[0]
    if one and str in option.types:
        return _scalar(option, str, value)
    return tuple(_scalar(option, kind, v) for v in ([value] if one else value))


def _scalar(option: Option, kind: Any, value: Any) -> Any:
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    elif kind is float and not isinstance(value, bool | str):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
    elif kind not in (bool, int, float) and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    what = KINDS.get(kind, "text")
    each = f"hold {what} each" if option.many else f"be {what}"
    raise UsageError(f"{option.flag} must {each}; got {value!r}.")
