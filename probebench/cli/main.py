"""The command line: its commands, and what ends one. Only click and the definition of the options
are imported at the top of its modules: `--help` answers in a tenth of a second."""

from __future__ import annotations

import signal
import threading
from typing import Any

import click

from probebench._version import __version__
from probebench.cli.answers import answers_command
from probebench.cli.cite import cite_command, export_command
from probebench.cli.eval import eval_command
from probebench.cli.leaderboard import leaderboard_group
from probebench.cli.report import report_command
from probebench.cli.results import compare_command, plot_command, transfer_command
from probebench.cli.states import states_group
from probebench.cli.tasks import models_command, tasks_group
from probebench.errors import ProbebenchError

KEPT = "Finished shards are kept; the same command goes on from there."


class Terminated(KeyboardInterrupt):
    """SIGTERM came: what a scheduler sends when a job's time is up. All that Ctrl-C cleans up is
    cleaned up for it too."""


def _terminated(number: int, frame: Any) -> None:
    raise Terminated


class Commands(click.Group):
    """Turns our errors, and what stops a command from outside, into one clear line and an exit
    code."""

    def invoke(self, ctx: click.Context) -> Any:
        own = threading.current_thread() is threading.main_thread()  # others may not set handlers
        before = signal.signal(signal.SIGTERM, _terminated) if own else None
        try:
            return super().invoke(ctx)
        except ProbebenchError as error:
            click.echo(f"probebench: {error}", err=True)
            ctx.exit(error.exit_code)
        except Terminated:
            click.echo(f"probebench: stopped by SIGTERM. {KEPT}", err=True)
            ctx.exit(143)
        except KeyboardInterrupt:
            click.echo(f"probebench: stopped. {KEPT}", err=True)
            ctx.exit(130)
        finally:
            if own:
                signal.signal(signal.SIGTERM, before)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="probebench")
def main() -> None:
    """How linearly readable is right or wrong inside a language model?"""


for command in (
    eval_command,
    tasks_group,
    models_command,
    plot_command,
    transfer_command,
    compare_command,
    states_group,
    report_command,
    leaderboard_group,
    cite_command,
    export_command,
    answers_command,
):
    main.add_command(command)
