"""The commands `cite` and `export`. Only click is imported here at the top."""

from __future__ import annotations

import click


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
