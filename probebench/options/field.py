"""An option: a field of a frozen dataclass that says everything about itself.

From these fields follow the command line, the Python functions with their types and docstrings, the
settings of a record, what makes two runs differ, and `docs/options.md`. To add one, add a field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

Check = Callable[[str, Any], object]
"""(option as on the command line, value) -> raises UsageError for a value that cannot be."""
Read = Literal["value", "repeated", "names", "counts", "layers"]
"""How the command line reads a value: as it is; several times; `a,b`; `50,100`; `0,5,10-15`."""
LISTS: dict[Read, str] = {"names": "A,B", "counts": "N,N", "layers": "0,5,10-15"}
"""How such a list is written."""
Changes = Literal["numbers", "source", "adds", "model", "nothing"]
"""What another value makes of a run: other numbers than the protocol's; another run of the same
protocol; the same numbers and more; the same run."""
Compared = Literal["value", "content", "found"]
"""How two runs are held against each other: by the value; by what the files hold that it names; by
what was found under that name."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Option:
    """All there is to know about one option."""

    name: str
    """Of the field, which is its name in a record."""
    type: Any
    """Of the field, without None."""
    default: Any
    required: bool
    optional: bool
    """Whether the value may be None."""
    argument: str
    """Its name in Python."""
    flag: str
    """Its name on the command line."""
    group: str
    """The heading that it stands under."""
    help: str
    """One sentence. Other options in it are named as on the command line."""
    more: str
    """What Python's docstring and the docs say after that."""
    metavar: str
    """What stands for a value in `--help`."""
    choices: tuple[str, ...]
    """All values that there are; empty where they cannot be listed."""
    examples: tuple[str, ...]
    """Values that a message may name, where not all can be listed."""
    path: bool
    """Whether Python may give a `pathlib.Path`."""
    also: Any
    """A further type that Python may give."""
    read: Read
    check: Check | None
    changes: Changes
    compared: Compared
    apart: bool
    """Adds to a run, which has a default folder of its own all the same."""

    @property
    def many(self) -> bool:
        """Whether it holds several values."""
        return any(get_origin(t) is tuple for t in self.types)

    @property
    def types(self) -> tuple[Any, ...]:
        """What the field may hold besides None."""
        return get_args(self.type) if isinstance(self.type, UnionType) else (self.type,)


def said(
    help: str,
    group: str,
    *,
    more: str = "",
    argument: str | None = None,
    flag: str | None = None,
    metavar: str = "",
    choices: Sequence[str] = (),
    examples: Sequence[str] = (),
    path: bool = False,
    also: Any = None,
    read: Read = "value",
    check: Check | None = None,
    changes: Changes = "numbers",
    compared: Compared = "value",
    apart: bool = False,
) -> dict[str, Any]:
    """What a field says about itself, as its metadata; see `Option`."""
    return {"option": {**locals(), "choices": tuple(choices), "examples": tuple(examples)}}


def option(default: Any, help: str, group: str, **more: Any) -> Any:
    """A field with a default that is an option; the arguments of `said`."""
    return field(default=default, metadata=said(help, group, **more))


def options_of(cls: type) -> tuple[Option, ...]:
    """The options of a dataclass, in its order; those of a part that is no option itself stand in
    its place."""
    return tuple(_options(cls, parts=True))


def own_options(cls: type) -> tuple[Option, ...]:
    """Those without the ones of parts."""
    return tuple(_options(cls, parts=False))


def _options(cls: type, *, parts: bool) -> Iterator[Option]:
    hints = get_type_hints(cls)
    for f in fields(cls):
        if "option" not in f.metadata:
            yield from _options(hints[f.name], parts=True) if parts else ()
            continue
        words, hint = dict(f.metadata["option"]), hints[f.name]
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        argument, metavar = words.pop("argument") or f.name, words.pop("metavar")
        yield Option(
            f.name,
            joined([k for k in kinds if k is not NoneType]),
            default=None if f.default is MISSING else f.default,
            required=f.default is MISSING,
            optional=NoneType in kinds,
            argument=argument,
            flag=words.pop("flag") or f"--{argument.replace('_', '-')}",
            metavar=metavar or _metavar(words["read"], kinds[0], path=words["path"]),
            **words,
        )


def _metavar(read: Read, kind: Any, *, path: bool) -> str:
    """What stands for a value where the field says nothing better."""
    if read in LISTS:
        return LISTS[read]
    return "N" if kind is int else "X" if kind is float else "DIR" if path and kind is str else "M"


def joined(kinds: Sequence[Any]) -> Any:
    """One type that is any of these."""
    found = kinds[0]
    for kind in kinds[1:]:
        found = found | kind
    return found
