"""The command line. Only click is imported here at the top: `--help` answers in a tenth of a second."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from probebench._version import __version__
from probebench.cli.states import split_names, states_group
from probebench.errors import ProbebenchError


class Group(click.Group):
    """Turns our errors into one clear line and their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ProbebenchError as error:
            click.echo(f"probebench: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("probebench: stopped. Finished shards are kept; the same command goes on from there.", err=True)
            ctx.exit(130)


def split_numbers(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Layers such as `0,5,10-15`."""
    if value is None:
        return None
    numbers: list[int] = []
    for part in value.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise click.BadParameter(f"{part!r} is not a layer or a range of layers such as 3 or 10-15.")
        if last and int(last) < int(first):
            raise click.BadParameter(f"{part!r} runs backwards; write {last}-{first}.")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="probebench")
def main() -> None:
    """How linearly readable is right or wrong inside a language model?"""


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which model and how to run it."""
    for option in reversed((
        click.option("--model", required=True, metavar="M", help="'tiny' (travels in the package), a folder, or a hub id."),
        click.option("--revision", metavar="REV", help="Commit or tag of a hub model."),
        click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto", show_default=True),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option("--device-map", metavar="MAP", help="Spread over devices: auto, balanced, a JSON file or object."),
        click.option("--attn-implementation", "attention", metavar="NAME", help="As in transformers, such as eager or sdpa."),
        click.option("--quantization", type=click.Choice(["none", "int8", "int4"]), default="none", show_default=True,
                     help="By bitsandbytes, while loading."),
        click.option("--peft", metavar="DIR", help="An adapter, merged into the weights."),
        click.option("--trust-remote-code", is_flag=True, help="Run Python code that comes with the model, with your rights."),
        click.option("--offline", is_flag=True, help="Never ask the hub; use what is cached here."),
    )):  # fmt: skip
        command = option(command)
    return command


@main.command("eval")
@model_options
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="T",
    help="A task by name, or a task file of your own. Repeat for several.",
)
@click.option("--data", metavar="FILE", help="Questions from a local file instead of the task's source.")
@click.option("--answers", metavar="FILE", help="Answers made elsewhere; goes on from extraction.")
@click.option("--limit", type=int, metavar="N", help="Only N examples, always the same ones.")
@click.option("--positions", callback=split_names, metavar="A,B", help="Token positions, or all; default: the published fifteen.")
@click.option("--sites", callback=split_names, default="resid", show_default=True, metavar="A,B", help="Where in a block, or all.")
@click.option("--layers", callback=split_numbers, metavar="0,5,10-15", help="Blocks to read; default: all.")
@click.option("--probe", default="logistic", show_default=True, metavar="P", help="Kind of probe, or package.module:factory.")
@click.option(
    "--solver", type=click.Choice(["batched", "sklearn"]), default="batched", show_default=True, help="Of the logistic probe."
)
@click.option("--shuffles", type=int, metavar="N", help="Shuffled-label fits per cell; default: 100 for the batched solver.")
@click.option("--width", type=int, metavar="D", help="Project the vectors of components to one width, for a fair comparison.")
@click.option("--attribution", is_flag=True, help="Also measure gradient x activation of every component.")
@click.option("--thinking/--no-thinking", default=None, help="Ask the chat template for it; default: as the template does.")
@click.option("--max-new-tokens", type=int, metavar="N", help="Instead of the task's limit, for models that think first.")
@click.option("--judge-model", metavar="M", help="Another model's second opinion on the labels; agreement is reported.")
@click.option("--exact-answer", metavar="RULE", help="'gold' finds it by the label, for comparison with the paper only.")
@click.option("--seed", type=int, default=0, show_default=True, help="For splits, shuffles and resamples.")
@click.option("--states-dtype", type=click.Choice(["float16", "float32"]), default="float16", show_default=True)
@click.option("--batching", type=click.Choice(["default", "exact"]), default="default", show_default=True,
              help="exact: bit by bit the states of one example at a time; slower.")  # fmt: skip
@click.option("--out", metavar="DIR", help="Run directory; default: runs/<model>/<task>.")
@click.option("--discard-states", is_flag=True, help="Delete the hidden states when the run is finished.")
@click.option("--dry-run", is_flag=True, help="Show what would run, with one rendered prompt, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the run record as JSON.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def eval_command(
    model: str, revision: str | None, dtype: str, device: str, attention: str | None, device_map: str | None, quantization: str,
    peft: str | None, trust_remote_code: bool, offline: bool, tasks: tuple[str, ...],
    out: str | None, dry_run: bool, as_json: bool, quiet: bool, sites: tuple[str, ...], judge_model: str | None, **options: Any,
) -> None:  # fmt: skip
    """Answer a task's questions, probe the hidden states, and write maps, tables and a record.

    The same command again goes on where it was stopped, or finds the run finished.
    """
    from probebench.errors import UsageError

    if out is not None and len(tasks) > 1:
        raise UsageError("--out names one run directory; with several tasks leave it out.")
    from rich.console import Console

    from probebench.models.loading import ModelSpec
    from probebench.pipeline import evaluate, preview
    from probebench.progress import Progress, TerminalProgress
    from probebench.settings import Settings
    from probebench.summary import print_summary

    spec = ModelSpec(model, revision, dtype, device, attention, device_map, quantization, peft, trust_remote_code)
    console = Console(width=max(min(Console().width, 120), 80), highlight=False)
    records = []
    for task in tasks or (None,):
        opinion = ModelSpec(judge_model, device=device) if judge_model else None
        settings = Settings(spec, task, sites=sites or ("resid",), out=out, offline=offline, judge_model=opinion, **options)
        if dry_run:
            click.echo(preview(settings))
            continue
        run = evaluate(settings, Progress() if quiet or as_json else TerminalProgress())
        records.append(run.record)
        if not quiet and not as_json:
            print_summary(run, console)
    if as_json and records:
        json.dump(records[0] if len(records) == 1 else records, sys.stdout, indent=1, ensure_ascii=False)
        click.echo()


@main.group("tasks", invoke_without_command=True)
@click.pass_context
def tasks_group(ctx: click.Context) -> None:
    """What can be asked."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(tasks_list)


@tasks_group.command("list")
def tasks_list() -> None:
    """Every task of the suite; variants stand below their task."""
    from probebench.tasks.schema import list_tasks

    for task in list_tasks():
        variant = "" if task.path.endswith(f"{task.name}.yaml") else "  "
        click.echo(f"{variant + task.name:<33} v{task.version}  {task.kind:<11} {task.source.name}")


@tasks_group.command("show")
@click.argument("name")
@click.option("--model", metavar="M", help="Render the examples for this model, special tokens included.")
@click.option("--data", metavar="FILE", help="A local file instead of the task's source.")
@click.option("--offline", is_flag=True, help="Never ask the hub.")
def tasks_show(name: str, model: str | None, data: str | None, offline: bool) -> None:
    """What one task asks, how it is judged, three examples, and how to cite it."""
    from probebench.models.loading import ModelSpec
    from probebench.tasks.card import describe
    from probebench.tasks.schema import load_task

    click.echo(describe(load_task(name), data, ModelSpec(model) if model else None, offline=offline))


@tasks_group.command("validate")
@click.argument("file")
@click.option("--data", metavar="FILE", help="A local file instead of the task's source.")
@click.option("--offline", is_flag=True, help="Never ask the hub.")
def tasks_validate(file: str, data: str | None, offline: bool) -> None:
    """Check a task by name or file: schema, source, templates on every row, judge, groups."""
    from probebench.errors import BadFileError
    from probebench.tasks.card import validate
    from probebench.tasks.schema import load_task

    checks = []
    for check in validate(load_task(file), data, offline=offline):
        checks.append(check)
        click.echo(f"{'ok    ' if check.ok else 'FAILED'} {check.name}: {check.detail}")
    failed = sum(not c.ok for c in checks)
    if failed:
        raise BadFileError(f"{file}: {failed} of {len(checks)} checks failed.")


@tasks_group.command("pin")
@click.argument("name")
def tasks_pin(name: str) -> None:
    """Write the hub commit that is newest now into a task file."""
    from probebench.tasks.card import pin
    from probebench.tasks.schema import load_task

    task = load_task(name)
    click.echo(f"{task.path}: revision {pin(task)}")


@main.command("models")
def models_command() -> None:
    """Families of models whose components can be read by name, and which sites each has."""
    from rich.console import Console
    from rich.table import Table

    from probebench.models.sites import SITES, known_families

    console = Console(width=max(min(Console().width, 120), 80), highlight=False)
    sites, types = (Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim") for _ in range(2))
    shown = [site for site in SITES if site != "resid"]
    for table in (sites, types):
        table.add_column("family", no_wrap=True)
    for site in shown:
        sites.add_column(site.replace(".", "\n"), justify="center")
    types.add_column("model types of transformers")
    for family in known_families():
        sites.add_row(family.name, *("x" if site in family.sites else "" for site in shown))
        types.add_row(family.name, ", ".join(family.model_types))
    console.print(types)
    console.print()
    console.print(sites)
    console.print(
        "\nEvery decoder has resid. x: some of its layers have it; one that does not\n"
        "(linear attention, a mixture of experts, shared keys) is absent, with the\n"
        "reason in the record. Other models are read by the names that most models\n"
        "share, and what is not recognised is absent too."
    )


@main.command("plot")
@click.argument("runs", type=click.Path(), metavar="RUN...", nargs=-1, required=True)
@click.option("--map", "kind", type=click.Choice(["positions", "components", "sublayers", "transfer"]), default="positions",
              show_default=True, help="Which map.")  # fmt: skip
@click.option("--site", metavar="S", help="positions: of which site; default: the one the selected cell is in.")
@click.option("--score", type=click.Choice(["auroc", "attribution"]), default="auroc", show_default=True, help="components: which.")
@click.option("--target", type=click.Choice(["logprob", "probe"]), default="logprob", show_default=True, help="Of the attribution.")
@click.option("--position", metavar="P", help="components, sublayers: which token; default: exact_answer_last.")
@click.option("--layers", callback=split_numbers, metavar="0,5,10-15", help="Only these rows.")
@click.option("--positions", callback=split_names, metavar="A,B", help="positions: only these columns.")
@click.option("--top", type=int, metavar="K", help="sublayers: select the K best by validation; default: 10.")
@click.option("--significant", is_flag=True, help="sublayers: select those above shuffled labels at a 5 % false-discovery rate.")
@click.option("--hatch", is_flag=True, help="positions: hatch cells that are not distinguishable from chance.")
@click.option("--vmin", type=float, help="Value at the lower end of the colours; default: 0.5, components: the smallest.")
@click.option("--vmax", type=float, help="Value at the upper end; default: 1.0, components: the largest.")
@click.option("--title", help="Instead of model and task.")
@click.option(
    "--style",
    "style_name",
    type=click.Choice(["publication", "screen"]),
    default="publication",
    show_default=True,
    help="Light or dark.",
)
@click.option("--formats", callback=split_names, default="png,svg,pdf", show_default=True, help="Which files to write.")
@click.option("--out", type=click.Path(), metavar="DIR", help="Where to write; default: the (first) run directory.")
def plot_command(runs: tuple[str, ...], out: str | None, **options: Any) -> None:
    """Draw a map of a finished run, or of several for transfer, without torch."""
    from pathlib import Path

    from probebench.maps.draw import draw
    from probebench.run import Run

    loaded = [Run.load(run) for run in runs]
    for path in draw(loaded, Path(out) if out else loaded[0].folder, **options):
        click.echo(str(path))


main.add_command(states_group)
