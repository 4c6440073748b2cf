"""Options on the command line, made from their definition, and the help of a command that lists
them under headings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from probebench.cli.values import counts, layers, several, split_names
from probebench.options.field import Option, Read
from probebench.options.page import help_words

READERS: dict[Read, Callable[..., Any] | None] = {
    "value": None,
    "repeated": several,
    "names": split_names,
    "counts": counts,
    "layers": layers(emb=False),
}
"""What reads a value from the command line."""
FILE = "probebench.config"
"""Where a context keeps which file gave its default values."""
NUMBERS: dict[Any, Any] = {int: click.INT, float: click.FLOAT}


def _tasks() -> Iterable[str]:
    from probebench.tasks.schema import list_tasks

    return (task.name for task in list_tasks())


def _positions() -> Iterable[str]:
    from probebench.states.positions import POSITIONS

    return POSITIONS


def _sites() -> Iterable[str]:
    from probebench.models.blocks.layouts import SITES

    return SITES


def _skips() -> Iterable[str]:
    from probebench.job.rules import skips

    return skips()


OFFERED = {"task": _tasks, "positions": _positions, "sites": _sites, "skip": _skips}
"""Names that a shell completes beside the examples of an option, looked up when it asks."""


class HeadedOption(click.Option):
    """An option that knows its heading, and the names that a shell completes."""

    def __init__(
        self, *words: Any, group: str = "The run", offered: Iterable[str] = (), **more: Any
    ) -> None:
        super().__init__(*words, **more)
        self.group = group
        self.offered = tuple(offered)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Of a list with commas, its last name."""
        known = [*(OFFERED[self.name]() if self.name in OFFERED else ()), *self.offered]
        begun, comma, last = incomplete.rpartition(",")
        found = [f"{begun}{comma}{name}" for name in known if name.startswith(last)]
        return [CompletionItem(name) for name in found] or super().shell_complete(ctx, incomplete)


class Headed(click.Command):
    """A command whose options are listed under their headings, the last of which has those that
    name none."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """A value that a file gave and that cannot be names the file."""
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            name = error.param.name if error.param else None
            if name and ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP:
                said = f"{error.message} It stands in {ctx.meta[FILE]}."
                raise click.BadParameter(said, ctx, error.param, error.param_hint) from None
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each option once."""
        found: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if (line := parameter.get_help_record(ctx)) is not None:
                last = list(found)[-1] if found else "Options"
                found.setdefault(getattr(parameter, "group", last), []).append(line)
        for heading, lines in found.items():
            with formatter.section(heading):
                formatter.write_dl(lines)


def with_options(options: Iterable[Option]) -> Callable[[click.Command], click.Command]:
    """Give a command these options, before its own."""

    def decorate(command: click.Command) -> click.Command:
        command.params = [*map(click_option, options), *command.params]
        return command

    return decorate


def click_option(option: Option) -> HeadedOption:
    """An option as click has it; its value is None where it was not given, unless it is a flag."""
    words: dict[str, Any] = {
        "group": option.group,
        "offered": option.examples,
        "help": help_words(option),
        "required": option.required,
    }
    if option.types == (bool,):
        both = f"{option.flag}/--no-{option.flag[2:]}" if option.optional else option.flag
        return HeadedOption([both, option.argument], is_flag=True, default=option.default, **words)
    kind: Any = next((NUMBERS[t] for t in option.types if t in NUMBERS), None)
    if option.choices:
        kind = click.Choice(option.choices)
    else:
        words["metavar"] = option.metavar
    if option.default not in (None, ()):
        value = option.default
        words |= {
            "default": ",".join(map(str, value)) if isinstance(value, tuple) else value,
            "show_default": True,
        }
    return HeadedOption(
        [option.flag, option.argument],
        type=kind,
        multiple=option.read == "repeated",
        callback=READERS[option.read],
        **words,
    )
