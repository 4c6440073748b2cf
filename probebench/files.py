"""Files: written whole or not at all, and found again by what they hold, never by name alone.

A run directory keeps each stage's shards in `stages/<stage>-<key>/`. The key is a hash of
everything that decides the stage's numbers. A shard counts once the manifest names it, with its
checksum; a kill at any moment costs one shard.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from probebench.errors import LockedError, RunError, UsageError, WriteError

if TYPE_CHECKING:
    from filelock import BaseFileLock

SCHEMA_VERSION = 1
STAGES = "stages"
"""Folder of a run directory that holds its stages."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says when a disk, or a user's part of it, is full."""

MANIFEST = "manifest.jsonl"
"""The list of shards of a stage; a folder with one is a stage's."""


def content_key(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of inputs as canonical JSON."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Write to a temporary name, sync, rename: the file is either there and whole or not there.

    Raises:
        WriteError: the disk is full or not writable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise WriteError(
            f"Cannot write {path}, {len(content):,} bytes: "
            f"{error.strerror or error}{_room(path, error)}. Nothing half-written was "
            f"kept; free space and run the same command again."
        ) from None


def make_folder(folder: Path) -> None:
    """Make a folder that a user named, if it is not there.

    Raises:
        UsageError: it cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"Cannot write into {folder}: {error.strerror}. Choose another folder with --out."
        ) from None


def _room(path: Path, error: OSError) -> str:
    """How much is free, where that is the trouble."""
    if error.errno not in FULL:
        return ""
    try:
        return f" ({shutil.disk_usage(path.parent).free:,} bytes are free)"
    except OSError:
        return ""


def _sweep(folder: Path, mine: int | None = None) -> None:
    """Remove what processes that are gone left half-written in a run directory; no one reads it,
    but a shard can be gigabytes.

    Args:
        folder: a run directory, locked.
        mine: this process, when it is about to leave.
    """
    from psutil import pid_exists

    for path in (*folder.glob(".*.tmp"), *folder.glob(".*.tmp.*"), *folder.glob("stages/*/.*.tmp")):
        pid = path.name.split(".")[-2]  # figures have none
        if not pid.isdigit() or int(pid) == mine or not pid_exists(int(pid)):
            with suppress(OSError):
                path.unlink()


def clean_json(value: Any) -> Any:
    """NaN and infinities as None, numpy scalars as Python numbers."""
    if isinstance(value, Mapping):
        return {str(k): clean_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON: an undefined number is null."""
    write_atomic(
        path,
        (
            json.dumps(clean_json(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        ).encode(),
    )


class Lock:
    """One process per run directory; the second one says so and stops.

    A run that fails before it has written anything leaves no folder behind, nor those above it that
    it made.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        self._lock: BaseFileLock | None = None
        self._made: list[Path] = []

    def __enter__(self) -> Lock:
        from filelock import FileLock, Timeout

        folder = self.path.parent
        self._made = [place for place in (folder, *folder.absolute().parents) if not place.exists()]
        self._lock = FileLock(self.path, timeout=0)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            if not self.path.exists():  # the run that held it failed and took its folder away
                return self.__enter__()
            raise LockedError(
                f"Another process is working in {folder}. Wait for it, or choose another folder "
                "with --out."
            ) from None
        except OSError as error:
            raise RunError(
                f"Cannot use the run directory {folder}: {error.strerror or error}. Choose another "
                "with --out."
            ) from None
        _sweep(folder)
        return self

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
        if error is not None:
            _sweep(self.path.parent, os.getpid())
            self._tidy()
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
                f"Cannot write {place}: {error.strerror}{_room(place, error)}. Nothing "
                "half-written was kept; free space and run the same command again."
            ) from None


class Background:
    """One write at a time, beside the computing of what comes next: never more than one shard waits
    for the disk."""

    def __enter__(self) -> Background:
        self._pool, self._pending = ThreadPoolExecutor(max_workers=1), Future[None]()
        self._pending.set_result(None)
        return self

    def wait(self) -> None:
        """Until the last write is done; raises what it raised."""
        self._pending.result()

    def submit(self, write: Callable[..., None], *args: Any) -> None:
        """Begin a write, once the one before is done."""
        self.wait()
        self._pending = self._pool.submit(write, *args)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            self.wait()


class ShardStore:
    """The shards of one stage of one run.

    Args:
        folder: the run directory.
        name: stage name.
        inputs: everything that decides its numbers; hashed to the key.
    """

    def __init__(self, folder: Path, name: str, inputs: Mapping[str, Any]) -> None:
        self.name, self.inputs, self.key = name, inputs, content_key(inputs)
        self.place = f"{STAGES}/{name}-{self.key[:16]}"
        self.folder = folder / self.place
        self.manifest = self.folder / MANIFEST
        self.shards: dict[str, str] = {}
        self._open()

    def _open(self) -> None:
        """Read the manifest, or begin one."""
        try:
            lines = self.manifest.read_text(encoding="utf-8").splitlines()
            head = json.loads(lines[0])
        except (OSError, IndexError, json.JSONDecodeError):
            head, lines = None, []
        if head is None or head.get("key") != self.key:
            start = {
                "schema_version": SCHEMA_VERSION,
                "stage": self.name,
                "key": self.key,
                "inputs": self.inputs,
            }
            write_atomic(
                self.manifest, (json.dumps(start, sort_keys=True, default=str) + "\n").encode()
            )
            return
        for line in lines[1:]:
            with suppress(json.JSONDecodeError, KeyError):  # a line torn by a kill names no shard
                entry = json.loads(line)
                self.shards[entry["file"]] = entry["sha256"]

    def has(self, name: str) -> bool:
        """Is this shard there, whole and unchanged?"""
        expected = self.shards.get(name)
        try:
            return (
                expected is not None
                and hashlib.sha256((self.folder / name).read_bytes()).hexdigest() == expected
            )
        except OSError:
            return False

    def write(self, name: str, content: bytes) -> None:
        """Store one shard, then name it in the manifest."""
        write_atomic(self.folder / name, content)
        digest = hashlib.sha256(content).hexdigest()
        line = json.dumps({"file": name, "sha256": digest, "bytes": len(content)}) + "\n"
        try:
            with self.manifest.open("r+b") as file:
                file.seek(0, os.SEEK_END)
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    torn = file.read(1) != b"\n"
                    file.write((("\n" if torn else "") + line).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise WriteError(
                f"Cannot write {self.manifest}, {len(line):,} bytes: "
                f"{error.strerror or error}{_room(self.manifest, error)}. The "
                f"shard {name} is not believed; free space and run the same command again."
            ) from None
        self.shards[name] = digest

    def read(self, name: str) -> bytes:
        """One shard's bytes."""
        return (self.folder / name).read_bytes()


def shard_name(i: int, suffix: str) -> str:
    """File name of shard `i`."""
    return f"{i:05d}.{suffix}"
