"""The command line. Only click is imported here at the top: `--help` answers in a tenth of a
second."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import click

from probebench._version import __version__
from probebench.cli.answers import answers_command
from probebench.cli.cite import cite_command, export_command
from probebench.cli.headed import Headed
from probebench.cli.leaderboard import leaderboard_group
from probebench.cli.report import report_command
from probebench.cli.results import compare_command, plot_command, transfer_command
from probebench.cli.states import states_group
from probebench.cli.tasks import models_command, tasks_group
from probebench.cli.values import counts, layers, several, split_names
from probebench.errors import ProbebenchError

KEPT = "Finished shards are kept; the same command goes on from there."


class Terminated(KeyboardInterrupt):
    """SIGTERM came: what a scheduler sends when a job's time is up. All that Ctrl-C cleans up is
    cleaned up for it too."""


def _terminated(number: int, frame: Any) -> None:
    raise Terminated


class Group(click.Group):
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


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="probebench")
def main() -> None:
    """How linearly readable is right or wrong inside a language model?"""


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which model and how to run it."""
    for option in reversed(
        (
            click.option(
                "--model",
                required=True,
                metavar="M",
                help="'tiny' (travels in the package), a folder, a GGUF file, or a hub id.",
            ),
            click.option(
                "--gguf-file", metavar="NAME", help="The GGUF file of a hub id, or of a folder."
            ),
            click.option("--revision", metavar="REV", help="Commit or tag of a hub model."),
            click.option(
                "--dtype",
                type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
                default="auto",
                show_default=True,
                help="Of the weights; auto: as the checkpoint on a GPU, float32 on a CPU.",
            ),
            click.option(
                "--device",
                default="auto",
                show_default=True,
                metavar="D",
                help="auto, cpu, cuda or cuda:N.",
            ),
            click.option(
                "--device-map",
                metavar="MAP",
                help="Spread over devices: auto, balanced, a JSON file or object.",
            ),
            click.option(
                "--attn-implementation",
                "attention",
                metavar="NAME",
                help="As in transformers, such as eager or sdpa.",
            ),
            click.option(
                "--quantization",
                type=click.Choice(["none", "int8", "int4"]),
                default="none",
                show_default=True,
                help="By bitsandbytes, while loading.",
            ),
            click.option("--peft", metavar="DIR", help="An adapter, merged into the weights."),
            click.option(
                "--trust-remote-code",
                is_flag=True,
                help="Run Python code that comes with the model, with your rights.",
            ),
            click.option(
                "--offline", is_flag=True, help="Never ask the hub; use what is cached here."
            ),
        )
    ):
        command = option(command)
    return command


