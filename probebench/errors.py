"""Every error that a user can see.

::

    ProbebenchError             exit code 1
    |-- UsageError              exit code 2: what was asked for is wrong
    |   |-- UnknownNameError    a name that is not in its list, with the nearest one
    |   `-- BadFileError        a file or one of its rows cannot be read as what it should be
    `-- RunError                exit code 1: the run cannot give a result
        |-- UnavailableError    a model or data set cannot be reached from here
        |-- NotLoggedError      a run is finished, and a tracker did not take it
        |-- WriteError          the disk is full or not writable
        |-- LabelError          one class only, or too few examples of one
        |-- StatesError         hidden states that are not numbers, or stored ones that cannot be
        |                       trusted
        |-- MemoryLimitError    the device or the machine is too small for one example
        |-- EngineError         a cluster that cannot be reached, or whose workers fail time and
        |                       again
        |-- LockedError         another process works on this run directory
        |-- UnfinishedError     exit code 75: a part of a run has done its share; 0: the last
        |                       one has
        `-- TasksError          some tasks of a call failed; what became of each is in it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

SHOWN = 40
"""Names that a message lists at most: the layers of most models fit, the tasks of the suite do
not."""

TRY_AGAIN = 75
"""The exit code for what will work later: EX_TEMPFAIL of `sysexits.h`."""

UNDER_WAY: ContextVar[bool] = ContextVar("under_way", default=False)
"""Whether a call is under way whose caller reads the errors."""


@contextmanager
def outermost() -> Iterator[bool]:
    """Whether no other call is around this one: the outermost names options as its caller wrote
    them. The command line is one, so that what it calls leaves them as they were typed."""
    first, before = not UNDER_WAY.get(), UNDER_WAY.set(True)
    try:
        yield first
    finally:
        UNDER_WAY.reset(before)


def nearest(value: object, names: Sequence[str]) -> str | None:
    """The name that was probably meant; None where none is near."""
    return next(iter(difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)), None)


class ProbebenchError(Exception):
    """Base of all errors with a message written for the user."""

    exit_code = 1


class UsageError(ProbebenchError):
    """What was asked for is wrong."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not in its list."""

    def __init__(self, kind: str, value: object, allowed: Iterable[str], hint: str = "") -> None:
        names = list(allowed)
        near = nearest(value, names)
        if not isinstance(value, str):  # -1 for '-1'
            hint = f"Names are text. {hint}"
        message = f"Unknown {kind} {value!r}."
        if near:
            message += f" Did you mean {near!r}?"
        elif names:
            more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            message += f" Known: {', '.join(names[:SHOWN])}{more}."
        super().__init__(f"{message} {hint}".strip())


class BadFileError(UsageError):
    """A file, or one of its rows, cannot be read as what it should be."""


class RunError(ProbebenchError):
    """The run cannot give a result."""


class NotLoggedError(RunError):
    """A run is finished, and a tracker did not take it."""

    def __init__(self, message: str, run: Any) -> None:
        super().__init__(message)
        self.run = run


class UnavailableError(RunError):
    """A model or data set cannot be reached from here."""


class WriteError(RunError):
    """The disk is full or not writable."""


class LabelError(RunError):
    """One class only, or too few examples of one."""


class StatesError(RunError):
    """Hidden states that are not numbers, or stored ones that cannot be trusted."""


class MemoryLimitError(RunError):
    """The device or the machine is too small for one example."""


class EngineError(RunError):
    """A cluster that cannot be reached, or whose workers fail time and again."""


class LockedError(RunError):
    """Another process works on this run directory."""


class UnfinishedError(RunError):
    """A part of a run has done its share, and the run is not finished.

    Args:
        message: what is missing.
        missing: False where every share is there, and only the end is left to do.
    """

    def __init__(self, message: str, *, missing: bool = True) -> None:
        super().__init__(message)
        self.exit_code = TRY_AGAIN if missing else 0


class TasksError(RunError):
    """Some tasks of a call failed or were not logged; the others are done."""

    def __init__(self, message: str, outcomes: Sequence[Any]) -> None:
        super().__init__(message)
        self.outcomes = outcomes
        """What became of each task, as `probebench.job.several.Outcome`."""
