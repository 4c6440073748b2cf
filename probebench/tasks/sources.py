"""Examples of a task: from the package, the hub, or a local file in the same columns."""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

from probebench.errors import BadFileError, UnavailableError
from probebench.files import write_atomic
from probebench.hub import hub_is_there
from probebench.options.python import speaks_python
from probebench.tasks.examples import sampled, to_example
from probebench.tasks.labelled.spans import joined
from probebench.tasks.labelled.turns import answers_apart
from probebench.tasks.local.data import local_rows, told_apart
from probebench.tasks.local.rows import FileRow, lookup, read_rows, text_of
from probebench.tasks.schema import File, Task
from probebench.tasks.split import official_split
from probebench.types import Example

START = 16
"""Digits of a file's sha256 that name its folder in the cache."""
CACHED = re.compile(f"[0-9a-f]{{{START}}}")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The examples of one run, with what is needed to find them again."""

    examples: tuple[Example, ...]
    origin: str
    """Embedded file, hub id or local file name."""
    revision: str | None
    """Commit of a hub data set."""
    sha256: str
    """Hash over ids, questions, references, labels and groups, in order."""
    n_dropped: int
    """Rows left out: exact repeats, statements with both labels, test rows of an official split
    with a twin in train."""


@speaks_python()
def load_dataset(
    task: Task,
    data: str | Sequence[str] | None = None,
    limit: int | None = None,
    *,
    offline: bool = False,
) -> Dataset:
    """Examples of `task`, or of local files and folders in its columns or in the plain `question,
    answers` form.

    Raises:
        BadFileError: a missing file, or a row without question, answers or group, with its line
            number.
        UnavailableError: a source that cannot be reached.
    """
    source, revision = task.source, None
    rows: Iterable[FileRow]
    if data is not None:
        origin, rows = local_rows(task, [data] if isinstance(data, str) else data)
    elif source.embedded is not None:
        origin, rows = (
            f"embedded:{source.embedded}",
            read_rows(Path(__file__).parent.parent / "tiny" / source.embedded),
        )
    elif source.files:
        origin = f"files:{source.name}"
        rows = [
            row for file, path in _fetched(task, offline=offline) for row in _file_rows(file, path)
        ]
    else:
        origin = f"hub:{source.hub}"
        rows, revision = _hub_rows(task, offline=offline)
    wanted = [
        r
        for r in rows
        if all(text_of(lookup(r.fields, k)) == v for k, v in source.where.items() if k in r.fields)
    ]
    if task.spans:
        wanted = joined(task.spans, wanted)
    if task.turns:
        wanted = list(answers_apart(task.turns, task.fields.label, wanted))
    examples, dropped = _unique(
        told_apart([to_example(task, row) for row in wanted], [row.file for row in wanted])
    )
    if any(e.split is not None for e in examples):
        examples, twins = _without_twins(examples)
        dropped += twins
    if not examples:
        raise BadFileError(f"{origin} holds no examples.")
    examples = [examples[i] for i in sampled([e.id for e in examples], limit)]
    digest = hashlib.sha256()
    for e in examples:
        content: list[Any] = [e.id, e.question, e.references, e.wrong, e.label, e.group, e.split]
        content += [asdict(e.marked)] if e.marked else []
        digest.update(json.dumps(content).encode())
    return Dataset(tuple(examples), origin, revision, digest.hexdigest(), dropped)


def cache_folder() -> Path:
    """Where downloaded files are kept: `$PROBEBENCH_CACHE`, or `~/.cache/probebench`."""
    return Path(os.environ.get("PROBEBENCH_CACHE") or Path.home() / ".cache" / "probebench")


def cached_files() -> list[Path]:
    """Files that were downloaded and are kept: those whose content has the hash that the name of
    their folder begins. Whatever else lies in the cache folder belongs to somebody else."""
    top, found = cache_folder(), []
    for folder in sorted(top.iterdir()) if top.is_dir() else []:
        if CACHED.fullmatch(folder.name) and folder.is_dir():
            found += [p for p in sorted(folder.iterdir()) if _is_cached(p, folder.name)]
    return found


def _is_cached(path: Path, start: str) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with suppress(OSError), path.open("rb") as file:  # what cannot be read is not known to be ours
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(start)
    return False


def _fetched(task: Task, *, offline: bool) -> list[tuple[File, Path]]:
    """The pinned files of a task, each downloaded once and checked against its sha256; all that are
    missing are named."""
    placed = [
        (
            file,
            cache_folder() / file.sha256[:START] / Path(urllib.parse.urlparse(file.url).path).name,
        )
        for file in task.source.files
    ]
    missing = [(file, path) for file, path in placed if not path.is_file()]
    if missing and offline:
        raise _unreachable(
            task,
            _file_words(missing),
            f"--offline forbids to fetch {'it' if len(missing) == 1 else 'them'}",
        )
    for i, (file, path) in enumerate(missing):
        try:
            with urllib.request.urlopen(file.url, timeout=60) as answer:
                content = answer.read()
        except (OSError, HTTPException) as error:  # the second where a download is cut short
            said = str(error) or type(error).__name__
            raise _unreachable(task, _file_words(missing[i:]), said) from None
        found = hashlib.sha256(content).hexdigest()
        if found != file.sha256:
            raise UnavailableError(
                f"{file.url} has sha256 {found}; task {task.name!r} is pinned to {file.sha256}."
            )
        write_atomic(path, content)
    return placed


def _file_words(missing: Sequence[tuple[File, Path]]) -> str:
    """Missing files by address."""
    urls = [file.url for file, _ in missing]
    if len(urls) == 1:
        return f"the file {urls[0]}"
    return f"the {len(urls)} files {', '.join(urls)}"


def _file_rows(file: File, path: Path) -> list[FileRow]:
    return [FileRow(r.where, r.fields, file.split) for r in read_rows(path)]


def _hub_rows(task: Task, *, offline: bool) -> tuple[Iterator[FileRow], str | None]:
    """Rows of a hub data set and the commit they come from."""
    source = task.source
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        # without a network the hub's client would try again and again for half a minute
        datasets.config.HF_HUB_OFFLINE = before or offline or not hub_is_there()
        table = datasets.load_dataset(
            source.hub, source.config, split=source.split, revision=source.revision
        )
    except (
        Exception
    ) as error:  # the hub client raises a dozen unrelated types when a data set is out of reach
        what = f"the hub data set {source.hub!r} (config {source.config!r}, split {source.split!r})"
        raise _unreachable(task, what, type(error).__name__) from None
    finally:
        datasets.config.HF_HUB_OFFLINE = before  # the network may be there again in a long session
    revision = source.revision
    for url in getattr(table, "download_checksums", None) or {}:
        if "@" in url:  # hf://datasets/<id>@<commit>/<file>
            revision = url.split("@", 1)[1].split("/", 1)[0]
    return (FileRow(f"{source.hub}, row {i + 1}", row) for i, row in enumerate(table)), revision


def _unreachable(task: Task, what: str, why: str) -> UnavailableError:
    files, them = (
        ("--data FILE once for each, or their folder", "them")
        if what.startswith("the ") and " files " in what
        else ("--data FILE", "it")
    )
    return UnavailableError(
        f"Task {task.name!r} needs {what}, which cannot be reached from here ({why}). Download "
        f"{them} where there is a network "
        f"and give {files}, in the same columns or as question and answers."
    )


def _unique(examples: Iterable[Example]) -> tuple[list[Example], int]:
    """Examples without exact repeats and without statements that carry both labels, and how many
    were left out."""
    kept: dict[tuple[Any, ...], Example] = {}
    ids: set[str] = set()
    labels: dict[str, set[int | None]] = {}
    n = 0
    for e in examples:
        n += 1
        key = (e.group, e.question, e.references, e.label, e.marked)
        if key in kept:
            continue
        if e.id in ids:
            raise BadFileError(
                f"The id {e.id!r} stands for two different examples; ids must be unique."
            )
        ids.add(e.id)
        kept[key] = e
        labels.setdefault(e.question, set()).add(e.label)
    result = [e for e in kept.values() if len(labels[e.question]) == 1]
    return result, n - len(result)


def _without_twins(examples: Sequence[Example]) -> tuple[list[Example], int]:
    """An official split without test examples whose group is in train; train gives a quarter of its
    groups to validation."""
    train = {e.group for e in examples if e.split == "train"}
    kept = [e for e in examples if e.split != "test" or e.group not in train]
    placed = [replace(e, split=official_split(e.group)) if e.split == "train" else e for e in kept]
    return placed, len(examples) - len(kept)
