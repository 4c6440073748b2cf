"""The commands `runs` and `clean`: what lies under a folder of runs, and room made there."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from pathlib import Path

    from probebench.across.listing import Listed

COMMANDLINE = ParameterSource.COMMANDLINE

ROOMY = 100
"""Columns from which on a list of runs has two blanks between two of its own."""


@click.command("runs")
@click.argument("folder", type=click.Path(), default="runs")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def runs_command(folder: str, as_json: bool) -> None:
    """List the runs under FOLDER: model, task, state, size and AUROC.

    FOLDER is `runs` where it is left out.
    """
    import json

    from probebench.across.listing import runs_under
    from probebench.files import place
    from probebench.report.terminal.table import (
        literal,
        plain,
        plain_table,
        print_table,
        wide_terminal,
    )
    from probebench.text import counted, size

    found = runs_under(top := place(folder))
    if as_json:
        click.echo(json.dumps([_facts(own) for own in found], indent=1, ensure_ascii=False))
        return
    if not found:
        click.echo(f"No runs under {folder}.")
        return
    heads = ("run", "model", "task", "state", "AUROC", "95 %", "n", "size")
    console = wide_terminal()
    gap = 2 if console.width >= ROOMY else 1
    table = plain_table(*heads, right=("AUROC", "n", "size"), gap=gap, folded=range(4))
    for own in found:
        at = own.folder.relative_to(top)
        table.add_row(*literal(str(at), *_row(own), size(own.n_bytes)))
    print_table(table, console)
    for own in found:
        if own.why:
            click.echo(plain(f"{own.folder.relative_to(top)}: {own.why}"))
    click.echo(f"{counted(len(found), 'run')}, {size(sum(own.n_bytes for own in found))}")


def _row(own: Listed) -> tuple[str, ...]:
    from probebench.text import interval, number

    state = own.state if own.has_states else f"{own.state}, no states"
    if own.inside is not None:
        inside = own.inside.record
        row = inside.row("probe", "token")
        numbers = number(row.auroc), interval(row.auroc_95, 2), f"{row.n:,}"
        return inside.model.name, inside.task.name, state, *numbers
    if own.run is None:
        return "", "", own.state, "", "", ""
    r = own.run.record
    s = r.selection
    auroc, ends = number(s.test_auroc), interval(s.test_auroc_95, 2)
    return r.model.name, r.task.name, state, auroc, ends, f"{s.n_test:,}"


def _facts(own: Listed) -> dict[str, Any]:
    r = None if own.run is None else own.run.record
    if own.inside is not None:
        inside = own.inside.record
        row = inside.row("probe", "token")
        return {
            "folder": str(own.folder),
            "state": own.state,
            "why": own.why or None,
            "bytes": own.n_bytes,
            "states": own.has_states,
            "model": inside.model.name,
            "task": inside.task.name,
            "layer": inside.selected,
            "position": "token",
            "test_auroc": row.auroc,
            "test_auroc_95": list(row.auroc_95),
            "n_test": row.n,
        }
    return {
        "folder": str(own.folder),
        "state": own.state,
        "why": own.why or None,
        "bytes": own.n_bytes,
        "states": None if own.run is None else own.run.has_states,
        "model": r and r.model.name,
        "task": r and r.task.name,
        "layer": r and r.selection.layer,
        "position": r and r.selection.position,
        "test_auroc": r and r.selection.test_auroc,
        "test_auroc_95": r and list(r.selection.test_auroc_95),
        "n_test": r and r.selection.n_test,
    }


@click.command("clean")
@click.argument("folder", type=click.Path(), default="runs")
@click.option("--states", is_flag=True, help="Also the hidden states of finished runs.")
@click.option("--unfinished", is_flag=True, help="Also what unfinished runs would go on from.")
@click.option("--cache", is_flag=True, help="Also downloaded task files; they are fetched again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def clean_command(
    ctx: click.Context, folder: str, states: bool, unfinished: bool, cache: bool, yes: bool
) -> None:
    """Free what finished runs under FOLDER do not need, after saying what.

    Results, records and, unless --states is given, hidden states stay; what is freed is computed
    again where a run is added to. An interrupted run keeps its shards unless --unfinished is given;
    one that is being computed keeps everything.
    """
    from probebench.across.listing import free, freeable, runs_under
    from probebench.files import place
    from probebench.tasks.sources import cached_files
    from probebench.text import size

    top = place(folder)
    # the cache belongs to no folder of runs
    none = cache and not top.is_dir() and ctx.get_parameter_source("folder") is not COMMANDLINE
    listed = [] if none else runs_under(top)
    found = freeable(listed, states=states, unfinished=unfinished)
    files = {path: path.stat().st_size for path in (cached_files() if cache else ())}
    for at, n in [*((own.place, own.n_bytes) for own in found), *files.items()]:
        click.echo(f"{size(n):>9}  {at}")
    if not found and not files:
        click.echo("Nothing to free.")
        return
    total = sum(own.n_bytes for own in found) + sum(files.values())
    if not yes and not click.confirm(f"Delete these, {size(total)} in all?"):
        click.echo("Nothing was deleted.")
        return
    freed = free(found)
    left = _forget(files)
    for run in freed.busy:
        click.echo(f"left alone, another process works there: {run}")
    gone = sum(n for path, n in files.items() if path not in left)
    click.echo(f"{size(freed.n_bytes + gone)} freed")
    for at, why in (failed := {**freed.failed, **left}).items():
        click.echo(f"probebench: {at} could not be removed: {why}.", err=True)
    if failed:
        ctx.exit(1)


def _forget(files: Iterable[Path]) -> dict[Path, str]:
    """Delete downloaded files, and the folders that are empty then; those that stay, and why."""
    from probebench.across.listing import removed
    from probebench.tasks.sources import cache_folder

    left = {path: why for path in files if (why := removed(path))}
    for folder in (*dict.fromkeys(path.parent for path in files), cache_folder()):
        with suppress(OSError):  # holds something, or is a link
            folder.rmdir()
    return left
