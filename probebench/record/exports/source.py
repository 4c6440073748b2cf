"""Where a run's examples came from, as other places name data."""

from __future__ import annotations

from dataclasses import dataclass

from probebench.errors import ProbebenchError
from probebench.record.schema import Record
from probebench.tasks.schema import Source, Task, load_task


@dataclass(frozen=True, slots=True)
class DataSource:
    """The data set of a run."""

    hub: str | None = None
    """Its id on the hub, where the examples were loaded from there."""
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    urls: tuple[str, ...] = ()
    """Addresses of its files, where the task names files."""


def task_of(r: Record) -> Task | None:
    """The task file of a run; None where this version of the suite has another one or none."""
    try:
        task = load_task(r.task.name)
    except ProbebenchError:
        return None
    return task if task.hash == r.task.hash else None


def source_of(r: Record) -> DataSource:
    """Where the examples came from; nothing is known of local files."""
    kind, _, name = r.data.origin.partition(":")
    task = task_of(r)
    if kind == "hub":
        known = task.source if task is not None and task.source.hub == name else Source()
        return DataSource(name, known.config, known.split, r.data.revision)
    if kind == "files" and task is not None:
        return DataSource(urls=tuple(file.url for file in task.source.files))
    return DataSource()
