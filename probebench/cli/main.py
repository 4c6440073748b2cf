"""The command line: its commands, and what ends one. A command's module is imported when it is
called, and imports the rest inside the command: `--help` answers in a tenth of a second."""

from __future__ import annotations

import importlib
import signal
import threading
from typing import Any

import click

from probebench._version import __version__
from probebench.errors import ProbebenchError, outermost

KEPT = "Finished shards are kept; the same command goes on from there."
"""Of a run; other commands have nothing to go on from."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came: what a scheduler sends when a job's time is up. All that Ctrl-C cleans up is
    cleaned up for it too."""


def _terminated(number: int, frame: Any) -> None:
    raise Terminated


class Later(click.Command):
    """A command of the list, whose module is imported when it is called."""

    def __init__(self, name: str, where: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self.where = where

    def found(self) -> click.Command:
        """The command itself."""
        module, _, name = self.where.partition(":")
        command: click.Command = getattr(importlib.import_module(f"probebench.cli.{module}"), name)
        return command


class Commands(click.Group):
    """Turns our errors, and what stops a command from outside, into one clear line and an exit
    code."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.found() if isinstance(command, Later) else command, rest

    def invoke(self, ctx: click.Context) -> Any:
        own = threading.current_thread() is threading.main_thread()  # others may not set handlers
        before = signal.signal(signal.SIGTERM, _terminated) if own else None
        try:
            with outermost():
                return super().invoke(ctx)
        except ProbebenchError as error:
            click.echo(f"probebench: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt as stop:
            by = " by SIGTERM" if isinstance(stop, Terminated) else ""
            kept = f" {KEPT}" if ctx.invoked_subcommand == "eval" else ""
            click.echo(f"probebench: stopped{by}.{kept}", err=True)
            ctx.exit(143 if by else 130)
        finally:
            if own:
                signal.signal(signal.SIGTERM, before)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="probebench")
def main() -> None:
    """How linearly readable is right or wrong inside a language model?"""


for command in (
    Later("eval", "eval:eval_command", "Ask, probe, and write maps, tables and a record."),
    Later("plan", "eval:plan_command", "What runs of several models and tasks would take."),
    Later("tasks", "tasks:tasks_group", "What can be asked: list, show, validate, pin."),
    Later("models", "tasks:models_command", "Model families, and the sites that each has."),
    Later("plot", "results:plot_command", "Draw a map of finished runs."),
    Later(
        "transfer", "results:transfer_command", "Score the probe of each task on the other tasks."
    ),
    Later(
        "compare", "results:compare_command", "Compare a detector of two runs, paired by example."
    ),
    Later(
        "states", "states:states_group", "Stored hidden states: shown, checked, exported, imported."
    ),
    Later("report", "report:report_command", "Write finished runs as one page, Markdown or LaTeX."),
    Later(
        "leaderboard",
        "leaderboard:leaderboard_group",
        "Submissions: written, checked, ranked and shown.",
    ),
    Later("runs", "runs:runs_command", "List runs: model, task, state, AUROC and size."),
    Later("clean", "runs:clean_command", "Free what finished runs do not need."),
    Later("cite", "report:cite_command", "Print BibTeX of the suite and of what a run rests on."),
    Later("export", "report:export_command", "Write a run as others keep it, or log it."),
    Later(
        "answers",
        "answers:answers_command",
        "Show a run's answers, or print a form for answers made elsewhere.",
    ),
):
    main.add_command(command)
