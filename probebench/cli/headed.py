"""Options on the command line, made from their definition, and the help of a command that lists
them under headings."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from probebench.cli.values import (
    Names,
    completions,
    counts,
    layers,
    model_names,
    several,
    split_names,
    task_names,
)
from probebench.errors import ProbebenchError
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


def _positions(ctx: click.Context) -> Iterable[str]:
    from probebench.states.positions import POSITIONS

    return POSITIONS


def _sites(ctx: click.Context) -> Iterable[str]:
    from probebench.models.blocks.layouts import SITES

    return SITES


def _probes(ctx: click.Context) -> Iterable[str]:
    from probebench.probes.kinds import PROBES

    return PROBES


def _of_rules(name: str) -> Names:
    """What a check of values takes, by its name in `probebench.job.rules`."""

    def names(ctx: click.Context) -> Iterable[str]:
        from probebench.job import rules

        found: Iterable[str] = getattr(rules, name)()
        return found

    return names


OFFERED: dict[str, Names] = {
    "model": model_names,
    "judge_model": model_names,
    "extractor_model": model_names,
    "task": task_names,
    "positions": _positions,
    "sites": _sites,
    "probe": _probes,
    "skip": _of_rules("skips"),
    "controls": _of_rules("controls"),
    "detectors": _of_rules("methods"),
    "label_noise": _of_rules("second_judges"),
    "exact_answer": _of_rules("exact_rules"),
}
"""Names that a shell completes beside the examples of an option, looked up when it asks."""


class HeadedOption(click.Option):
    """An option that knows its heading, and the names and files that a shell completes."""

    def __init__(
        self,
        *words: Any,
        group: str = "The run",
        offered: Iterable[str] = (),
        listed: bool = False,
        path: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(*words, **more)
        self.group, self.offered, self.listed, self.path = group, tuple(offered), listed, path

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Of a list with commas, its last name."""
        names = [*(OFFERED[self.name](ctx) if self.name in OFFERED else ()), *self.offered]
        found = completions(ctx, self, incomplete, names, listed=self.listed, path=self.path)
        return found or super().shell_complete(ctx, incomplete)


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

    def invoke(self, ctx: click.Context) -> Any:
        """What cannot be of values that a file gave names the file too."""
        try:
            return super().invoke(ctx)
        except ProbebenchError as error:
            if FILE in ctx.meta and any(_blamed(ctx, p, str(error)) for p in self.params):
                error.args = (f"{error} It stands in {ctx.meta[FILE]}.", *error.args[1:])
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


def _blamed(ctx: click.Context, parameter: click.Parameter, message: str) -> bool:
    """Does a message speak of what a file gave: its option, or a file or folder that it names?"""
    name = parameter.name or ""
    if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT_MAP:
        return False
    value = ctx.params.get(name)
    words = [v for v in (value if isinstance(value, tuple) else [value]) if isinstance(v, str)]
    told = re.escape(parameter.opts[0])
    return bool(re.search(rf"(?<![\w-]){told}(?![\w-])", message)) or any(
        word in message for word in words if len(word) > 2 and (os.sep in word or "." in word)
    )


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
        "listed": option.read == "names",
        "path": option.path,
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
