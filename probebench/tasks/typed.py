"""A YAML file as a mapping, and a dataclass from one; unknown and missing keys, wrong types and
templates of more than columns are errors."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from probebench.errors import BadFileError, nearest


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file."""
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # five times as fast where it is
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadFileError(
            f"{path}: not readable as YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(content, dict):
        raise BadFileError(
            f"{path}: a task file is a mapping of keys; got {type(content).__name__}."
        )
    return content


def build(cls: Any, content: Mapping[str, Any], where: str) -> Any:
    """A dataclass from a mapping; unknown and missing keys are errors."""
    if not isinstance(content, Mapping):
        raise BadFileError(f"{where}: must be a mapping; got {content!r}.")
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls) if f.name != "path"]
    values = {}
    for key, value in content.items():
        if key not in known:
            near = nearest(str(key), known)
            hint = f"did you mean {near!r}?" if near else f"allowed: {', '.join(known)}."
            raise BadFileError(f"{where}: unknown key {key!r} (value {value!r}); {hint}")
        values[key] = _convert(hints[key], value, f"{where}: key {key!r}")
    required = [
        f.name
        for f in dataclasses.fields(cls)
        if f.default is MISSING and f.default_factory is MISSING
    ]
    missing = [name for name in required if name not in values]
    if missing:
        raise BadFileError(f"{where}: key {missing[0]!r} is missing.")
    return cls(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type that the schema asks for, strictly."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    if origin is Literal:
        if value not in arguments:
            raise BadFileError(
                f"{where} must be one of {', '.join(map(repr, arguments))}; got {value!r}."
            )
        return value
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _convert(arguments[0], value, where)
    if origin is tuple and arguments[-1] is Ellipsis:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, Sequence):
            raise BadFileError(f"{where} must be a list; got {value!r}.")
        return tuple(_convert(arguments[0], item, where) for item in items)
    if origin is tuple:
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or len(value) != len(arguments)
        ):
            raise BadFileError(f"{where} must be a list of {len(arguments)}; got {value!r}.")
        return tuple(_convert(a, v, where) for a, v in zip(arguments, value, strict=True))
    if hint is Any:
        return value
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise BadFileError(f"{where} must be a mapping; got {value!r}.")
        keys = {str(k) if arguments[0] is str else k: v for k, v in value.items()}
        return {
            _convert(arguments[0], k, where): _convert(arguments[1], v, where)
            for k, v in keys.items()
        }
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise BadFileError(f"{where} must be {hint.__name__}; got {value!r}.")
    return value


def check_template(template: str, where: str) -> None:
    """Complain about a prompt that is more than text and names of columns."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise BadFileError(
            f"{where}: {template!r} is no template of {{columns}}: {error}."
        ) from None
    for _, name, how, conversion in parts:
        if name is not None and (not name or how or conversion or set(name) & set(".[]")):
            raise BadFileError(
                f"{where}: braces hold the name of a column and nothing else, such as "
                f"{{question}}; got {{{name}{'!' * bool(conversion)}{conversion or ''}"
                f"{':' * bool(how)}{how}}}."
            )
