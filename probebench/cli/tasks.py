"""The command group `tasks`, and `models`. Only click is imported here at the top."""

from __future__ import annotations

import click

from probebench.cli.values import echo_checks, model_names, offered, several, takes, task_names

TASKS = offered(task_names, path=True)
"""A task by name or file, as a shell completes it."""
SOURCE = (
    click.option(
        "--data",
        multiple=True,
        callback=several,
        metavar="FILE",
        type=click.Path(),
        help="A local file or folder instead of the task's source. Repeat for several.",
    ),
    click.option("--offline", is_flag=True, help="Never ask the hub."),
)
"""Where the examples come from."""


@click.group("tasks", invoke_without_command=True)
@click.pass_context
def tasks_group(ctx: click.Context) -> None:
    """What can be asked; without a command, the list."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(tasks_list)


@tasks_group.command("list")
def tasks_list() -> None:
    """Every task of the suite; variants stand below their task."""
    from probebench.report.terminal.table import plain_table, print_table, terminal
    from probebench.tasks.schema import list_tasks
    from probebench.text import and_more

    table = plain_table("task", "version", "kind", "source", right=("version",))
    for task in list_tasks():
        variant = "" if task.path.endswith(f"{task.name}.yaml") else "  "
        table.add_row(variant + task.name, str(task.version), task.kind, and_more(task.source.name))
    print_table(table, terminal())


@tasks_group.command("show", short_help="Show one task, its judge and three examples.")
@click.argument("name", shell_complete=TASKS)
@click.option(
    "--model",
    metavar="M",
    shell_complete=offered(model_names, path=True),
    help="Render the examples for this model, special tokens included.",
)
@takes(*SOURCE)
def tasks_show(name: str, model: str | None, data: tuple[str, ...] | None, offline: bool) -> None:
    """What one task asks, how it is judged, three examples, and how to cite it."""
    from probebench.job.preview.task_card import describe
    from probebench.models.loading import ModelSpec
    from probebench.tasks.schema import load_task

    click.echo(
        describe(load_task(name), data, ModelSpec(model) if model else None, offline=offline)
    )


@tasks_group.command("validate", short_help="Check a task by name or file.")
@click.argument("file", shell_complete=TASKS)
@takes(*SOURCE)
def tasks_validate(file: str, data: tuple[str, ...] | None, offline: bool) -> None:
    """Check a task by name or file: schema, source, templates on every row, judge, groups."""
    from probebench.errors import BadFileError
    from probebench.job.preview.task_card import validate
    from probebench.tasks.schema import load_task

    if failed := echo_checks(validate(load_task(file), data, offline=offline)):
        raise BadFileError(f"{file}: {failed}")


@tasks_group.command("pin")
@click.argument("name", shell_complete=TASKS)
def tasks_pin(name: str) -> None:
    """Write the hub commit that is newest now into a task file."""
    from probebench.job.preview.task_card import pin
    from probebench.tasks.schema import load_task

    task = load_task(name)
    click.echo(f"{task.path}: revision {pin(task)}")


@click.command("models")
def models_command() -> None:
    """Families of models whose components can be read by name, and which sites each has."""
    from probebench.models.blocks.layouts import WITH_PICTURES
    from probebench.models.blocks.sites import SITES, known_families
    from probebench.report.terminal.table import plain_table, print_table, terminal

    shown = [site for site in SITES if site != "resid"]
    types = plain_table("family", "model types of transformers", folded=(1,))
    sites = plain_table("family", *(site.replace(".", "\n") for site in shown))
    for family in known_families():
        types.add_row(family.name, ", ".join(family.model_types))
        sites.add_row(family.name, *("x" if site in family.sites else "" for site in shown))
    types.add_row("text part of", ", ".join(WITH_PICTURES))
    console = terminal()
    print_table(types, console)
    console.print()
    print_table(sites, console)
    console.print(
        "\nEvery decoder has resid. x: some of its layers have it; one that does not\n"
        "(linear attention, a mixture of experts, shared keys) is absent, with the\n"
        "reason in the record. Other models are read by the names that most models\n"
        "share, and what is not recognised is absent too. Of models that see or hear\n"
        "the text part is read; its family is that of its own type."
    )
