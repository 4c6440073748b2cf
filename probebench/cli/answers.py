"""The command `answers`: a form for answers made elsewhere, and the answers of a run. Only click is
imported here at the top."""

from __future__ import annotations

import click

SHOWN = 20
"""Answers that are printed unless more are asked for."""


@click.command("answers")
@click.argument("run", type=click.Path(), required=False)
@click.option("--wrong", "kind", flag_value="wrong", help="Only answers judged wrong.")
@click.option("--correct", "kind", flag_value="correct", help="Only answers judged correct.")
@click.option(
    "--limit", type=int, metavar="N", help="At most N answers; default: 20, with --json all."
)
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON, in full.")
@click.option(
    "--template",
    is_flag=True,
    help="Print rows as `eval --answers FILE` takes them, to be filled in.",
)
def answers_command(
    run: str | None, kind: str | None, limit: int | None, as_json: bool, template: bool
) -> None:
    """What a run's model answered: question, answer, label, exact answer, and why; of a run that
    was refused too.

    Or, with --template, a form for `eval --answers FILE` as jsonl; docs/answers.md explains every
    column.
    """
    from probebench.errors import UsageError

    if template == (run is not None):
        both = "; not both" if template else ""
        raise UsageError(f"Give a run directory, or --template for a form to fill in{both}.")
    if template:
        given = {"--limit": limit is not None, "--json": as_json, f"--{kind}": kind is not None}
        if of_run := [flag for flag, there in given.items() if there]:
            raise UsageError(f"{of_run[0]} is of a run's answers; --template takes none.")
        from probebench.tasks.local.columns import template as form

        click.echo(form(), nl=False)
        return
    if limit is not None and limit < 1:
        raise UsageError(f"--limit must be 1 or more; got {limit}.")
    _show(str(run), kind, limit, as_json=as_json)


def _show(folder: str, kind: str | None, limit: int | None, *, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from probebench.report.terminal.replies import read_replies, reply_lines

    found = [r for r in read_replies(folder) if kind is None or r.label == (kind == "correct")]
    if as_json:
        click.echo(json.dumps([asdict(r) for r in found[:limit]], indent=1, ensure_ascii=False))
        return
    for line in reply_lines(found, SHOWN if limit is None else limit):
        click.echo(line)
