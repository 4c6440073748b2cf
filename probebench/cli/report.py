"""The command `report`. Only click is imported here at the top."""

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
