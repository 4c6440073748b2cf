"""Commands on finished runs. Only click is imported here at the top."""

from __future__ import annotations

from typing import Any

import click

from probebench.cli.values import layers, split_names


@click.command("plot")
@click.argument("runs", type=click.Path(), metavar="RUN...", nargs=-1, required=True)
@click.option("--map", "kind", type=click.Choice(["positions", "components", "sublayers", "transfer"]), default="positions",
              show_default=True, help="Which map.")  # fmt: skip
@click.option("--site", metavar="S", help="positions: of which site; default: the one the selected cell is in.")
@click.option("--score", type=click.Choice(["auroc", "attribution"]), default="auroc", show_default=True, help="components: which.")
@click.option("--target", type=click.Choice(["logprob", "probe"]), default="logprob", show_default=True, help="Of the attribution.")
@click.option("--position", metavar="P", help="components, sublayers: which token; default: exact_answer_last.")
@click.option("--layers", callback=layers(emb=False), metavar="0,5,10-15", help="Only these rows.")
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
