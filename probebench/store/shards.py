"""Shards of a stage: written by one process or by several, and found again by what they hold.

A run directory keeps each stage's shards in `stages/<stage>-<key>/`. The key is a hash of
everything that decides the stage's numbers. A shard counts once a manifest names it, with its
checksum; a kill at any moment costs one shard. Every writer has a manifest of its own, which it
replaces whole after each shard, so that no two processes ever write one list, and nothing is
appended or renamed where a file system knows neither. Readers take all manifests together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probebench.errors import RunError, UsageError, WriteError
from probebench.files import content_key, write_atomic

SCHEMA_VERSION = 1
STAGES = "stages"
"""Folder of a run directory that holds its stages."""
MANIFEST, ENDING = "manifest", ".jsonl"
"""`manifest.jsonl` lists the shards that whole runs wrote, `manifest-<writer>.jsonl` those of one
writer among several; a folder with one is a stage's."""


def manifest_name(writer: str = "") -> str:
    """File name of a writer's manifest.

    Raises:
        UsageError: a writer whose name cannot be part of a file's.
    """
    if not all(c.isalnum() or c in "-_." for c in writer):
        raise UsageError(
            f"A writer is named with letters, digits, '-', '_' and '.'; got {writer!r}."
        )
    return f"{MANIFEST}-{writer}{ENDING}" if writer else f"{MANIFEST}{ENDING}"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Only a file that is not there is missing: one that cannot be read may hold what an hour went
    into, and nothing may take its place.

    Raises:
        FileNotFoundError: it is not there.
        RunError: it cannot be read.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(
            f"Cannot read {path}: {error.strerror or error}. Nothing was changed; once it can be "
            "read, run the same command again."
        ) from None


@dataclass(frozen=True, slots=True)
class Manifest:
    """One list of shards."""

    head: Mapping[str, Any]
    """Stage, key, and all that the key is of."""
    shards: Mapping[str, Mapping[str, Any]]
    """File name -> its line: `file`, `sha256` and `bytes`."""

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """A manifest as it stands.

        Raises:
            FileNotFoundError, RunError: as `reading`.
            ValueError: its first line is not one of a manifest.
        """
        with reading(path):
            head, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
        told, shards = json.loads(head), {}
        if not (isinstance(told, dict) and {"key", "inputs"} <= told.keys()):
            raise ValueError("its first line has no key")
        for line in lines:
            with suppress(
                json.JSONDecodeError, KeyError, TypeError
            ):  # a line torn by a kill names no shard
                entry = json.loads(line)
                entry["sha256"]
                shards[entry["file"]] = entry
        return cls(told, shards)


def manifests(folder: Path) -> list[Path]:
    """The manifests in the folder of a stage, that of whole runs first."""
    return sorted(folder.glob(f"{MANIFEST}*{ENDING}"), key=lambda p: (len(p.name), p.name))


def read_manifests(folder: Path, key: str | None = None) -> Iterator[Manifest]:
    """Every manifest of a stage.

    Args:
        folder: of the stage.
        key: only those of this content key.
    """
    for path in manifests(folder):
        with suppress(FileNotFoundError, ValueError):
            found = Manifest.read(path)
            if key is None or found.head["key"] == key:
                yield found


def sums_of(found: list[Manifest]) -> dict[str, frozenset[str]]:
    """File name -> checksums, of which its content has one: a shard that two have written is there
    once, and is the one that was written last."""
    names = {name: None for one in found for name in one.shards}  # in the order they are listed
    return {
        name: frozenset(one.shards[name]["sha256"] for one in found if name in one.shards)
        for name in names
    }


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
        writer: who writes here, where several do at once, each under a name of its own; empty: one
            process has the run directory to itself.
    """

    def __init__(
        self, folder: Path, name: str, inputs: Mapping[str, Any], writer: str = ""
    ) -> None:
        self.name, self.inputs, self.key = name, inputs, content_key(inputs)
        self.place = f"{STAGES}/{name}-{self.key[:16]}"
        self.folder = folder / self.place
        self.manifest = self.folder / manifest_name(writer)
        self._own: dict[str, Mapping[str, Any]] = {}
        self.shards: dict[str, frozenset[str]] = {}
        """File name -> checksums, of which its content has one."""
        self._open(writer)

    def _open(self, writer: str) -> None:
        """Read the manifests, and begin that of whole runs."""
        try:
            found = Manifest.read(self.manifest)
            begun = found.head["key"] == self.key
        except (FileNotFoundError, ValueError):
            begun = False
        if begun:
            self._own = dict(found.shards)
        elif not writer:
            self._publish()
        self.refresh()

    def refresh(self) -> None:
        """Read again which shards there are: others may have written some."""
        self.shards = sums_of(list(read_manifests(self.folder, self.key)))

    def _publish(self) -> None:
        """Replace this writer's manifest."""
        head = {
            "schema_version": SCHEMA_VERSION,
            "stage": self.name,
            "key": self.key,
            "inputs": self.inputs,
        }
        lines = [json.dumps(head, sort_keys=True, default=str)]
        lines += [json.dumps(entry) for entry in self._own.values()]
        write_atomic(self.manifest, ("\n".join(lines) + "\n").encode())

    def has(self, name: str) -> bool:
        """Is this shard there, whole and unchanged?"""
        try:
            return name in self.shards and digest_of(self.read(name)) in self.shards[name]
        except FileNotFoundError:
            return False

    def write(self, name: str, content: bytes) -> None:
        """Store one shard, then name it in the manifest.

        Raises:
            WriteError: the disk is full or not writable; the shard is not believed.
        """
        digest = digest_of(content)
        write_atomic(self.folder / name, content)
        before, entry = self._own, {"file": name, "sha256": digest, "bytes": len(content)}
        self._own = {**before, name: entry}
        try:
            self._publish()
        except WriteError:
            self._own = before
            raise
        self.shards[name] = self.shards.get(name, frozenset()) | {digest}

    def read(self, name: str) -> bytes:
        """One shard's bytes."""
        with reading(self.folder / name):
            return (self.folder / name).read_bytes()


def digest_of(content: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(content).hexdigest()


def shard_name(i: int, suffix: str) -> str:
    """File name of shard `i`."""
    return f"{i:05d}.{suffix}"
