"""The command group `leaderboard`. Only click is imported here at the top."""

from __future__ import annotations

import click

ROOT = "leaderboards"


@click.group("leaderboard")
def leaderboard_group() -> None:
    """Submissions: written from a run, checked by computing every number again, and shown."""


@leaderboard_group.command(
    "submit", short_help="Write a finished run as a submission, and check it."
)
@click.argument("run", type=click.Path(), metavar="RUN")
@click.option(
    "--root",
    default=ROOT,
    show_default=True,
    metavar="DIR",
    type=click.Path(),
    help="The folder leaderboards/ of your fork.",
)
def submit_command(run: str, root: str) -> None:
    """Write the files of a submission from a finished run, check them, and say what comes next."""
    from pathlib import Path

    from probebench.files import place
    from probebench.leaderboard.submission.steps import next_steps, submit

    done = submit(place(run), Path(root))
    click.echo(next_steps(done))


@leaderboard_group.command("validate", short_help="Compute every number of submissions again.")
@click.argument("path", type=click.Path(), metavar="[PATH]", default=ROOT)
@click.option(
    "--base",
    metavar="DIR",
    type=click.Path(),
    help="That folder before the change: its rows may not change or go.",
)
@click.option(
    "--workers",
    type=click.IntRange(0, 64),
    default=2,
    show_default=True,
    help="Processes; 0: this one.",
)
@click.option(
    "--comment", metavar="FILE", type=click.Path(), help="Also write what is new, as Markdown."
)
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON, one per line.")
@click.pass_context
def validate_command(
    ctx: click.Context,
    path: str,
    base: str | None,
    workers: int,
    comment: str | None,
    as_json: bool,
) -> None:
    """Check submissions as data: formats, names, task, and every number computed again from the
    decisions.

    Exit code 1 when one fails. Nothing of a submission is run, and nothing is fetched.
    """
    import json
    from dataclasses import asdict
    from pathlib import Path

    from probebench.files import write_atomic
    from probebench.leaderboard.check.comment import comment as write_comment
    from probebench.leaderboard.check.submission import lines_of
    from probebench.leaderboard.check.validate import validate

    kept, failed, total, unchanged = [], 0, 0, 0
    for report in validate(Path(path), Path(base) if base else None, workers):
        total, failed, unchanged = total + 1, failed + (not report.ok), unchanged + report.unchanged
        if as_json:
            click.echo(json.dumps({"ok": report.ok, **asdict(report)}))
        else:
            for line in lines_of(report):
                click.echo(line)
        if comment and not report.unchanged:
            kept.append(report)
    if comment:
        write_atomic(Path(comment), write_comment(kept, Path(base) if base else None).encode())
    if not as_json:
        click.echo(
            f"{total} submissions: {total - failed} valid ({unchanged} unchanged), {failed} failed"
        )
    if failed:
        ctx.exit(1)


@leaderboard_group.command("rerun", short_help="Hold a second run against a submission.")
@click.argument("submission", type=click.Path(), metavar="SUBMISSION")
@click.argument("run", type=click.Path(), metavar="RUN")
@click.pass_context
def rerun_command(ctx: click.Context, submission: str, run: str) -> None:
    """For maintainers: hold a run of your own against a submission, and write rerun.json beside it.

    Exit code 1 when they do not agree.
    """
    from pathlib import Path

    from probebench.leaderboard.check.rerun import rerun
    from probebench.record.run import Run
    from probebench.report.terminal.table import plain_table, print_table, terminal
    from probebench.text import interval, number

    facts = rerun(Path(submission), Run.load(run))
    table = plain_table("detector", "AUROC", "95 %", "again", "", right=("AUROC", "again"))
    for row in facts["detectors"]:
        own, ends = number(row["submitted"]), interval(row["submitted_95"])
        if row["rerun"] is None:
            table.add_row(row["name"], own, ends, "", "not in this run")
        else:
            word = "within" if row["within"] else "OUTSIDE"
            table.add_row(row["name"], own, ends, number(row["rerun"]), word)
    print_table(table, terminal())
    click.echo("They agree." if facts["agrees"] else "They do not agree.")
    if not facts["agrees"]:
        ctx.exit(1)


@leaderboard_group.command("build", short_help="Write the tables and the static site of all rows.")
@click.option(
    "--root",
    default=ROOT,
    show_default=True,
    metavar="DIR",
    type=click.Path(),
    help="The folder leaderboards/.",
)
@click.option(
    "--out",
    default="site",
    show_default=True,
    metavar="DIR",
    type=click.Path(),
    help="Where the static site goes.",
)
def build_command(root: str, out: str) -> None:
    """Tables and the static site from all rows: README.md, csv and LaTeX below --root, pages below
    --out."""
    from pathlib import Path

    from probebench.errors import UsageError
    from probebench.leaderboard.board.build import build

    if not Path(root).is_dir():
        raise UsageError(
            f"There is no folder {root!r}. A checkout of the repository has leaderboards/; give it "
            "with --root DIR."
        )

    board = build(Path(root), Path(out))
    parts = ((board.models, "model"), (board.tasks, "task"), (board.rows, "row"))
    click.echo(
        f"{', '.join(f'{len(p):,} {word}' + 's' * (len(p) != 1) for p, word in parts)}: "
        f"{Path(out) / 'index.html'}"
    )
