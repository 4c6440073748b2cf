"""The command `eval`: one model on one or more tasks. Only click and the definition of the options
are imported here at the top."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from probebench.cli.headed import Headed, with_options
from probebench.errors import ProbebenchError, UsageError
from probebench.job.options import OPTIONS, Options


def _configured(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Take what a file says for what the command line does not."""
    if value is None:
        return
    from pathlib import Path

    from probebench.options.config import read_config

    own = [p.name for p in ctx.command.params if p.name and p.name != parameter.name]
    ctx.default_map = {**(ctx.default_map or {}), **read_config(Path(value), OPTIONS, own)}


@with_options(OPTIONS)
@click.command("eval", cls=Headed)
@click.option(
    "--config",
    type=click.Path(),
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_configured,
    help="YAML with options by name, such as a run's run.yaml; what stands here wins.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show what would run, with one rendered prompt, and stop."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the run record, or what --dry-run says, as JSON."
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def eval_command(dry_run: bool, as_json: bool, quiet: bool, **given: Any) -> None:
    """Answer a task's questions, probe the hidden states, and write maps, tables and a record.

    The same command again goes on where it was stopped, or finds the run finished.
    """
    models, tasks = given.pop("model"), given.pop("task") or (None,)
    if given["out"] is not None and len(models) * len(tasks) > 1:
        raise UsageError(
            "--out names one run directory; with several models or tasks leave it out."
        )
    wanted = [
        Options.asked({**given, "model": model, "task": task}) for model in models for task in tasks
    ]
    from probebench.job.spans.prepare import is_spans

    if len(wanted) == 1 and is_spans(wanted[0]):
        _inside(wanted[0], dry_run=dry_run, as_json=as_json, quiet=quiet)
    elif dry_run:
        _dry_runs(wanted, as_json)
    else:
        _runs(wanted, as_json=as_json, quiet=quiet)


def _inside(wanted: Options, *, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """A task whose labels are inside answers."""
    from probebench.job.spans.prepare import prepare_spans
    from probebench.job.spans.run import run_spans
    from probebench.progress import Progress, TerminalProgress
    from probebench.report.inside.summary import print_spans
    from probebench.report.terminal.table import terminal

    prepared = prepare_spans(wanted)
    if dry_run:
        click.echo(json.dumps(prepared.facts(), indent=1) if as_json else prepared.text())
        return
    run = run_spans(prepared, Progress() if quiet or as_json else TerminalProgress())
    if as_json:
        click.echo(json.dumps(run.record.plain(), indent=1, ensure_ascii=False))
    elif not quiet:
        print_spans(run, terminal())


def _runs(wanted: Sequence[Options], *, as_json: bool, quiet: bool) -> None:
    """One task after the other, each with its summary."""
    from rich.console import Console

    from probebench.job.several import outcome_table, prepare_all, run_all, told
    from probebench.progress import Progress, TerminalProgress
    from probebench.report.terminal.summary import print_summary
    from probebench.report.terminal.table import print_table

    console = Console(width=max(min(Console().width, 120), 80), highlight=False)
    progress = Progress() if quiet or as_json else TerminalProgress()
    outcomes = []
    for outcome in run_all(prepare_all(wanted, progress)):
        outcomes.append(outcome)
        if len(wanted) == 1:
            outcome.result()  # or its error, as a line of its own
        if outcome.run is None:
            click.echo(f"probebench: {outcome.name}: {told(outcome)}", err=True)
        elif not quiet and not as_json:
            print_summary(outcome.run, console)
    if as_json:
        found = [
            {"model": o.model, "task": o.task, "error": o.reason}
            if o.run is None
            else o.run.record.plain()
            for o in outcomes
        ]
        json.dump(found[0] if len(found) == 1 else found, sys.stdout, indent=1, ensure_ascii=False)
        click.echo()
    elif len(outcomes) > 1 and not quiet:
        console.print()
        print_table(outcome_table(outcomes), console)
    if code := max(o.exit_code for o in outcomes):
        sys.exit(code)


def _dry_runs(wanted: Sequence[Options], as_json: bool) -> None:
    """What each run would do; of several, one that cannot work does not hide what is said of the
    next."""
    from probebench.job.preview.dry_run import preview

    facts, code = [], 0
    for options in wanted:
        try:
            found = preview(options)
        except ProbebenchError as error:
            if len(wanted) == 1:
                raise
            code = max(code, error.exit_code)
            named = {"model": options.model.name, "task": options.task}
            facts.append({"dry_run": True, **named, "error": str(error)})
            click.echo(f"probebench: {options.model.name} on {options.task}: {error}", err=True)
            continue
        facts.append(found.facts())
        if not as_json:
            click.echo(found.text())
    if as_json:
        click.echo(json.dumps(facts[0] if len(facts) == 1 else facts, indent=1, ensure_ascii=False))
    if code:
        sys.exit(code)
