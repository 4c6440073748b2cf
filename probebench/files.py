"""Files: written whole or not at all, and found again by what they hold, never by name alone.

A place is a path, or the URL of a file system that `fsspec` knows, such as `s3://bucket/runs`. The
second behaves as a path does (`UPath`), but for what only a local file has: a lock, a memory map, a
name that can be changed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np

from probebench.errors import UnavailableError, UsageError, WriteError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says when a disk, or a user's part of it, is full."""
URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)
"""A place elsewhere: protocol and the rest. A drive of Windows has one letter."""
POINTER, LARGEST_POINTER = b"version https://git-lfs.github.com/spec/", 1024
"""How a pointer of Git LFS begins, and its bytes at most."""
HOST = socket.gethostname().replace(".", "_")
"""This machine, in the names of files that are being written: several may share a folder."""


def content_key(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of inputs as canonical JSON."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def located(given: str | os.PathLike[str]) -> Path:
    """A file or folder by its name, without looking for it.

    Args:
        given: a path or a URL; a place that is known already stays as it is.

    Raises:
        UsageError: a file system that `fsspec` does not know, or whose package is missing, or
            several in a chain.
    """
    found = URL.fullmatch(given) if isinstance(given, str) else None
    if isinstance(given, str) and "::" in given.partition("://")[0] and "://" in given:
        raise UsageError(
            f"{given} cannot be used: file systems in a chain keep copies that nobody else sees. "
            f"Give {given.rpartition('::')[2]}."
        )
    if found is None:
        return Path(given) if isinstance(given, str | os.PathLike) else given
    protocol, rest = found.groups()
    if protocol.lower() in ("file", "local"):
        return Path(rest)
    try:
        from fsspec import get_filesystem_class
        from upath import UPath

        get_filesystem_class(protocol)
    except ImportError as error:
        raise UsageError(
            f"{given} cannot be used, a package is missing: {error}. `pip install "
            "'probebench[s3]'` brings what s3:// needs; [remote] brings what all file systems "
            "need, and each its own."
        ) from None
    except ValueError:
        raise UsageError(
            f"{given} cannot be used: no file system is known as {protocol}://. Give a folder, or "
            "a URL such as s3://bucket/runs."
        ) from None
    # what others have written since must be seen
    return cast(Path, UPath(given, use_listings_cache=False))


def place(given: str | os.PathLike[str]) -> Path:
    """A file or folder as its user named it; a place elsewhere can be reached.

    Raises:
        UsageError: as `located`, or there is no such bucket.
        UnavailableError: it cannot be reached: no rights, no credentials, no connection.
    """
    path = located(given)
    if not elsewhere(path):
        return path
    fs = cast(Any, path).fs
    for at in (cast(Any, path).path, path.drive or path.anchor):
        try:
            fs.ls(at, detail=False)
            return path
        except FileNotFoundError:
            continue  # nothing lies there yet
        except Exception as error:
            raise UnavailableError(f"{path} cannot be reached: {_reason(error)}.") from None
    raise UsageError(
        f"{path} cannot be used: there is no {path.drive or path.anchor}. Make it first."
    )


def elsewhere(path: Path) -> bool:
    """Does it lie on another file system than this machine's?"""
    return not isinstance(path, Path)


def _reason(error: Exception) -> str:
    """What a file system elsewhere says, in one line, with what to do where that is known."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, PermissionError):
        return f"no rights ({text}); the credentials in the environment are not enough for it"
    if "redential" in type(error).__name__ or "redential" in text:
        return f"{text}; give them in the environment or in the files that its own tools read"
    return text


def read_range(path: Path, start: int, end: int) -> bytes:
    """Bytes from `start` up to `end` of a file elsewhere, and no others."""
    fs = cast(Any, path).fs
    return bytes(fs.cat_file(cast(Any, path).path, start=start, end=end))


def readable(path: Path) -> Path | io.BytesIO:
    """A file for a library that reads paths: elsewhere its content."""
    return io.BytesIO(path.read_bytes()) if elsewhere(path) else path


def is_pointer(path: Path) -> bool:
    """Whether a file is a Git LFS pointer, the few lines that a clone without git-lfs leaves in
    place of its content."""
    if path.stat().st_size > LARGEST_POINTER:
        return False
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def leads_nowhere(path: Path) -> str | None:
    """Where a link leads at whose end there is nothing; None for all else."""
    return str(path.readlink()) if path.is_symlink() and not path.exists() else None


def seen_from(folder: Path, path: Path) -> str:
    """How a record names a place: relative to its folder, or whole where there is no way."""
    if not elsewhere(path) and not elsewhere(folder):
        return os.path.relpath(path, folder)
    try:
        return path.relative_to(folder).as_posix()
    except (ValueError, TypeError):
        return str(path) if elsewhere(path) else str(path.absolute())


def joined(folder: Path, name: str) -> Path:
    """The place that `seen_from` named."""
    whole = URL.fullmatch(name) or Path(name).is_absolute()
    return located(name) if whole else folder / name


def remove_tree(folder: Path) -> None:
    """Delete a folder with all it holds.

    Raises:
        OSError: it cannot be.
    """
    if not elsewhere(folder):
        shutil.rmtree(folder)
        return
    cast(Any, folder).fs.rm(cast(Any, folder).path, recursive=True)


def missing(folder: Path, names: Iterable[str]) -> list[str]:
    """Of files that should lie in a folder, those that do not."""
    return [name for name in names if not (folder / name).is_file()]


def write_atomic(path: Path, content: bytes) -> None:
    """Write to a temporary name, sync, rename: the file is either there and whole or not there.
    Elsewhere it is written in one piece, which object stores show once it is whole.

    Raises:
        WriteError: the disk is full or not writable.
    """
    if elsewhere(path):
        _put(path, content)
        return
    temporary = path.with_name(f".{path.name}.{HOST}-{os.getpid()}.tmp")
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
            f"{error.strerror or error}{free_room(path, error)}. Nothing half-written was kept; "
            f"{_mend(error)}."
        ) from None


def _mend(error: OSError) -> str:
    """What to do where a file could not be written."""
    if isinstance(error, NotADirectoryError | FileExistsError):
        return "a part of the path is a file: name another folder"
    if error.errno in FULL:
        return "free space and run the same command again"
    return "put that right and run the same command again"


def _put(path: Path, content: bytes) -> None:
    """Write a file elsewhere; folders are made where the file system has any, buckets never."""
    fs = cast(Any, path).fs
    try:
        try:
            path.write_bytes(content)
        except FileNotFoundError:
            for folder in [p for p in reversed(path.parents) if str(p) != p.anchor][1:]:
                if not folder.exists():
                    fs.mkdir(cast(Any, folder).path, create_parents=False)
            path.write_bytes(content)
    except Exception as error:
        raise WriteError(
            f"Cannot write {path}, {len(content):,} bytes: {_reason(error)}. What was finished is "
            "kept; once it can be written, run the same command again."
        ) from None


def make_folder(folder: Path) -> None:
    """Make a folder that a user named, if it is not there; elsewhere a file makes its own.

    Raises:
        UsageError: it cannot be.
    """
    if elsewhere(folder):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"Cannot write into {folder}: {error.strerror}. Choose another folder with --out."
        ) from None


def free_room(path: Path, error: OSError) -> str:
    """How much is free, where that is the trouble."""
    if error.errno not in FULL:
        return ""
    try:
        return f" ({shutil.disk_usage(path.parent).free:,} bytes are free)"
    except OSError:
        return ""


def clean_json(value: Any) -> Any:
    """NaN and infinities as None, numpy scalars as Python numbers."""
    if isinstance(value, Mapping):
        return {str(k): clean_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def with_digits(value: Any, digits: int) -> Any:
    """The same content with every real number to so many significant digits."""
    if isinstance(value, Mapping):
        return {k: with_digits(v, digits) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [with_digits(v, digits) for v in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def write_json(path: Path, content: Mapping[str, Any], *, lines: bool = False) -> None:
    """Write strict JSON: an undefined number is null.

    With `lines` each entry of the top level is one line, without the spaces of an indented file.
    """
    plain = clean_json(content)
    if lines:
        entries = (f"{compact_json(key)}:{compact_json(value)}" for key, value in plain.items())
        text = "{\n" + ",\n".join(entries) + "\n}"
    else:
        text = json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode())


def compact_json(value: Any) -> str:
    """Strict JSON in one line, without spaces."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
