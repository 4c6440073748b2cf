"""The commands `report`, `cite` and `export`. Only click is imported here at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from probebench.cli.values import split_names

if TYPE_CHECKING:
    from probebench.record.run import Run


@click.command("report")
@click.argument("runs", type=click.Path(), metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(),
    metavar="FILE",
    help="The page; default: report.html in the run, or here for several.",
)
@click.option(
    "--formats",
    callback=split_names,
    metavar="A,B",
    help="Of html, md and tex, named like the page; default: the ending of --out, else html.",
)
@click.option("--title", help="Instead of model and task.")
@click.option(
    "--examples",
    type=int,
    default=3,
    show_default=True,
    metavar="N",
    help="Answers in each list; 0 for none.",
)
@click.option(
    "--transfer",
    type=click.Path(),
    metavar="FILE",
    help="Train task by test task, as `probebench transfer` writes it.",
)
def report_command(
    runs: tuple[str, ...],
    out: str | None,
    formats: tuple[str, ...] | None,
    title: str | None,
    examples: int,
    transfer: str | None,
) -> None:
    """Write finished runs as one page that needs no network, and as Markdown or LaTeX tables,
    without torch."""
    from probebench.report.write.files import write_report

    for path in write_report(
        runs, out, formats=formats, title=title, examples=examples, transfer=transfer
    ):
        click.echo(str(path))


@click.command("cite")
@click.argument("runs", type=click.Path(), metavar="[RUN...]", nargs=-1)
def cite_command(runs: tuple[str, ...]) -> None:
    """Print BibTeX: of the suite, and of a run's task and methods."""
    from probebench.files import place
    from probebench.record.inside.kinds import holds_spans
    from probebench.record.inside.spans import SpanRun
    from probebench.record.run import Run
    from probebench.report.bibtex import cite

    kinds = {run: SpanRun if holds_spans(place(run)) else Run for run in runs}
    click.echo(cite(*[kind.load(run).record for run, kind in kinds.items()]), nl=False)


@click.command("export")
@click.argument("run", type=click.Path(), metavar="RUN")
@click.option(
    "--to",
    "kind",
    type=click.Choice(["probe-card", "every-eval-ever", "hub", "trackio", "wandb"]),
    required=True,
    help="What to write, or where to log.",
)
@click.option(
    "--out",
    type=click.Path(),
    metavar="PATH",
    help="A folder; of a card a .json or .md file. Default: in the run.",
)
@click.option(
    "--licence",
    type=click.Choice(["apache-2.0", "mit", "cc-by-4.0", "cc0"]),
    help="Of a card: under which you give the probe on.",
)
@click.option("--organization", metavar="NAME", help="Of every-eval-ever: who ran it.")
@click.option(
    "--relationship",
    type=click.Choice(["first_party", "third_party", "collaborative", "other"]),
    default="third_party",
    show_default=True,
    help="Of every-eval-ever: of who ran it to who made the model.",
)
@click.option(
    "--model-id", metavar="ORG/NAME", help="Of every-eval-ever: the model, where it is a folder."
)
@click.option("--dataset", metavar="ORG/NAME", help="Of hub: the task's data set there.")
@click.option("--link", metavar="URL", help="Of hub: where the run can be looked at.")
@click.pass_context
def export_command(
    ctx: click.Context, /, run: str, kind: str, out: str | None, licence: str | None, **said: Any
) -> None:
    """Write a finished run as others keep it: a card of the selected probe, results for Every Eval
    Ever or for a model's page on the hub; or log it. Nothing is sent but to a tracker. What was not
    measured is absent."""
    from probebench.record.run import Run

    _check_said(ctx, kind)
    opened = Run.load(run)
    if kind == "probe-card":
        _card(opened, out, licence)
        return
    from probebench.files import place
    from probebench.record.exports.kinds import KINDS, Said

    for path in KINDS[kind](opened, None if out is None else place(out), Said(**said)):
        click.echo(str(path))


OF_KINDS = {
    "licence": "probe-card",
    "organization": "every-eval-ever",
    "relationship": "every-eval-ever",
    "model_id": "every-eval-ever",
    "dataset": "hub",
    "link": "hub",
}
"""Which form takes an option."""
ON_THE_HUB = (r"[\w.-]+/[\w.-]+", "ORG/NAME, as on the hub")
FORMS = {
    "model_id": ON_THE_HUB,
    "dataset": ON_THE_HUB,
    "link": (r"https?://\S+", "a whole address, such as https://example.org/run"),
    "organization": (r".*\S.*", "a name"),
}
"""What a value looks like, as a pattern and in words."""


def _check_said(ctx: click.Context, kind: str) -> None:
    """What was said is of this form, and can be what it says.

    Raises:
        UsageError: it is of another form, or cannot.
    """
    import re

    from probebench.errors import UsageError

    for name, own in OF_KINDS.items():
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        flag, value = f"--{name.replace('_', '-')}", ctx.params[name]
        if own != kind:
            raise UsageError(f"{flag} is of --to {own}; --to {kind} says nothing of it.")
        pattern, due = FORMS.get(name, (".*", ""))
        if not re.fullmatch(pattern, value):
            raise UsageError(f"{flag} must be {due}; got {value!r}.")


def _card(run: Run, out: str | None, licence: str | None) -> None:
    from probebench.report.probecard.files import write_card

    paths, absent = write_card(run, out, licence)
    for path in paths:
        click.echo(str(path))
    if absent:
        click.echo(
            f"Required by OpenInterp's registry, but not measured or not said, so absent: "
            f"{', '.join(absent)}.",
            err=True,
        )
