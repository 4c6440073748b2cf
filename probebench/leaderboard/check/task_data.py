"""What the suite's own data say of a submission's examples, where they can be read without a
network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from probebench.errors import ProbebenchError
from probebench.tasks.schema import Task, list_tasks
from probebench.tasks.sources import load_dataset
from probebench.tasks.split import split_examples


@dataclass(frozen=True, slots=True)
class TaskData:
    """Validation and test examples of a task."""

    sha256: str
    n: int
    """All examples, train included."""
    split: Mapping[str, str]
    """Id -> split, of all examples."""
    group: Mapping[str, str]
    label: Mapping[str, int]
    """Of statements, whose labels are given; empty for answers, which the model made."""


@lru_cache(maxsize=1)
def suite() -> Mapping[str, Task]:
    """Every task of the suite by name."""
    return {task.name: task for task in list_tasks()}


@lru_cache(maxsize=4)
def task_data(name: str) -> TaskData | str:
    """A task's examples, or why they are not looked at. Hub data are not: asking the hub is no part
    of a check of files."""
    source = suite()[name].source
    if source.hub is not None:
        return f"the questions are on the hub ({source.hub}) and nothing is fetched here"
    try:
        found = load_dataset(suite()[name], offline=True)
    except ProbebenchError as error:
        return str(error).split(". ")[0]  # what follows is advice for runs
    splits = split_examples(found.examples)
    return TaskData(
        sha256=found.sha256,
        n=len(found.examples),
        split=dict(zip((e.id for e in found.examples), splits, strict=True)),
        group={e.id: e.group for e in found.examples},
        label={e.id: e.label for e in found.examples if e.label is not None},
    )
