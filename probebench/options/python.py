"""The options as arguments of a Python function: signature, docstring, and messages that name them
as they were written there."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from inspect import Parameter
from typing import Any, TypeVar

from probebench.errors import ProbebenchError, UnknownNameError, outermost
from probebench.options.field import Option, Read, said
from probebench.options.values import accepted

WIDTH = 100
"""Of a docstring's lines."""
FLAG = re.compile(
    r"(?P<with>[Ww]ith )?(?<![\w-])--(?P<no>no-)?(?P<name>[a-z][a-z-]*[a-z])(?![\w-])"
    r"(?: (?P<value>[^\s;:()`'\"]+))?"
)
"""An option in a message, with the word behind it."""
VALUE = re.compile(r"[A-Z]+|\S*(?:[\d_/]|[,.]\S)\S*")
"""What is a value and no prose in any message: `FILE`, numbers, paths, lists, names in code."""
F = TypeVar("F", bound=Callable[..., Any])


def type_words(kind: Any) -> str:
    """A type as one writes it: `str | Path | None`."""
    return re.sub(r"\b(?:pathlib|collections\.abc|typing)\.", "", inspect.formatannotation(kind))


def takes(further: Sequence[Option], options: Sequence[Option]) -> Callable[[F], F]:
    """Give a function that takes `**options` the signature, the annotations and the docstring of
    all of them.

    In the docstring `{options}` stands for the further ones, and `{name}` for the help of one.

    Args:
        further: options that are no parameters of its own.
        options: all of them, by which those that a help text names are found.
    """

    def decorate(function: F) -> F:
        known = inspect.signature(function, eval_str=True)
        own = [p for p in known.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        last = [p for p in own if p.kind is Parameter.KEYWORD_ONLY]
        named = [
            Parameter(o.argument, Parameter.KEYWORD_ONLY, default=o.default, annotation=accepted(o))
            for o in further
        ]
        ordered = [*(p for p in own if p not in last), *named, *last]
        function.__signature__ = known.replace(parameters=ordered)  # type: ignore[attr-defined]
        types = inspect.get_annotations(function, eval_str=True)
        del types["options"]
        function.__annotations__ = types | {p.name: p.annotation for p in named}
        text = function.__doc__ or ""
        told = "\n".join(argument_words(o, options) for o in further)
        text = text.replace("        {options}", textwrap.indent(told, " " * 8))
        for o in options:
            line = textwrap.indent(argument_words(o, options), " " * 8)
            text = text.replace(f"        {o.argument}: {{{o.argument}}}", line)
        function.__doc__ = text
        return function

    return decorate


def argument_words(option: Option, options: Sequence[Option]) -> str:
    """One argument of a docstring."""
    text = in_python(f"{option.help} {option.more}".strip(), options)
    return textwrap.fill(f"{option.argument}: {text}", WIDTH - 8, subsequent_indent="    ")


def check_names(given: Mapping[str, Any], options: Sequence[Option]) -> None:
    """Complain about an argument that is no option.

    Raises:
        UnknownNameError: with the nearest one.
    """
    known = [o.argument for o in options]
    for name in given:
        if name not in known:
            raise UnknownNameError("option", name, known)


# -- messages --------------------------------------------------------------------------------------


def speaks_python(*options: Option, **flags: str) -> Callable[[F], F]:
    """Errors of a public function name its parameters, not the options of its command.

    Args:
        options: what a message may name beside its parameters; with none, it may name what a
            finished run was asked for.
        flags: parameters whose option is called otherwise, as `dtype="--states-dtype"`.
    """

    def decorate(function: F) -> F:
        parameters = inspect.signature(function).parameters.values()
        own = [_plain(p.name, flags.get(p.name, ""), str(p.annotation)) for p in parameters]

        @wraps(function)
        def called(*args: Any, **more: Any) -> Any:
            given = {o.argument: getattr(a, o.name, None) for a in args for o in options}
            given |= dict(zip((p.name for p in parameters), args, strict=False)) | more
            with named_in_python([*own, *options], given, further=not options):
                return function(*args, **more)

        return called  # type: ignore[return-value]

    return decorate


def _plain(name: str, flag: str, kind: str) -> Option:
    """An option of which only name and type matter."""
    known = {"bool": bool, "Sequence[int]": tuple[int, ...], "Sequence[str]": tuple[str, ...]}
    found = known.get(kind.removesuffix(" | None"), str)
    read: Read = "layers" if found == tuple[int, ...] else "value"
    flag = flag or f"--{name.replace('_', '-')}"
    words = said("", "", argument=name, flag=flag, examples=("all",), read=read)["option"]
    return Option(name, found, default=None, required=False, optional=True, **words)


@contextmanager
def named_in_python(
    options: Sequence[Option], given: Mapping[str, Any], *, further: bool = False
) -> Iterator[None]:
    """Errors from within name options as Python does, and keep their type, where no other call of
    ours is around this one.

    Messages are written for the command line; this is the one place that says them otherwise.

    Args:
        options: those that a message may name.
        given: values of the call, by argument: where a message repeats one, it is known to be one.
        further: whether a message may name options that are not among these, as those of the run
            that a function was given.
    """
    with outermost() as ours:
        try:
            yield
        except ProbebenchError as error:
            if ours:
                _say(error, partial(in_python, options=options, given=given, further=further))
            raise


def _say(error: ProbebenchError, words: Callable[[str], str]) -> None:
    """Change what an error says, and those of the tasks in it."""
    for each in [error, *(o.error for o in getattr(error, "outcomes", ()))]:
        if isinstance(each, ProbebenchError) and each.args:
            each.args = (words(str(each)), *each.args[1:])


def in_python(
    text: str,
    options: Sequence[Option],
    given: Mapping[str, Any] | None = None,
    *,
    further: bool = False,
) -> str:
    """A message with the options named as arguments: `--limit N` becomes `limit=N`, and
    `--seed must` becomes `seed must`."""
    known = {o.flag.removeprefix("--"): o for o in options}
    return FLAG.sub(partial(_named, known, given or {}, further), text)


def _named(
    known: Mapping[str, Option], given: Mapping[str, Any], further: bool, found: re.Match[str]
) -> str:
    option, value = known.get(found["name"]), found["value"]
    if option is None and further:
        switch = found["with"] is not None and value is None
        option = _plain(found["name"].replace("-", "_"), "", "bool" if switch else "str")
    if option is None:
        return found[0]
    before, after = found["with"] or "", f" {value}" if value is not None else ""
    if option.types == (bool,):
        use = f"={found['no'] is None}" if before or found["no"] else ""
        return f"{before}{option.argument}{use}{after}"
    if value is None:
        return before + option.argument
    bare = value.rstrip(".,")
    shown = _value(option, bare, given.get(option.argument))
    if shown is None:
        return f"{before}{option.argument}{after}"
    return f"{before}{option.argument}={shown}{value[len(bare) :]}"


def _value(option: Option, word: str, given: Any) -> str | None:
    """The word behind an option as Python writes it; None where it is no value but prose."""
    several = option.many and isinstance(given, Iterable) and not isinstance(given, str)
    names = {*option.choices, *option.examples, *map(str, given if several else [given])}
    parts = word.split(",")
    if not (VALUE.fullmatch(word) or names.issuperset(parts)):
        return None
    if word.isupper():
        return word
    if int in option.types or float in option.types:
        return word
    if option.read in ("layers", "counts"):
        return _numbers(parts)
    return repr(parts) if option.many and str not in option.types else repr(word)


def _numbers(parts: Sequence[str]) -> str:
    """A list of numbers, ranges written out; `emb` is -1."""
    found: list[int] = []
    for part in parts:
        first, _, last = part.partition("-")
        found += [-1] if part == "emb" else range(int(first), int(last or first) + 1)
    return repr(found)
