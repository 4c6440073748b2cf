"""Commands on finished runs. Only click is imported here at the top."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import click

from probebench.cli.values import layers, offered, split_names, takes

PLOT = (
    click.option(
        "--map",
        "kind",
        type=click.Choice(["positions", "components", "sublayers", "transfer"]),
        default="positions",
        show_default=True,
        help="Which map.",
    ),
    click.option(
        "--site",
        metavar="S",
        help="positions: of which site; default: the one the selected cell is in.",
    ),
    click.option(
        "--score",
        type=click.Choice(["auroc", "attribution", "ablation"]),
        default="auroc",
        show_default=True,
        help="components: which.",
    ),
    click.option(
        "--target",
        type=click.Choice(["logprob", "probe"]),
        default="logprob",
        show_default=True,
        help="Of attribution and ablation.",
    ),
    click.option(
        "--position",
        metavar="P",
        help="components, sublayers: which token; default: exact_answer_last.",
    ),
    click.option(
        "--layers", callback=layers(emb=False), metavar="0,5,10-15", help="Only these rows."
    ),
    click.option(
        "--positions", callback=split_names, metavar="A,B", help="positions: only these columns."
    ),
    click.option(
        "--top",
        type=int,
        metavar="K",
        help="sublayers: select the K best by validation; default: 10.",
    ),
    click.option(
        "--significant",
        is_flag=True,
        help="sublayers: select those above shuffled labels at a 5 % false-discovery rate.",
    ),
    click.option(
        "--hatch",
        is_flag=True,
        help="positions: hatch cells that are not distinguishable from chance.",
    ),
    click.option(
        "--vmin",
        type=float,
        metavar="X",
        help="Where the colours begin; default: 0.5 for AUROC (violet below it), 0 for changes.",
    ),
    click.option(
        "--vmax",
        type=float,
        metavar="X",
        help="Value at the upper end; default: 1.0 for AUROC, the largest for changes.",
    ),
    click.option("--title", help="Instead of model and task."),
    click.option(
        "--style",
        "style_name",
        type=click.Choice(["publication", "screen"]),
        default="publication",
        show_default=True,
        help="Light or dark.",
    ),
    click.option(
        "--formats",
        callback=split_names,
        default="png,svg,pdf",
        show_default=True,
        metavar="A,B",
        help="Which files to write.",
    ),
    click.option(
        "--out",
        type=click.Path(),
        metavar="DIR",
        help="Where to write; default: the (first) run directory.",
    ),
)


@click.command("plot")
@click.argument("runs", type=click.Path(), metavar="RUN...", nargs=-1, required=True)
@takes(*PLOT)
def plot_command(runs: tuple[str, ...], out: str | None, **options: Any) -> None:
    """Draw a map of a finished run, or of several for transfer, without torch."""

    from probebench.across.draw import draw
    from probebench.files import place
    from probebench.record.run import Run

    loaded = [Run.load(run) for run in runs]
    for path in draw(loaded, place(out) if out else loaded[0].folder, **options):
        click.echo(str(path))


TRANSFER = (
    click.option(
        "--topics",
        type=click.Path(),
        multiple=True,
        metavar="FILE",
        help=(
            "Which topic a statement is of; a file without a column 'topic' is one topic. Repeat "
            "for several."
        ),
    ),
    click.option(
        "--formats",
        callback=split_names,
        default="png,svg",
        show_default=True,
        metavar="A,B",
        help="Which pictures to write.",
    ),
    click.option(
        "--out",
        type=click.Path(),
        metavar="DIR",
        help="Where to write; default: the first run directory.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the table as JSON."),
)


@click.command("transfer")
@click.argument("runs", type=click.Path(), metavar="RUN...", nargs=-1, required=True)
@takes(*TRANSFER)
def transfer_command(
    runs: tuple[str, ...],
    topics: tuple[str, ...],
    formats: tuple[str, ...],
    out: str | None,
    as_json: bool,
) -> None:
    """Score the probe of each task on every other task of the same model.

    With the tables, matrices and maps it writes; from the stored states, without torch. A run of
    statements on several topics may stand alone: each topic is then held out in turn.
    """

    from probebench.across.transfer import transfer
    from probebench.across.transfer_map import predicted_by_angle, write_transfer
    from probebench.errors import UnknownNameError
    from probebench.files import place
    from probebench.maps.style import FORMATS
    from probebench.progress import TerminalProgress
    from probebench.record.run import Run
    from probebench.report.terminal.table import terminal
    from probebench.report.terminal.transfer import transfer_lines

    if unknown := [name for name in formats if name not in FORMATS]:
        raise UnknownNameError("format", unknown[0], FORMATS)
    loaded = [Run.load(run) for run in runs]
    table, record = transfer(loaded, topics=topics, progress=TerminalProgress()), loaded[0].record
    records = [run.record for run in loaded]
    paths = write_transfer(table, records, place(out) if out else loaded[0].folder, formats)
    if as_json:
        facts = {
            "protocol_version": record["protocol_version"],
            "model": record["model"],
            "probe": record["probe"],
            "runs": [str(run.folder) for run in loaded],
            "predicted_by_angle": predicted_by_angle(table),
            "rows": table.to_dict("records"),
            "files": [str(path) for path in paths],
        }
        _print_json(facts)
        return
    for line in [*transfer_lines(table, record, terminal().width), "", *map(str, paths)]:
        click.echo(line)


def _detectors(ctx: click.Context) -> Iterable[str]:
    """Detectors and sites of the runs that are named already."""
    from probebench.errors import ProbebenchError
    from probebench.record.run import Run

    # behind an option without its value click has not read which word is which
    for run in (ctx.params.get("a"), ctx.params.get("b"), *ctx.args):
        with suppress(ProbebenchError):
            if run is not None:
                record = Run.load(run).record
                places = (best.position for best in record.by_position if best.layer is not None)
                yield from [*(d.name for d in record.detectors), *record.sites, *places]


@click.command("compare")
@click.argument("a", type=click.Path(), metavar="RUN_A")
@click.argument("b", type=click.Path(), metavar="RUN_B")
@click.option(
    "--detector",
    default="probe",
    show_default=True,
    metavar="NAME",
    shell_complete=offered(_detectors),
    help="Of the run's table; or a site, a position, or site:layer:position: its probe.",
)
@click.option(
    "--detector-b",
    metavar="NAME",
    shell_complete=offered(_detectors),
    help="Of the second run; default: the same.",
)
@click.option(
    "--different-labels", is_flag=True, help="Where labels differ, score each run against its own."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Also write the comparison as JSON.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare_command(
    a: str,
    b: str,
    detector: str,
    detector_b: str | None,
    different_labels: bool,
    out: str | None,
    as_json: bool,
) -> None:
    """Compare a detector of two runs, paired on the test examples that both have.

    For two models, two probes, two sites or two versions; the same run twice with --detector-b
    compares two of its detectors, tokens or cells.
    """

    from probebench.across.compare import compare
    from probebench.files import place, write_json
    from probebench.report.terminal.compare import compare_lines
    from probebench.report.terminal.table import terminal

    found = compare(
        a, b, detector=detector, detector_b=detector_b, different_labels=different_labels
    )
    if out:
        write_json(place(out), found.to_dict())
    if as_json:
        _print_json(found.to_dict())
        return
    for line in compare_lines(found, terminal().width):
        click.echo(line)


def _print_json(content: Any) -> None:
    import json

    from probebench.files import clean_json

    click.echo(json.dumps(clean_json(content), indent=1, ensure_ascii=False))
