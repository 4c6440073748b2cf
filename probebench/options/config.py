"""Options in a file: read as what stands on the command line, written by every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probebench.errors import BadFileError, UnknownNameError
from probebench.options.field import Option

LISTED = ("names", "counts", "layers")
"""Lists that the command line writes as one word with commas."""


def read_config(
    path: Path, options: Sequence[Option], further: Sequence[str] = ()
) -> dict[str, Any]:
    """What a file gives, by argument, as the command line would have it.

    Args:
        path: YAML, a mapping of options by name: `max_new_tokens: 64`, or `max-new-tokens`.
        options: those that there are.
        further: other arguments that the command takes.

    Raises:
        BadFileError: it cannot be read, or is no mapping.
        UnknownNameError: an option that there is not.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise BadFileError(f"{path} is not YAML: {first}.") from None
    if not isinstance(found, Mapping) or not found:
        raise BadFileError(f"{path} holds no options; write one to a line, such as `model: tiny`.")
    known = {o.argument: o for o in options}
    flags = {o.flag.removeprefix("--").replace("-", "_"): o.argument for o in options}
    given = {}
    for key, value in found.items():
        word = str(key).replace("-", "_")
        name = flags.get(word, word)
        if name not in known and name not in further:
            raise UnknownNameError(f"option of {path}:", str(key), [*known, *further])
        if value is not None:
            given[name] = _on_the_command_line(known.get(name), value)
    return given


def _on_the_command_line(option: Option | None, value: Any) -> Any:
    """A value of the file as words of the command line."""
    if option is None or isinstance(value, bool):
        return value
    many = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if option.read == "repeated":
        return [str(v) for v in many]
    return ",".join(map(str, many)) if option.read in LISTED else str(value)


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
