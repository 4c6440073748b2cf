"""Options in a file: read as what stands on the command line, written by every run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from probebench.errors import BadFileError, UnknownNameError
from probebench.options.field import Option

LISTED = ("names", "counts", "layers")
"""Lists that the command line writes as one word with commas."""
YES, NO = ("true", "yes", "on"), ("false", "no", "off")
UNSET: tuple[Any, ...] = ("", "~", "null", [], {})
"""What YAML writes for nothing."""
TYPED = "/./"
"""Stands in a run's file between the folder that it was called in and a path as it was typed there,
so that the same call from the same folder asks for the same to the letter, and one from elsewhere
for the same file."""


def read_config(
    path: Path, options: Sequence[Option], further: Mapping[str, tuple[str, bool]] | None = None
) -> dict[str, Any]:
    """What a file gives, by argument, as the command line would have it.

    Args:
        path: YAML, a mapping of options by name: `max_new_tokens: 64`, or `max-new-tokens`. Words
            are taken as they stand: `revision: 0012` is no number.
        options: those that there are.
        further: what the command has beside them, by name: its argument, and whether it is a flag.

    Raises:
        BadFileError: it cannot be read, is no mapping, gives an option twice, or one a value that
            none can have.
        UnknownNameError: an option that there is not.
    """
    known = {o.argument: o for o in options}
    beside = {_plain(word): found for word, found in (further or {}).items()}
    names = {**{n: n for n in known}, **{_plain(o.flag): o.argument for o in options}}
    names |= {word: argument for word, (argument, _) in beside.items()}
    flags = {o.argument for o in options if o.types == (bool,)}
    flags |= {argument for argument, is_flag in beside.values() if is_flag}
    given: dict[str, Any] = {}
    for key, value in _loaded(path).items():
        if (word := _plain(key)) not in names:
            raise UnknownNameError(f"option of {path}:", key, [*known, *beside])
        if (name := names[word]) in given:
            raise BadFileError(f"{path} gives {key} twice; which one holds cannot be known.")
        if value not in UNSET:
            where = f"{path}: {key}"
            given[name] = (
                _flag(where, value)
                if name in flags
                else _on_the_command_line(where, known.get(name), value)
            )
            if (option := known.get(name)) is not None and option.path:
                given[name] = _as_typed(given[name])
    return given


def _as_typed(value: Any) -> Any:
    """A path that a run wrote, as it was typed where this is the folder that it was typed in, or
    where that one was moved here."""
    if isinstance(value, list):
        return [_as_typed(v) for v in value]
    before, mark, typed = value.partition(TYPED)
    if not mark or not Path(before).is_absolute():
        return value
    moved = not lies_there(value) and lies_there(typed)
    return typed if moved or Path(before) == Path.cwd() else value


def lies_there(name: str) -> bool:
    """Is there a file or folder of this name? Any text may be asked about."""
    with suppress(OSError, ValueError):  # too long, or with characters that no path has
        return Path(name).exists()
    return False


def _plain(word: str) -> str:
    """An option's name as a name of Python."""
    return word.removeprefix("--").replace("-", "_")


def _loaded(path: Path) -> dict[str, Any]:
    """The mapping of a file, its words as they stand."""
    import yaml

    class Words(yaml.BaseLoader):  # type: ignore[misc] # yaml has no types
        """No word means anything yet."""

    def mapping(loader: Words, node: yaml.MappingNode) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise BadFileError(f"{path}, line {line}: an option's name is a word.")
            if key.value in seen:
                raise BadFileError(f"{path}, line {line}: {key.value} stands there twice.")
            seen.add(key.value)
        return dict(loader.construct_mapping(node, deep=True))

    Words.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=Words)
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path} is not YAML: {error}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise BadFileError(f"{path}{where} is not YAML: {why}.") from None
    if not found:
        raise BadFileError(f"{path} holds no options; write one to a line, such as `model: tiny`.")
    if not isinstance(found, dict):
        raise BadFileError(
            f"{path} holds no options by name; write one to a line, such as `model: tiny`."
        )
    return found


def _flag(where: str, value: Any) -> bool:
    """True or false, as YAML writes them."""
    word = value.lower() if isinstance(value, str) else ""
    if word not in (*YES, *NO):
        raise BadFileError(f"{where} is a flag, true or false; got {value!r}.")
    return word in YES


def _on_the_command_line(where: str, option: Option | None, value: Any) -> Any:
    """A value of the file as words of the command line."""
    if isinstance(value, dict):
        if option is None or option.also is None:
            raise BadFileError(
                f"{where} takes words or numbers, and here stands a mapping: {value}."
            )
        return json.dumps(_resolved(value))
    many = value if isinstance(value, list) else [value]
    if any(not isinstance(v, str) for v in many):
        raise BadFileError(f"{where} takes words or numbers; got {value!r}.")
    read = option.read if option else "value"
    if read == "repeated":
        return many
    if read in LISTED:
        return ",".join(many)
    if isinstance(value, list):
        raise BadFileError(f"{where} takes one value; got {len(value)}.")
    return value


def _resolved(value: Any) -> Any:
    """A mapping whose whole numbers and truths are such."""
    if isinstance(value, dict):
        return {key: _resolved(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner) for inner in value]
    if value.lower() in (*YES, *NO):
        return value.lower() in YES
    return int(value) if value.isascii() and value.isdigit() else value


def as_config(asked: Any, options: Sequence[Option]) -> str:
    """What was asked, in lines that `read_config` reads: every option that is not its default.

    Args:
        asked: options by argument.
        options: those that there are.
    """
    import yaml

    held = {
        o.argument: list(value) if isinstance(value, tuple) else value
        for o in options
        if (value := asked[o.argument]) != o.default
    }
    return str(yaml.safe_dump(held, sort_keys=False, allow_unicode=True, width=100))
