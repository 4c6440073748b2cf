"""The command `answers`: a form for answers made elsewhere, and the answers of a run. Only click is imported here at the top."""

from __future__ import annotations

import click


@click.command("answers", short_help="Show a run's answers, or print a form for answers made elsewhere.")
@click.argument("run", type=click.Path(), required=False)
@click.option("--template", is_flag=True, help="Print rows as `eval --answers FILE` takes them, to be filled in.")
def answers_command(run: str | None, template: bool) -> None:
    """What a run's model answered and how it was judged; or, with --template, a form for `eval --answers FILE` as jsonl.

    docs/answers.md explains every column.
    """
    from probebench.errors import UsageError

    if template == (run is not None):
        raise UsageError("Give a run directory, or --template for a form to fill in; not both.")
    if template:
        from probebench.tasks.columns import template as form

        click.echo(form(), nl=False)
        return
    _show(str(run))


def _show(folder: str) -> None:
    """Question, answer, label and exact answer of every example."""
    from probebench.run import Run

    for a in Run.load(folder).answers.itertuples():
        exact = f" [{a.exact_answer}]" if a.exact_answer else ""
        click.echo(f"{'correct' if a.label else 'wrong'}{exact}: {' '.join(a.question.split())} -> {' '.join(a.text.split())}")
