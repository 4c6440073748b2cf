"""Files: written whole or not at all, and found again by what they hold, never by name alone."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from probebench.errors import UsageError, WriteError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says when a disk, or a user's part of it, is full."""
HOST = socket.gethostname().replace(".", "_")
"""This machine, in the names of files that are being written: several may share a folder."""


def content_key(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of inputs as canonical JSON."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Write to a temporary name, sync, rename: the file is either there and whole or not there.

    Raises:
        WriteError: the disk is full or not writable.
    """
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
            f"{error.strerror or error}{free_room(path, error)}. Nothing half-written was "
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


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON: an undefined number is null."""
    write_atomic(
        path,
        (
            json.dumps(clean_json(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        ).encode(),
    )
