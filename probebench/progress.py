"""Progress of long work: bars with rate and time left on a terminal, one line per stage elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
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

    @contextmanager
    def stage(self, name: str, total: int, unit: str, done: int = 0) -> Iterator[Counter]:
        """Watch one stage of `total` units, `done` of which an earlier run has finished."""
        tally = _Tally()
        started = time.perf_counter()
        try:
            with self.show(name, total, unit, done, tally) as counter:
                yield counter
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
            self.done[name] = self.done.get(name, 0) + tally.n

    def count_tokens(self, name: str, n: int) -> None:
        """Note tokens that went through the model in a stage."""
        self.tokens[name] = self.tokens.get(name, 0) + n

    def facts(self) -> dict[str, dict[str, float]]:
        """Seconds, units done and tokens of each stage, of this process alone."""
        return {
            name: {"seconds": round(seconds, 2), "done": self.done[name], "tokens": self.tokens.get(name, 0)}
            for name, seconds in self.seconds.items()
        }

    @contextmanager
    def show(self, name: str, total: int, unit: str, done: int, tally: _Tally) -> Iterator[Counter]:
        yield tally


class _Tally:
    def __init__(self) -> None:
        self.n = 0

    def advance(self, n: int = 1) -> None:
        self.n += n


class TerminalProgress(Progress):
    """Progress on standard error."""

    @contextmanager
    def show(self, name: str, total: int, unit: str, done: int, tally: _Tally) -> Iterator[Counter]:
        if not sys.stderr.isatty():
            started = time.perf_counter()
            yield tally
            if tally.n:
                seconds = max(time.perf_counter() - started, 1e-9)
                kept = f"  ({done:,} kept)" if done else ""
                rate = f"{tally.n / seconds:,.0f}/s  " if tally.n > 1 else ""
                print(f"{name:<24} {tally.n:>7,} {unit}  {rate}{seconds:.1f} s{kept}", file=sys.stderr)
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn(f"{name:<24}"), BarColumn(bar_width=18), MofNCompleteColumn(), TextColumn(unit),
            TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Bars(*columns, console=Console(stderr=True)) as bars:
            yield _Bar(bars, bars.add_task("", total=total, completed=done, rate=""), tally)


class _Bar:
    def __init__(self, bars: object, task: object, tally: _Tally) -> None:
        self.bars, self.task, self.tally = bars, task, tally
        self.started = time.perf_counter()

    def advance(self, n: int = 1) -> None:
        self.tally.advance(n)
        rate = self.tally.n / max(time.perf_counter() - self.started, 1e-9)
        self.bars.update(self.task, advance=n, rate=f"{rate:,.0f}/s" if self.tally.n > 1 else "")  # type: ignore[attr-defined]
