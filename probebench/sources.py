"""Examples of a task: from the package, the hub, or a local file in the same columns."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probebench.errors import BadFileError, UnavailableError
from probebench.tasks import Task
from probebench.types import Example

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The examples of one run, with what is needed to find them again."""

    examples: tuple[Example, ...]
    origin: str
    """Embedded file, hub id or local file name."""
    revision: str | None
    """Commit of a hub data set."""
    sha256: str
    """Hash over ids, questions, references and groups, in order."""
    n_dropped: int
    """Rows left out because they repeat an earlier row (same group, question and references)."""


def load_dataset(task: Task, data: str | None = None, limit: int | None = None, *, offline: bool = False) -> Dataset:
    """Examples of `task`, or of a local file in its columns or in the plain `question, answers` form.

    Raises:
        BadFileError: a missing file, or a row without question or answers, with its line number.
        UnavailableError: a hub data set that cannot be reached.
    """
    revision: str | None = None
    if data is not None:
        origin, rows = data, read_rows(Path(data))
    elif task.source.embedded is not None:
        path = Path(__file__).parent / "tiny" / task.source.embedded
        origin, rows = f"embedded:{task.source.embedded}", read_rows(path)
    else:
        origin = f"hub:{task.source.hub}"
        rows, revision = _hub_rows(task, offline=offline)
    examples, dropped = _unique(_example(task, row, where) for where, row in rows)
    if not examples:
        raise BadFileError(f"{origin} holds no examples.")
    examples = examples[:limit] if limit is not None else examples
    digest = hashlib.sha256()
    for e in examples:
        digest.update(json.dumps([e.id, e.question, e.references, e.group, e.split]).encode())
    return Dataset(tuple(examples), origin, revision, digest.hexdigest(), dropped)


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a jsonl, json, csv, tsv or parquet file, each with where it stands (`file, line 3`).

    Raises:
        BadFileError: a missing, empty or unreadable file, with the line number.
    """
    if not path.is_file():
        raise BadFileError(f"There is no file {str(path)!r}.")
    if path.suffix not in SUFFIXES:
        raise BadFileError(f"{path.name}: the ending must be one of {', '.join(SUFFIXES)}; got {path.suffix!r}.")
    if path.stat().st_size == 0:
        raise BadFileError(f"{path.name} is empty.")
    try:
        if path.suffix == ".jsonl":
            yield from _read_jsonl(path)
        elif path.suffix == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, list):
                raise BadFileError(f"{path.name}: a json file must hold a list of rows; got {type(content).__name__}.")
            for i, row in enumerate(content):
                yield f"{path.name}, row {i + 1}", _mapping(row, f"{path.name}, row {i + 1}")
        elif path.suffix == ".parquet":
            import pyarrow.parquet as pq

            for i, row in enumerate(pq.read_table(path).to_pylist()):
                yield f"{path.name}, row {i + 1}", row
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
                for line in reader:
                    yield f"{path.name}, line {reader.line_num}", dict(line)
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error, OSError, ValueError) as error:
        raise BadFileError(f"{path.name}: not readable as {path.suffix[1:]}: {error}") from None


def _read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path.name}, line {number}"
                try:
                    yield where, _mapping(json.loads(line), where)
                except json.JSONDecodeError as error:
                    raise BadFileError(f"{where}: not valid JSON: {error.msg} at character {error.pos + 1}.") from None


def _mapping(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise BadFileError(f"{where}: a row must be an object with named fields; got {type(row).__name__}.")
    return row


def _hub_rows(task: Task, *, offline: bool) -> tuple[Iterator[tuple[str, dict[str, Any]]], str | None]:
    """Rows of a hub data set and the commit they come from."""
    import os

    source = task.source
    if offline:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        table = datasets.load_dataset(source.hub, source.config, split=source.split, revision=source.revision)
    except Exception as error:  # the hub client raises a dozen unrelated types when a data set is out of reach
        raise UnavailableError(
            f"Task {task.name!r} needs the hub data set {source.hub!r} (config {source.config!r}, split {source.split!r}), "
            f"which cannot be reached from here ({type(error).__name__}). Download it where there is a network and give "
            f"the file with --data FILE, in the same columns or as question and answers."
        ) from None
    revision = source.revision
    for url in getattr(table, "download_checksums", None) or {}:
        if "@" in url:  # hf://datasets/<id>@<commit>/<file>
            revision = url.split("@", 1)[1].split("/", 1)[0]
    return ((f"{source.hub}, row {i + 1}", row) for i, row in enumerate(table)), revision


def _example(task: Task, row: Mapping[str, Any], where: str) -> Example:
    """One example from a row in the publisher's columns, or in the plain `question, answers` form."""
    question = _lookup(row, task.fields.question) or row.get("question")
    if not isinstance(question, str) or not question.strip():
        raise BadFileError(f"{where}: no question in field {task.fields.question!r}; fields here: {', '.join(map(str, row))}.")
    references: dict[str, None] = {}
    for path in task.fields.answers:
        references.update(dict.fromkeys(strings(_lookup(row, path))))
    if not references:
        references.update(dict.fromkeys(strings(row.get("answers"))))
    if not references:
        raise BadFileError(
            f"{where}: no answer in {' or '.join(map(repr, task.fields.answers))}; fields here: {', '.join(map(str, row))}."
        )
    keys = [_lookup(row, path) for path in task.fields.group]
    group = "\x1f".join(str(question if key is None else key).strip() for key in keys)
    given = _lookup(row, task.fields.id) if task.fields.id else row.get("id")
    identity = str(given) if given is not None else hashlib.sha256(f"{group}\x1f{question}".encode()).hexdigest()[:16]
    return Example(identity, question.strip(), tuple(references), group, fields=dict(row))


def _lookup(row: Mapping[str, Any], path: str) -> Any:
    value: Any = row
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def strings(value: Any) -> list[str]:
    """Non-empty strings in a string, a number, a list, or a JSON list written as text (csv files)."""
    if value is None:
        return []
    if isinstance(value, str) and value.startswith("["):
        with suppress(json.JSONDecodeError):
            value = json.loads(value)
    items = value if isinstance(value, list | tuple) else [value]
    return [text for item in items if item is not None and (text := str(item).strip())]


def _unique(examples: Iterable[Example]) -> tuple[list[Example], int]:
    """Examples without exact repeats, ids made distinct."""
    seen: set[tuple[str, str, tuple[str, ...]]] = set()
    ids: set[str] = set()
    kept, dropped = [], 0
    for e in examples:
        key = (e.group, e.question, e.references)
        if key in seen:
            dropped += 1
            continue
        seen.add(key)
        if e.id in ids:
            raise BadFileError(f"The id {e.id!r} stands for two different examples; ids must be unique.")
        ids.add(e.id)
        kept.append(e)
    return kept, dropped
