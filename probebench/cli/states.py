"""The command group `states`. Only click is imported here at the top."""

from __future__ import annotations

from typing import Any

import click

from probebench.cli.values import echo_checks, layers, model_names, offered, split_names, takes


@click.group("states")
def states_group() -> None:
    """Stored hidden states: shown, checked, exported, and brought in from elsewhere."""


@states_group.command("info", short_help="Show what is stored, and where it came from.")
@click.argument("path", type=click.Path(), metavar="RUN|DIR")
def states_info(path: str) -> None:
    """Sites, layers, widths, positions with their numbers of examples, and where it all came
    from."""
    from probebench.states.exchange.find import describe, open_states

    click.echo(describe(open_states(path)))


@states_group.command("verify", short_help="Check every shard.")
@click.argument("path", type=click.Path(), metavar="RUN|DIR")
def states_verify(path: str) -> None:
    """Check every shard: checksum, shapes, order, finite where present, zero where absent."""
    from probebench.errors import StatesError
    from probebench.states.exchange.verify import verify

    if failed := echo_checks(verify(path)):
        raise StatesError(f"{path}: {failed}")


@states_group.command("export", short_help="Write the vectors as npy or parquet.")
@click.argument("run", type=click.Path(), metavar="RUN|DIR")
@click.option(
    "--to",
    required=True,
    type=click.Choice(["npy", "parquet"]),
    help="One array per site, or one row per vector.",
)
@click.option(
    "--out", required=True, metavar="DIR", type=click.Path(), help="A new or empty folder."
)
@click.option(
    "--site",
    "sites",
    callback=split_names,
    metavar="A,B",
    help="Only these sites; default: all that are stored.",
)
@click.option(
    "--layers", callback=layers(emb=True), metavar="emb,0,10-15", help="Only these layers."
)
@click.option("--positions", callback=split_names, metavar="A,B", help="Only these positions.")
def states_export(run: str, to: str, out: str, **options: Any) -> None:
    """Write the stored vectors in a form that numpy or any parquet reader takes, with ids, labels
    and splits."""
    from probebench.states.exchange.export import export

    folder = export(run, to, out, **options)
    for path in sorted(folder.iterdir()):
        click.echo(f"{path.stat().st_size:>15,} {path}")


IMPORT = (
    click.option(
        "--model",
        required=True,
        shell_complete=offered(model_names, path=True),
        metavar="M",
        help="The model that made them: a folder, a hub id, or 'tiny'.",
    ),
    click.option("--revision", metavar="REV", help="Commit or tag of a hub model."),
    click.option(
        "--answers",
        required=True,
        metavar="FILE",
        type=click.Path(),
        help="The answers they are of, as for eval --answers.",
    ),
    click.option(
        "--out",
        required=True,
        metavar="DIR",
        type=click.Path(),
        help="A run directory, or a new folder.",
    ),
    click.option(
        "--convention",
        required=True,
        type=click.Choice(["hf", "blocks", "tl", "vllm"]),
        help="What the layer axis holds.",
    ),
    click.option(
        "--layers",
        callback=layers(emb=True),
        metavar="emb,0,10-15",
        help="What the entries are where some are missing.",
    ),
    click.option(
        "--positions",
        callback=split_names,
        metavar="A,B",
        help="Token positions, or all; default: the published fifteen.",
    ),
    click.option(
        "--states-dtype",
        "dtype",
        type=click.Choice(["float16", "bfloat16", "float32"]),
        default="float16",
        show_default=True,
        help="Of the stored vectors; bfloat16 holds what is beyond 65,504.",
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        metavar="N",
        help="Of the splits written beside the states.",
    ),
    click.option(
        "--check/--no-check",
        default=True,
        show_default=True,
        help="Hold some answers against our own pass.",
    ),
    click.option(
        "--device", default="auto", show_default=True, metavar="D", help="Where that pass runs."
    ),
    click.option(
        "--dtype",
        "run_dtype",
        default="auto",
        show_default=True,
        metavar="D",
        help="What that pass computes in.",
    ),
    click.option("--offline", is_flag=True, help="Never ask the hub; use what is cached here."),
)


@states_group.command("import", short_help="Bring in hidden states made elsewhere.")
@click.argument("source", type=click.Path(), metavar="FILE|DIR")
@takes(*IMPORT)
def states_import(
    source: str,
    model: str,
    revision: str | None,
    device: str,
    run_dtype: str,
    answers: str,
    out: str,
    convention: str,
    **options: Any,
) -> None:
    """Bring in hidden states made by vLLM, nnsight, TransformerLens or plain transformers.

    \b
    hf      hidden_states of transformers: the last entry, where it is after the
            final norm, is left out, and the last block is absent
    blocks  the output of each block, before the final norm
    tl      resid_post of TransformerLens; before it, optionally, resid_pre of
            block 0
    vllm    one file per request, hidden_states (token, layer, width) and
            token_ids; layer id k of the engine is block k - 1
    """
    from probebench.models.loading import ModelSpec
    from probebench.progress import TerminalProgress
    from probebench.states.exchange.find import ranges
    from probebench.states.importing.importer import import_states
    from probebench.types import layer_name

    done = import_states(
        source,
        ModelSpec(model, revision, run_dtype, device),
        answers,
        out,
        convention,
        progress=TerminalProgress(),
        **options,
    )
    click.echo(f"{done.folder}\n{done.n_examples:,} examples, layers {ranges(done.layers)}")
    if done.compared:
        found = done.compared
        click.echo(
            f"{found.whole} answers are those of our own pass at every layer, {found.lowest} more "
            f"at the lowest (largest difference {found.largest:.1%}, {found.tolerance:.0%} allowed)"
        )
    for line in (
        *(f"no layer {layer_name(k)}: {why}" for k, why in done.absent.items()),
        *done.notes,
    ):
        click.echo(line)
