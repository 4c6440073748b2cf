"""Files given with `--data`: several, folders, and the publisher's own ones, which keep their
split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from probebench.errors import UsageError
from probebench.tasks.local.formats import data_files
from probebench.tasks.local.rows import FileRow, read_rows
from probebench.tasks.schema import Task
from probebench.text import listed
from probebench.types import Example

NAMED = 5
"""Files that an origin names at most."""


def local_rows(task: Task, data: Sequence[str]) -> tuple[str, list[FileRow]]:
    """The names of the given files, and their rows, file by file.

    Raises:
        BadFileError: a missing file, a folder without data, or a row that cannot be read, with its
            line.
        UsageError: no file is named.
    """
    if not data or not all(path.strip() for path in data):
        raise UsageError(f"--data must name a file or a folder; got {list(data)}.")
    paths = data_files(data)
    splits = _published_splits(task, paths)
    return listed([path.name for path in paths], NAMED), [
        replace(row, split=splits.get(path), file=label)
        for path, label in _labelled(paths)
        for row in read_rows(path)
    ]


def _labelled(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Each file with what its ids are told apart by: its name up to the first dot, or its path
    where two have that name."""
    names = [path.name.split(".")[0] for path in paths]
    for path, name in zip(paths, names, strict=True):
        yield path, name if names.count(name) == 1 else str(path)


def _published_splits(task: Task, paths: Sequence[Path]) -> dict[Path, Literal["train", "test"]]:
    """The publisher's split of the files that are his, to the byte; none where they are not a train
    and a test split."""
    known = {file.sha256: file.split for file in task.source.files if file.split}
    if task.split != "official" or not known or len(paths) < 2:
        return {}
    found = {
        path: known.get(hashlib.sha256(path.read_bytes()).hexdigest())
        for path in paths
        if path.is_file()
    }
    if set(found.values()) != {"train", "test"}:
        return {}
    return {path: split for path, split in found.items() if split is not None}


def told_apart(examples: Sequence[Example], files: Sequence[str]) -> list[Example]:
    """Examples whose ids say which file they are of, where files count from the same number; else
    as they are.

    Args:
        examples: of all files.
        files: (example,) which file each is of.
    """
    first: dict[str, tuple[str, str]] = {}
    for e, file in zip(examples, files, strict=True):
        other, question = first.setdefault(e.id, (file, e.question))
        if other != file and question != e.question:
            return [
                replace(x, id=f"{name}:{x.id}") for x, name in zip(examples, files, strict=True)
            ]
    return list(examples)
