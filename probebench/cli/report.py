"""The commands `report`, `cite` and `export`. Only click is imported here at the top."""

from __future__ import annotations

import click

from probebench.cli.values import split_names


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
    default="html",
    show_default=True,
    metavar="A,B",
    help="Of html, md and tex; named like the page.",
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
    formats: tuple[str, ...],
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
    from probebench.record.run import Run
    from probebench.report.bibtex import cite

    click.echo(cite(*[Run.load(run).record for run in runs]), nl=False)


@click.command("export")
@click.argument("run", type=click.Path(), metavar="RUN")
@click.option(
    "--to", "kind", type=click.Choice(["probe-card"]), required=True, help="What to write."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="A .json or .md file; default: both, in the run.",
)
@click.option(
    "--licence",
    type=click.Choice(["apache-2.0", "mit", "cc-by-4.0", "cc0"]),
    help="Under which you give the probe on.",
)
def export_command(run: str, kind: str, out: str | None, licence: str | None) -> None:
    """Write a finished run's selected probe as a card that others can read. Unmeasured fields are
    absent."""
    from probebench.record.run import Run
    from probebench.report.probecard.files import write_card

    paths, absent = write_card(Run.load(run), out, licence)
    for path in paths:
        click.echo(str(path))
    if absent:
        click.echo(
            f"Required by OpenInterp's registry, but not measured or not said, so absent: "
            f"{', '.join(absent)}.",
            err=True,
        )
