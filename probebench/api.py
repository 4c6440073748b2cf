"""The Python twin of `probebench eval`.

Both functions take every option; signature and docstring come from the options' definition, the
types of a type checker from `probebench.job.asked`, which is written from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from probebench.engines.engine import opened
from probebench.errors import TasksError, UsageError
from probebench.job.asked import Asked
from probebench.job.options import OPTIONS, Options
from probebench.job.pipeline import evaluate as run_job
from probebench.job.several import Outcome, prepare_all, run_all
from probebench.job.spans.run import evaluate_spans as run_spans_job
from probebench.options.python import check_names, named_in_python, takes
from probebench.progress import Progress, TerminalProgress
from probebench.record.inside.spans import SpanRun
from probebench.record.run import Run

FURTHER = tuple(o for o in OPTIONS if o.argument not in ("model", "task"))
"""Those that are no parameter with a name of its own."""


@takes(FURTHER, OPTIONS)
def evaluate(
    model: str | Path,
    task: str | Path | None = None,
    *,
    quiet: bool = True,
    **options: Unpack[Asked],
) -> Run:
    """Run the main job, or find it done, and return what its directory holds.

    Args:
        model: {model}
        task: {task}
        {options}
        quiet: No progress on standard error.

    Returns:
        The run.

    Raises:
        UsageError: what was asked for is wrong.
        RunError: the run cannot give a result.
    """
    check_names(options, FURTHER)
    given = {**options, "model": model, "task": task}
    with named_in_python(OPTIONS, given):
        return run_job(Options.asked(given), _progress(quiet))


@takes(FURTHER, OPTIONS)
def evaluate_all(
    model: str | Path, tasks: Sequence[str | Path], *, quiet: bool = True, **options: Unpack[Asked]
) -> list[Outcome]:
    """Run several tasks of one model, one after the other; the Python twin of `--task A --task B`.

    Everything is checked before the first begins. A task that fails later does not stop the next.

    Args:
        model: {model}
        tasks: Names or files.
        {options}
        quiet: No progress on standard error.

    Returns:
        One outcome per task, in their order.

    Raises:
        UsageError: what was asked for is wrong; nothing was begun.
        RunError: a model or data set cannot be reached; nothing was begun.
        TasksError: some tasks failed; `error.outcomes` has all outcomes, and those that are done
            are on disk.
    """
    check_names(options, FURTHER)
    if isinstance(tasks, str | Path):
        raise UsageError(f"`tasks` is a list; one of them alone is [{str(tasks)!r}].")
    if options.get("out") is not None and len(tasks) > 1:
        raise UsageError("`out` names one run directory; with several tasks leave it out.")
    given: Mapping[str, Any] = {**options, "model": model}
    with named_in_python(OPTIONS, given):
        wanted = [Options.asked({**given, "task": task}) for task in tasks]
        first = Options.asked(given)
        with opened(first.where, first.model.device) as engine:
            outcomes = list(run_all(prepare_all(wanted, _progress(quiet), engine.find), engine))
        if failed := [o for o in outcomes if o.error is not None]:
            lines = [
                f"{len(failed)} of {len(outcomes)} tasks failed or were not logged.",
                *(f"  {o.task}: {o.reason}" for o in failed),
            ]
            raise TasksError("\n".join(lines), outcomes)
    return outcomes


def evaluate_spans(
    model: str | Path, task: str | Path, *, quiet: bool = True, **options: Unpack[Asked]
) -> SpanRun:
    """Run a task whose labels are inside answers (kind `spans`), or find it done.

    Args:
        model: As of `evaluate`.
        task: Name or file.
        quiet: No progress on standard error.
        **options: Those of `evaluate` that apply: data, limit, layers, probe, solver, batching,
            seed, states_dtype, discard_states, out, offline, and how the model is loaded.

    Returns:
        The run.

    Raises:
        UsageError: what was asked for is wrong, or does not apply.
        RunError: the run cannot give a result.
    """
    check_names(options, FURTHER)
    given = {**options, "model": model, "task": task}
    with named_in_python(OPTIONS, given):
        return run_spans_job(Options.asked(given), _progress(quiet))


def _progress(quiet: bool) -> Progress:
    return Progress() if quiet else TerminalProgress()
