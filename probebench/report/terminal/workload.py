"""The workload of many runs as a person reads it: a row for each model and for each task, and what
they take together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from probebench.report.terminal.table import plain_table
from probebench.text import UNDEFINED, counted, size

if TYPE_CHECKING:
    from rich.table import Table

    from probebench.job.preview.workload import PlannedRun, Workload


def model_table(work: Workload) -> Table:
    """A row for each model, of all its tasks."""
    heads = ("model", "parameters", "memory", "devices", "read", "written", "hours", "states")
    table = plain_table(*heads, right=heads[1:])
    for model in work.models:
        own = [run for run in work.runs if run.model == model]
        read, written, hours, states = _sums(own)
        memory = f"{size(model.memory_each)} each" if model.devices > 1 else size(model.memory_each)
        table.add_row(
            model.name,
            _many(model.parameters),
            memory,
            str(model.devices),
            read,
            written,
            hours,
            states,
        )
    return table


def task_table(work: Workload) -> Table:
    """A row for each task, of all models."""
    heads = ("task", "examples", "read", "written", "hours", "states")
    table = plain_table(*heads, right=heads[1:])
    for task in dict.fromkeys(run.task for run in work.runs):
        own = [run for run in work.runs if run.task == task]
        table.add_row(task, f"{max(run.examples for run in own):,}", *_sums(own))
    return table


def totals(work: Workload, devices: int | None = None) -> Iterator[str]:
    """What all runs take together, in sentences."""
    read, written, hours, _ = _sums(work.runs)
    yield (
        f"{counted(len(work.runs), 'run')}, "
        f"{counted(sum(run.examples for run in work.runs), 'example')}: {read} "
        f"tokens read, {written} written."
    )
    low, mid, high = work.hours
    if work.throughput is None:
        yield "Hours are unknown: give --measured RUN, or --read-rate and --write-rate."
    else:
        t = work.throughput
        yield (
            f"{hours} device hours ({_hours(low)} to {_hours(high)}, by the length of answers), at "
            f"{_many(t.reading)} tokens read and {_many(t.writing)} written a second by a model of "
            f"a billion parameters ({t.origin})."
        )
    if devices and work.throughput is not None:
        yield f"{_hours(mid / devices)} hours on {devices:,} devices, if all are busy."
    once = " at once, of the largest run" if work.discard else ""
    free = "" if work.free is None else f"; {size(work.free)} are free"
    yield f"{size(work.states)} of hidden states{once}, {size(work.needed)} with all else{free}."


def _sums(runs: Sequence[PlannedRun]) -> tuple[str, str, str, str]:
    """Tokens read and written, device hours, and bytes of hidden states."""
    return (
        _many(math.fsum(run.read for run in runs)),
        _many(math.fsum(run.written for run in runs)),
        _hours(math.fsum(run.hours[1] for run in runs)),
        size(sum(run.states for run in runs)),
    )


def _many(n: float) -> str:
    """A count with two digits or three: `8.0 B`, `135 M`, `4,200`."""
    for unit, step in (("B", 1e9), ("M", 1e6)):
        if n >= step:
            return f"{n / step:.{1 if n < 100 * step else 0}f} {unit}"
    return f"{n:,.0f}"


def _hours(n: float) -> str:
    if math.isnan(n):
        return UNDEFINED
    return f"{n:,.0f}" if n >= 100 else f"{n:.1f}" if n >= 1 else f"{n:.2g}"
