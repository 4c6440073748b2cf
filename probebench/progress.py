"""Progress of long work: bars with rate and time left on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Counter(Protocol):
    """What a stage reports its work to."""

    def advance(self, n: int = 1) -> None: ...


class Progress:
    """Silent progress; also measures the seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.done: dict[str, int] = {}
        self.tokens: dict[str, int] = {}
        self._running: _Tally | None = None

    @contextmanager
    def stage(self, name: str, total: int, unit: str, done: int = 0) -> Iterator[Counter]:
        """Watch one stage of `total` units, `done` of which an earlier run has finished."""
        tally = self._running = _Tally()
        started = time.perf_counter()
        try:
            with self.show(name, total, unit, done, tally) as counter:
                yield counter
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
            self.done[name] = self.done.get(name, 0) + tally.n

    def begun(self, n: int) -> None:
        """Note how many units of the part at work are through; they count when the part is finished
        and saved."""
        if self._running is not None:
            self._running.begin(n)

    def count_tokens(self, name: str, n: int) -> None:
        """Note tokens that went through the model in a stage."""
        self.tokens[name] = self.tokens.get(name, 0) + n

    def restart(self) -> None:
        """Forget what the stages of one run took, before those of another."""
        for counted in (self.seconds, self.done, self.tokens):
            counted.clear()

    def facts(self) -> dict[str, dict[str, float]]:
        """Seconds, units done and tokens of each stage, of this process alone."""
        return {
            name: {
                "seconds": round(seconds, 2),
                "done": self.done[name],
                "tokens": self.tokens.get(name, 0),
            }
            for name, seconds in self.seconds.items()
        }

    @contextmanager
    def show(self, name: str, total: int, unit: str, done: int, tally: _Tally) -> Iterator[Counter]:
        yield tally


class _Tally:
    def __init__(self) -> None:
        self.n = 0
        self.begun = 0
        """Units of a part that is not finished."""
        self.changed: Callable[[], None] = lambda: None
        """Called after every change."""

    def advance(self, n: int = 1) -> None:
        self.n, self.begun = self.n + n, 0
        self.changed()

    def begin(self, n: int) -> None:
        self.begun = n
        self.changed()

    @property
    def reached(self) -> int:
        """Units that are through, those of an unfinished part included."""
        return self.n + self.begun


EVERY = 30.0
"""Seconds between two lines of a stage where no terminal shows a bar."""


class TerminalProgress(Progress):
    """Progress on standard error: a bar on a terminal, else a line at the start, now and then, and
    at the end.

    Args:
        every: seconds between two lines.
        clock: what they are measured by.
        wait: waits that long, or until the event is set, and says whether it is; tests wait for
            nothing.
    """

    def __init__(
        self,
        every: float = EVERY,
        clock: Callable[[], float] = time.perf_counter,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        super().__init__()
        self.every, self.clock, self.wait = every, clock, wait

    @contextmanager
    def show(self, name: str, total: int, unit: str, done: int, tally: _Tally) -> Iterator[Counter]:
        if sys.stderr.isatty():
            with self._bar(name, total, unit, done, tally) as counter:
                yield counter
            return
        started, ended = self.clock(), threading.Event()

        def line() -> str:
            return f"{name:<24} {running(total, unit, done, tally.reached, self.clock() - started)}"

        def tell() -> None:
            while not self.wait(ended, self.every):
                _print(line())

        if total > 1:
            _print(
                f"{name:<24} {total - done:>7,} {unit} to do{f', {done:,} kept' if done else ''}"
            )
        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield tally
        finally:
            ended.set()
            teller.join()
        if tally.n:
            seconds = max(self.clock() - started, 1e-9)
            rate = f"{per(unit, tally.n, seconds)}  " if tally.n > 1 else ""
            _print(
                f"{name:<24} {tally.n:>7,} {unit}  "
                f"{rate}{lasted(seconds)}{f'  ({done:,} kept)' if done else ''}"
            )

    @contextmanager
    def _bar(self, name: str, total: int, unit: str, done: int, tally: _Tally) -> Iterator[Counter]:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        columns = (
            TextColumn(f"{name:<24}"),
            BarColumn(bar_width=18),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task("", total=total, completed=done, rate="")
            started = self.clock()

            def changed() -> None:
                n = tally.reached
                rate = per(unit, n, self.clock() - started) if n > 1 else ""
                bars.update(task, completed=done + n, rate=rate)

            tally.changed = changed
            yield tally


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def per(unit: str, n: int, seconds: float) -> str:
    """A rate in the unit that has a digit to show: `12/s`, or `4.5 s each` where one takes longer
    than a second."""
    rate = n / max(seconds, 1e-9)
    return (
        f"{rate:,.0f}/s"
        if rate >= 10
        else f"{rate:.1f}/s"
        if rate >= 1
        else f"{1 / rate:.1f} s per {singular(unit)}"
    )


def singular(unit: str) -> str:
    """One of what a stage counts."""
    return unit[:-1] if unit.endswith("s") else unit


def running(total: int, unit: str, done: int, n: int, seconds: float) -> str:
    """How far a stage is: what is done, the rate, and the time left.

    Args:
        total: units of the stage.
        unit: what they are called.
        done: those that an earlier run has finished.
        n: those done since.
        seconds: that this took.
    """
    words = f"{done + n:>7,} of {total:,} {unit}  {lasted(seconds)} so far"
    if not n:
        return words
    return (
        f"{words}, {per(unit, n, seconds)}, about {lasted((total - done - n) * seconds / n)} left"
    )


def lasted(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
