"""Who works in a run directory: one process that has it to itself, or several writers at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.errors import LockedError, RunError
from probebench.files import FULL, HOST, elsewhere, free_room
from probebench.store.shards import STAGES

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = ".lock"
"""Held by the process that has the run directory to itself; `.lock-<writer>` by one of several."""
PATIENCE = 10.0
"""Seconds that a writer waits for others that look around while it enters."""


class Lock:
    """One process per run directory, or several writers, each under a name of its own; whoever
    comes in between says so and stops.

    Elsewhere nothing can be locked: two runs into one place compute everything twice, and each
    shard is whole, whoever wrote it last.

    A run that fails before it has written anything leaves no folder behind, nor those above it that
    it made.

    Args:
        folder: the run directory.
        writer: name of one among several; empty: the directory to oneself.
    """

    def __init__(self, folder: Path, writer: str = "") -> None:
        self.path, self.writer = folder / (f"{LOCK}-{writer}" if writer else LOCK), writer
        self._lock: BaseFileLock | None = None
        self._made: list[Path] = []

    def __enter__(self) -> Lock:
        from filelock import FileLock, Timeout

        folder = self.path.parent
        if elsewhere(folder):
            return self
        self._made = [place for place in (folder, *folder.absolute().parents) if not place.exists()]
        self._lock = FileLock(self.path, timeout=0)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.writer:
                with FileLock(folder / LOCK, timeout=PATIENCE):
                    self._lock.acquire()
            else:
                self._lock.acquire()
                self._alone()
        except Timeout as error:
            self._lock.release()
            if not Path(error.lock_file).exists():  # who held it failed and took its folder away
                return self.__enter__()
            raise LockedError(self._busy(Path(error.lock_file))) from None
        except OSError as error:
            raise RunError(
                f"Cannot use the run directory {folder}: {error.strerror or error}. Choose another "
                "with --out."
            ) from None
        self._sweep()
        return self

    def _alone(self) -> None:
        """Check that no writer is at work, and take away what writers that are gone held.

        Raises:
            Timeout: one is.
        """
        from filelock import FileLock

        for path in sorted(self.path.parent.glob(f"{LOCK}-*")):
            with FileLock(path, timeout=0):
                pass
            with suppress(OSError):
                path.unlink()

    def _busy(self, held: Path) -> str:
        """Why one cannot come in."""
        folder, other = self.path.parent, held.name.removeprefix(LOCK).removeprefix("-")
        if not other:
            return (
                f"Another process is working in {folder}. Wait for it, or choose another folder "
                "with --out."
            )
        if other == self.writer:
            return (
                f"Another process is working in {folder} as {other}. Wait for it, or start another "
                "part."
            )
        return (
            f"Another process is working in {folder} as {other}, one of several. Wait for them, or "
            "choose another folder with --out."
        )

    def _sweep(self, leaving: bool = False) -> None:
        """Remove what processes that are gone left half-written; no one reads it, but a shard can
        be gigabytes. Who has the directory to itself knows that processes of other machines are
        gone.

        Args:
            leaving: this process is about to leave.
        """
        from psutil import pid_exists

        folder = self.path.parent
        found = [*folder.glob(".*.tmp"), *folder.glob(".*.tmp.*"), *folder.glob("stages/*/.*.tmp")]
        for path in found:
            host, _, pid = path.name.split(".")[-2].rpartition("-")  # figures have neither
            here = host == HOST and pid.isdigit()
            mine, gone = here and int(pid) == os.getpid(), here and not pid_exists(int(pid))
            if gone or (mine and leaving) or not (here or self.writer):
                with suppress(OSError):
                    path.unlink()

    def _tidy(self) -> None:
        """Take away empty folders of stages, and the lock where nothing else is left."""
        folder = self.path.parent
        stages = folder / STAGES
        for place in (*sorted((p for p in stages.rglob("*") if p.is_dir()), reverse=True), stages):
            with suppress(OSError):  # holds something
                place.rmdir()
        with suppress(OSError):  # gone meanwhile; or Windows keeps what is open until released
            if list(folder.iterdir()) == [self.path]:
                self.path.unlink()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if elsewhere(self.path):
            return
        if error is not None:
            self._sweep(leaving=True)
            if not self.writer:  # else another may be about to write into an empty folder
                self._tidy()
        if self.writer:
            with suppress(OSError):
                self.path.unlink()
        if self._lock:
            self._lock.release()
        if error is not None:
            for place in self._made:  # empty, unless something was kept or another run has begun
                with suppress(OSError):
                    place.rmdir()
        # whatever wrote without `write_atomic`, such as a figure
        if isinstance(error, OSError) and error.errno in FULL:
            place = Path(error.filename or self.path.parent)
            raise RunError(
                f"Cannot write {place}: {error.strerror}{free_room(place, error)}. Nothing "
                "half-written was kept; free space and run the same command again."
            ) from None
