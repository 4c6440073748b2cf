"""How the command line reads lists, names and layers with ranges, and shows checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

EMB = -1
"""The row `emb`, as `probebench.types.EMB`, which would import numpy here."""
MOST_LAYERS = 10_000
UNITS = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
"""Of bytes."""
Command = Callable[..., Any]


Names = Callable[[click.Context], Iterable[str]]


def completions(
    ctx: click.Context,
    parameter: click.Parameter,
    incomplete: str,
    names: Iterable[str],
    *,
    listed: bool = False,
    path: bool = False,
) -> list[CompletionItem]:
    """What a shell is offered: names that are not given yet, and where a path may stand the shell's
    own files.

    Args:
        ctx: with what stands before.
        parameter: the option or argument.
        incomplete: what was typed of it.
        names: those that there are.
        listed: whether it takes several with commas; the last is completed then.
        path: whether it may be a file or folder.
    """
    begun, comma, last = incomplete.rpartition(",") if listed else ("", "", incomplete)
    before = ctx.params.get(parameter.name or "") if parameter.multiple else None
    given = {*begun.split(","), *(before or ())}
    found = [n for n in dict.fromkeys(names) if n.startswith(last) and n not in given]
    # first: bash forgets what stands before it, and looks for files only where there are no names
    files = [CompletionItem(incomplete, type="file")] if path else []
    return [*files, *(CompletionItem(f"{begun}{comma}{name}") for name in found)]


def offered(names: Names, *, path: bool = False) -> Callable[..., list[CompletionItem]]:
    """As click takes it for `shell_complete`."""

    def complete(ctx: click.Context, parameter: Any, incomplete: str) -> list[CompletionItem]:
        return completions(ctx, parameter, incomplete, names(ctx), path=path)

    return complete


def task_names(ctx: click.Context) -> Iterable[str]:
    """Tasks and variants of the suite."""
    from probebench.tasks.schema import list_tasks

    return (task.name for task in list_tasks())


def model_names(ctx: click.Context) -> Iterable[str]:
    """Models that travel in the package."""
    from probebench.models.specs import EMBEDDED

    return EMBEDDED


class Rate(click.FloatRange):
    """A positive number, and no infinity or NaN, which click's range lets through."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number.

        Raises:
            click.BadParameter: it is none, or not a positive one.
        """
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a number that can be counted with.", param, ctx)
        return found


def takes(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """A command's options, in the order of its help."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def split_names(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """A comma-separated list."""
    if value is None:
        return None
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    if not names:
        raise click.BadParameter(f"{value!r} names nothing.")
    return names


def several(
    ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...] | None:
    """An option that may be repeated; None where it was not given."""
    return value or None


def layers(
    *, emb: bool
) -> Callable[[click.Context, click.Parameter, str | None], tuple[int, ...] | None]:
    """A reader of layers such as `0,5,10-15`; where `emb` may stand too, it is -1."""
    example = "emb, 3 or 10-15" if emb else "3 or 10-15"

    def split(
        ctx: click.Context, parameter: click.Parameter, value: str | None
    ) -> tuple[int, ...] | None:
        if value is None:
            return None
        numbers: list[int] = []
        for part in value.split(","):
            first, *ends = part.strip().split("-", 1)
            if emb and first == "emb" and not ends:
                numbers.append(EMB)
                continue
            if not all(number.isdecimal() for number in (first, *ends)):
                more = " (the embedding row has no place here)" if first.strip() == "emb" else ""
                raise click.BadParameter(
                    f"{part!r} is not a layer or a range of layers such as {example}{more}."
                )
            last = int(ends[0] if ends else first)
            if last < int(first):
                raise click.BadParameter(f"{part!r} runs backwards; write {last}-{int(first)}.")
            if last - int(first) >= MOST_LAYERS:
                raise click.BadParameter(f"{part!r} are more layers than any model has.")
            numbers += range(int(first), last + 1)
        return tuple(numbers)

    return split


def counts(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Whole numbers such as `50,100,200`."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise click.BadParameter(f"{wrong[0]!r} is not a whole number.")
    return tuple(map(int, parts))


def read_bytes(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Bytes such as `80GB`, in decimal units."""
    if value is None:
        return None
    number = value.upper().replace(" ", "").removesuffix("B")
    unit = next((u for u in UNITS if number.endswith(u)), "")
    try:
        found = float(number.removesuffix(unit)) * UNITS.get(unit, 1)
    except ValueError:
        found = 0.0
    if not 1 <= found < 1e18:
        raise click.BadParameter(f"{value!r} is no number of bytes such as 80GB or 2TB.")
    return int(found)


def echo_checks(checks: Iterable[Any]) -> str:
    """Print each check as it is done; how many failed and the first of them, or nothing.

    Args:
        checks: with `name`, `ok` and `detail`.
    """
    done = []
    for check in checks:
        done.append(check)
        click.echo(f"{'ok    ' if check.ok else 'FAILED'} {check.name}: {check.detail}")
    failed = [check for check in done if not check.ok]
    if not failed:
        return ""
    return (
        f"{len(failed)} of {len(done)} checks failed, the first {failed[0].name}: "
        f"{failed[0].detail.rstrip('.')}."
    )