@main.command("eval", cls=Headed, short_help="Ask, probe, and write maps, tables and a record.")
@model_options
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="T",
    help="A task by name, or a task file of your own. Repeat for several.",
)
@click.option(
    "--data",
    multiple=True,
    callback=several,
    metavar="FILE",
    help="Questions from a local file or folder instead of the task's source. Repeat for several.",
)
@click.option("--answers", metavar="FILE", help="Answers made elsewhere; goes on from extraction.")
@click.option("--limit", type=int, metavar="N", help="Only N examples, always the same ones.")
@click.option(
    "--positions",
    callback=split_names,
    metavar="A,B",
    help="Token positions, or all; default: the published fifteen.",
)
@click.option(
    "--sites",
    callback=split_names,
    default="resid",
    show_default=True,
    metavar="A,B",
    help="Where in a block, or all.",
)
@click.option(
    "--layers",
    callback=layers(emb=False),
    metavar="0,5,10-15",
    help="Blocks to read; default: all.",
)
@click.option(
    "--probe",
    default="logistic",
    show_default=True,
    metavar="P",
    help="Kind of probe, or package.module:factory.",
)
@click.option(
    "--solver",
    type=click.Choice(["batched", "sklearn"]),
    default="batched",
    show_default=True,
    help="Of the logistic probe.",
)
@click.option(
    "--shuffles",
    type=int,
    metavar="N",
    help="Shuffled-label fits per cell; default: 100 for the batched solver.",
)
@click.option(
    "--width",
    type=int,
    metavar="D",
    help="Project the vectors of components to one width, for a fair comparison.",
)
@click.option(
    "--attribution", is_flag=True, help="Also measure gradient x activation of every component."
)
@click.option(
    "--thinking/--no-thinking",
    default=None,
    help="Ask the chat template for it; default: as the template does.",
)
@click.option(
    "--max-new-tokens",
    type=int,
    metavar="N",
    help="Instead of the task's limit, for models that think first.",
)
@click.option(
    "--judge-model",
    metavar="M",
    help="Another model's second opinion on the labels; agreement is reported.",
)
@click.option(
    "--exact-answer",
    metavar="RULE",
    help="new_words, model or whole; gold finds it by the label, as the paper did.",
)
@click.option(
    "--extractor-model",
    metavar="M",
    help="Another model copies the exact answers out, as in the paper.",
)
@click.option(
    "--train-sizes",
    callback=counts,
    metavar="N,N",
    help="Learning curve of the selected cell, such as 50,100,200.",
)
@click.option(
    "--label-noise",
    metavar="JUDGE",
    help="Evaluate under a second judge too; model: that of --judge-model.",
)
@click.option(
    "--control",
    "controls",
    multiple=True,
    metavar="C",
    help="random-model: the same probe on untrained weights.",
)
@click.option(
    "--neutral",
    metavar="RUN",
    help="A run of this model whose correct answers say where alarms begin.",
)
@click.option(
    "--encoder",
    metavar="DIR",
    help="A text encoder, folder or hub id, for the text-embedding baseline.",
)
@click.option(
    "--skip",
    callback=split_names,
    metavar="A,B",
    help="Leave out p-true, text, text-embedding, ensembles or shuffles; such a run never ranks.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="For splits, shuffles and resamples.",
)
@click.option(
    "--states",
    metavar="DIR",
    help="Hidden states of these answers made elsewhere, as by states import.",
)
@click.option(
    "--states-dtype",
    type=click.Choice(["float16", "bfloat16", "float32"]),
    default="float16",
    show_default=True,
    help="Of the stored vectors; bfloat16 holds what is beyond 65,504.",
)
@click.option(
    "--batching",
    type=click.Choice(["default", "exact"]),
    default="default",
    show_default=True,
    help="exact: bit by bit the states of one example at a time; slower.",
)
@click.option(
    "--generation",
    type=click.Choice(["fast", "plain"]),
    help="fast: a static, compiled cache; default: on a GPU.",
)
@click.option("--out", metavar="DIR", help="Run directory; default: runs/<model>/<task>.")
@click.option(
    "--discard-states", is_flag=True, help="Delete the hidden states when the run is finished."
)
@click.option(
    "--dry-run", is_flag=True, help="Show what would run, with one rendered prompt, and stop."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the run record, or what --dry-run says, as JSON."
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def eval_command(
    model: str,
    revision: str | None,
    dtype: str,
    device: str,
    attention: str | None,
    device_map: str | None,
    quantization: str,
    peft: str | None,
    trust_remote_code: bool,
    gguf_file: str | None,
    offline: bool,
    tasks: tuple[str, ...],
    out: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    sites: tuple[str, ...],
    judge_model: str | None,
    skip: tuple[str, ...] | None,
    extractor_model: str | None,
    **options: Any,
) -> None:
    """Answer a task's questions, probe the hidden states, and write maps, tables and a record.

    The same command again goes on where it was stopped, or finds the run finished.
    """
    from probebench.errors import UsageError

    if out is not None and len(tasks) > 1:
        raise UsageError("--out names one run directory; with several tasks leave it out.")
    from rich.console import Console

    from probebench.job.options import Options
    from probebench.job.several import outcome_table, prepare_all, run_all, told
    from probebench.models.loading import ModelSpec
    from probebench.progress import Progress, TerminalProgress
    from probebench.report.terminal.summary import print_summary
    from probebench.report.terminal.table import print_table

    spec = ModelSpec(
        model,
        revision,
        dtype,
        device,
        attention,
        device_map,
        quantization,
        peft,
        trust_remote_code,
        gguf_file,
    )
    console = Console(width=max(min(Console().width, 120), 80), highlight=False)
    opinion, extractor = (
        ModelSpec(name, device=device) if name else None for name in (judge_model, extractor_model)
    )
    wanted = [
        Options(
            spec,
            task,
            sites=sites or ("resid",),
            out=out,
            offline=offline,
            judge_model=opinion,
            extractor_model=extractor,
            skip=skip or (),
            **options,
        )
        for task in tasks or (None,)
    ]
    if dry_run:
        _dry_runs(wanted, as_json)
        return
    outcomes = []
    for outcome in run_all(
        prepare_all(wanted, Progress() if quiet or as_json else TerminalProgress())
    ):
        outcomes.append(outcome)
        if len(wanted) == 1:
            outcome.result()  # or its error, as a line of its own
        if outcome.run is None:
            click.echo(f"probebench: {outcome.task}: {told(outcome)}", err=True)
        elif not quiet and not as_json:
            print_summary(outcome.run, console)
    if as_json:
        found = [
            {"task": o.task, "error": o.reason} if o.run is None else o.run.record for o in outcomes
        ]
        json.dump(found[0] if len(found) == 1 else found, sys.stdout, indent=1, ensure_ascii=False)
        click.echo()
    elif len(outcomes) > 1 and not quiet:
        console.print()
        print_table(outcome_table(outcomes), console)
    if code := max(o.exit_code for o in outcomes):
        sys.exit(code)


def _dry_runs(wanted: Sequence[Any], as_json: bool) -> None:
    """What each run would do; of several, one that cannot work does not hide what is said of the
    next."""
    from probebench.job.preview.dry_run import preview

    facts, code = [], 0
    for settings in wanted:
        try:
            found = preview(settings)
        except ProbebenchError as error:
            if len(wanted) == 1:
                raise
            code = max(code, error.exit_code)
            facts.append({"dry_run": True, "task": settings.task, "error": str(error)})
            click.echo(f"probebench: {settings.task}: {error}", err=True)
            continue
        facts.append(found.facts())
        if not as_json:
            click.echo(found.text())
    if as_json:
        click.echo(json.dumps(facts[0] if len(facts) == 1 else facts, indent=1, ensure_ascii=False))
    if code:
        sys.exit(code)


for command in (
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
