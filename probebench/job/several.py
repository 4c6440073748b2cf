"""Several models and tasks in one call: all are checked before the first begins, and one that
fails does not stop the next."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probebench.engines.engine import Engine
from probebench.errors import (
    TRY_AGAIN,
    NotLoggedError,
    ProbebenchError,
    RunError,
    UnfinishedError,
    UsageError,
)
from probebench.job.options import Options
from probebench.job.pipeline import run_prepared
from probebench.job.prepare import Prepared, prepare
from probebench.models.handles import ModelHandle
from probebench.models.loading import Find, ModelSpec, find_model
from probebench.progress import Progress
from probebench.record.run import Run
from probebench.text import number

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one model and task of a call."""

    model: str
    task: str
    run: Run | None
    """None when it failed."""
    error: Exception | None = None
    """Why it failed, or of a finished run why a tracker did not take it: one of
    `probebench.errors`, or anything else that is a mistake in the code and not in what was
    asked."""

    @property
    def name(self) -> str:
        """Model and task."""
        return f"{self.model} on {self.task}"

    def result(self) -> Run:
        """The run.

        Raises:
            Exception: why there is none.
        """
        if self.run is None:
            raise self.error or RunError(f"{self.task} has no result.")
        return self.run

    @property
    def reason(self) -> str:
        """Why it failed, in one line; empty when it did not."""
        if self.error is None:
            return ""
        first = (str(self.error).splitlines() or [""])[0]
        return (
            first
            if isinstance(self.error, ProbebenchError)
            else f"{type(self.error).__name__}: {first}".rstrip(": ")
        )

    @property
    def exit_code(self) -> int:
        """Of the command, if this were all: 0 when there is a run that trackers took."""
        if self.error is None:
            return 0
        return self.error.exit_code if isinstance(self.error, ProbebenchError) else 1


def prepare_all(
    wanted: Sequence[Options], progress: Progress, find: Find = find_model
) -> list[Prepared]:
    """Check every task of a call; labels that come with the data too.

    Args:
        wanted: what was asked for.
        progress: what the runs will report to.
        find: finds models, where they will be loaded.

    Raises:
        ProbebenchError: the one that a single task raises; of several, one error that names them
            all. Nothing was begun.
    """
    handles: dict[ModelSpec, ModelHandle] = {}
    found, errors = [], {}
    several = len({settings.model.name for settings in wanted}) > 1
    for settings in wanted:
        try:
            settings.check()
            if settings.model not in handles:
                handles[settings.model] = find(settings.model, offline=settings.offline)
            prepared = prepare(settings, progress, handles[settings.model], find)
            if len(wanted) > 1:  # one alone says it at once anyway, and keeps what it judged
                prepared.check_known()
            found.append(prepared)
        except ProbebenchError as error:
            if len(wanted) == 1:
                raise
            named = settings.task or settings.answers or ""
            errors[f"{settings.model.name} on {named}" if several else named] = error
    if not errors:
        return found
    kind = UsageError if any(isinstance(e, UsageError) for e in errors.values()) else RunError
    lines = [f"  {name}: {error}" for name, error in errors.items()]
    tasks = len({(settings.task, settings.answers) for settings in wanted}) > 1
    what = ("models on tasks" if tasks else "models") if several else "tasks"
    head = f"{len(errors)} of {len(wanted)} {what} cannot run, so none was begun."
    raise kind("\n".join([head, *lines]))


def run_all(prepared: Sequence[Prepared], engine: Engine) -> Iterator[Outcome]:
    """Run one task after the other on one engine; a failure is an outcome like any other. Only
    Ctrl-C and the like stop what is to follow."""
    for one in prepared:
        try:
            outcome = Outcome(*_named(one), run_prepared(one, engine))
        except NotLoggedError as error:
            outcome = Outcome(*_named(one), error.run, error)
        except (
            Exception
        ) as error:  # a mistake in our own code must not cost the tasks behind it either
            outcome = Outcome(*_named(one), None, error)
        one.progress.restart()  # the next run's record says what it took itself
        yield outcome


def _named(one: Prepared) -> tuple[str, str]:
    """Model and task."""
    return one.plan.handle.identity.name, one.plan.name


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Of a command: 0 where all is done. What failed counts more than what only has to be tried
    again."""
    codes = {o.exit_code for o in outcomes}
    return max(codes - {TRY_AGAIN}, default=0) or max(codes, default=0)


def told(outcome: Outcome) -> str:
    """A failure in full: the message for a user, or where in the code it happened."""
    if outcome.error is None or isinstance(outcome.error, ProbebenchError):
        return "" if outcome.error is None else str(outcome.error)
    return "".join(traceback.format_exception(outcome.error)).rstrip()


def outcome_table(outcomes: Iterable[Outcome]) -> Table:
    """One row per task, of several models per model and task: how many answers, how many right and
    how many cut off, and the test AUROC of the selected cell."""
    from rich.markup import escape
    from rich.table import Table

    outcomes = list(outcomes)
    several = len({o.model for o in outcomes}) > 1
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in (*["model"] * several, "task", "result", "n", "right", "cut off", "AUROC"):
        text = name in ("model", "task", "result")
        table.add_column(
            name, justify="left" if text else "right", no_wrap=not text, overflow="fold"
        )
    for o in outcomes:
        named = [*[escape(o.model)] * several, escape(o.task)]
        if o.run is None:
            failed = "" if isinstance(o.error, UnfinishedError) else "failed: "
            table.add_row(*named, f"{failed}{escape(o.reason)}")
            continue
        r = o.run.record
        c, statements = r.counts.all, r.task.kind == "statements"
        table.add_row(
            *named,
            "found finished" if o.run.resumed else "done, not logged" if o.error else "done",
            f"{c.n:,}",
            f"{c.accuracy:.1%}",
            "-" if statements else f"{c.not_stopped:,}",
            number(r.selection.test_auroc),
        )
    return table
