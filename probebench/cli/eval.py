"""The command `eval`: one model on one or more tasks. Only click and the definition of the options
are imported here at the top."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from probebench.cli.headed import FILE, Headed, with_options
from probebench.cli.values import Rate, read_bytes, takes
from probebench.errors import ProbebenchError, UsageError
from probebench.job.options import OPTIONS, Options

if TYPE_CHECKING:
    from probebench.record.inside.spans import SpanRun
    from probebench.record.run import Run


def _configured(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
    """Take what a file says for what the command line does not."""
    if not value:
        return
    if len(value) > 1:
        raise UsageError(
            f"--config is given {len(value)} times ({', '.join(value)}), and one file says what is "
            "asked. Write the options of all into one."
        )
    from pathlib import Path

    from probebench.options.config import read_config

    known = {o.argument for o in OPTIONS}
    further = {
        p.opts[0]: (p.name, getattr(p, "is_flag", False))
        for p in ctx.command.params
        if p.name and p.name not in known and p is not parameter
    }
    ctx.meta[FILE] = value[0]
    ctx.default_map = {**(ctx.default_map or {}), **read_config(Path(value[0]), OPTIONS, further)}


CONFIG = click.option(
    "--config",
    type=click.Path(),
    metavar="FILE",
    multiple=True,  # to be refused: click takes the last and says nothing
    is_eager=True,
    expose_value=False,
    callback=_configured,
    help="YAML with options by name, such as a run's run.yaml; what stands here wins.",
)


def _wanted(given: dict[str, Any]) -> list[Options]:
    """What is asked of each model and task."""
    models, tasks = given.pop("model"), given.pop("task") or (None,)
    return [
        Options.asked({**given, "model": model, "task": task}) for model in models for task in tasks
    ]


@with_options(OPTIONS)
@click.command("eval", cls=Headed)
@CONFIG
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
    if given["out"] is not None and len(given["model"]) * len(given["task"] or (None,)) > 1:
        raise UsageError(
            "--out names one run directory; with several models or tasks leave it out."
        )
    wanted = _wanted(given)
    from probebench.job.spans.prepare import is_spans

    if len(wanted) == 1 and is_spans(wanted[0]):
        _inside(wanted[0], dry_run=dry_run, as_json=as_json, quiet=quiet)
    elif dry_run:
        _dry_runs(wanted, as_json=as_json, quiet=quiet)
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
        if as_json and not quiet:
            click.echo(json.dumps(prepared.facts(), indent=1, ensure_ascii=False))
        elif not quiet:
            click.echo(prepared.text())
        return
    run = run_spans(prepared, Progress() if quiet or as_json else TerminalProgress())
    if as_json:
        click.echo(json.dumps(run.record.plain(), indent=1, ensure_ascii=False))
    elif not quiet:
        print_spans(run, terminal())
    if not quiet:
        _say_freed(run, wanted)


def _say_freed(run: Run | SpanRun, wanted: Options) -> None:
    """A run that is found finished without the hidden states that it kept once, or with those that
    nobody wants."""
    from probebench.record.inside.kinds import SPANS, freed_words, holds_spans
    from probebench.record.run import RECORD

    if run.resumed and run.states_freed and not wanted.discard_states:
        record = run.folder / (SPANS if holds_spans(run.folder) else RECORD)
        said = freed_words(record)
        click.echo(f"probebench: {run.folder} was finished before and {said}", err=True)
    elif run.resumed and run.has_states and wanted.discard_states:
        click.echo(
            f"probebench: {run.folder} was finished before and keeps its hidden states. "
            f"`probebench clean {run.folder} --states` frees them.",
            err=True,
        )


def _runs(wanted: Sequence[Options], *, as_json: bool, quiet: bool) -> None:
    """One task after the other, each with its summary."""
    from rich.console import Console

    from probebench.engines.engine import opened
    from probebench.job.several import exit_code, outcome_table, prepare_all, run_all, told
    from probebench.progress import Progress, TerminalProgress
    from probebench.report.terminal.summary import print_summary
    from probebench.report.terminal.table import print_table

    console = Console(width=max(min(Console().width, 120), 80), highlight=False)
    progress = Progress() if quiet or as_json else TerminalProgress()
    outcomes = []
    with opened(wanted[0].where, wanted[0].model.device) as engine:
        for outcome in run_all(prepare_all(wanted, progress, engine.find), engine):
            outcomes.append(outcome)
            if len(wanted) == 1:
                outcome.result()  # or its error, as a line of its own
            if outcome.run is not None and not quiet and not as_json:
                print_summary(outcome.run, console)
            if outcome.error is not None:
                click.echo(f"probebench: {outcome.name}: {told(outcome)}", err=True)
            elif not quiet and outcome.run and outcome.run.resumed and wanted[0].log_to:
                click.echo(_not_again(outcome.run, wanted[0].log_to), err=True)
            if outcome.run is not None and not quiet:
                _say_freed(outcome.run, wanted[0])
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
    if code := exit_code(outcomes):
        sys.exit(code)


def _not_again(run: Run, trackers: Sequence[str]) -> str:
    """A run that is found finished was put into trackers when it was new, or never."""
    by_hand = ", ".join(f"probebench export {run.folder} --to {tracker}" for tracker in trackers)
    return f"probebench: {run.folder} was finished already and is not logged again: {by_hand}"


def _dry_runs(wanted: Sequence[Options], *, as_json: bool, quiet: bool) -> None:
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
        if not as_json and not quiet:
            click.echo(found.text())
    if as_json and not quiet:
        click.echo(json.dumps(facts[0] if len(facts) == 1 else facts, indent=1, ensure_ascii=False))
    if code:
        sys.exit(code)


RATES = takes(
    click.option(
        "--measured",
        metavar="RUN",
        type=click.Path(),
        help="A finished run on such a device, whose record says how fast it was.",
    ),
    click.option(
        "--read-rate",
        type=Rate(),
        metavar="X",
        help="Tokens a second in passes, by one device, of a model of a billion parameters.",
    ),
    click.option(
        "--write-rate",
        type=Rate(),
        metavar="X",
        help="The same of tokens of answers, as they are generated in batches.",
    ),
    click.option(
        "--device-memory",
        metavar="BYTES",
        callback=read_bytes,
        help="Of one device, such as 80GB: larger models are spread over several.",
    ),
    click.option("--devices", type=click.IntRange(min=1), metavar="N", help="That share the work."),
    click.option(
        "--disk",
        metavar="BYTES",
        callback=read_bytes,
        help="Free where the runs go, such as 20TB; default: what is free here.",
    ),
)


@with_options(OPTIONS)
@click.command("plan", cls=Headed)
@CONFIG
@RATES
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, each run by itself.")
def plan_command(
    measured: str | None,
    read_rate: float | None,
    write_rate: float | None,
    device_memory: int | None,
    devices: int | None,
    disk: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Say what runs of several models and tasks would take, and whether the disk holds them.

    Read are configs, tokenizers and the tasks' examples; weights need not be there. Options are
    those of `eval`; what methods ask for beside answers, hidden states, p(True) and --samples is
    not counted.
    """
    if (read_rate is None) != (write_rate is None) or (measured and read_rate):
        raise UsageError("Give --measured RUN, or both --read-rate and --write-rate.")
    from probebench.files import clean_json
    from probebench.job.place import run_folder
    from probebench.job.preview.planned_runs import plan_workload
    from probebench.job.preview.sizes import free_at
    from probebench.job.preview.workload import Throughput
    from probebench.record.run import Run
    from probebench.report.terminal.table import print_table, terminal
    from probebench.report.terminal.workload import model_table, task_table, totals

    throughput = Throughput.measured(Run.load(measured)) if measured else None
    if read_rate is not None and write_rate is not None:
        throughput = Throughput(read_rate, write_rate, "given")
    wanted = _wanted(given)
    free = disk if disk is not None else free_at(run_folder(wanted[0], "."))
    work = plan_workload(wanted, throughput, free=free, device_memory=device_memory)
    if as_json:
        click.echo(json.dumps(clean_json(work.facts()), indent=1, ensure_ascii=False))
    else:
        for table in (model_table(work), task_table(work)):
            print_table(table, terminal())
            click.echo()
        for line in totals(work, devices):
            click.echo(line)
    work.check_disk()
