"""Rows of local files, with the line each one stands on, and how to look into them."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from probebench.errors import BadFileError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source."""

    where: str
    """For messages: file and line."""
    fields: Mapping[str, Any]
    split: Literal["train", "test"] | None = None
    """The publisher's own split."""


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a jsonl, json, csv, tsv or parquet file, each with where it stands (`file, line 3`).

    Raises:
        BadFileError: a missing, empty or unreadable file, with the line number.
    """
    if not path.is_file():
        raise BadFileError(f"{str(path)!r} is a folder, not a file." if path.is_dir() else f"There is no file {str(path)!r}.")
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
                yield Row(f"{path.name}, row {i + 1}", _mapping(row, f"{path.name}, row {i + 1}"))
        elif path.suffix == ".parquet":
            import pyarrow.parquet as pq

            for i, row in enumerate(pq.read_table(path).to_pylist()):
                yield Row(f"{path.name}, row {i + 1}", row)
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
                for line in reader:
                    yield Row(f"{path.name}, line {reader.line_num}", dict(line))
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error, OSError, ValueError) as error:
        raise BadFileError(f"{path.name}: not readable as {path.suffix[1:]}: {error}") from None


def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path.name}, line {number}"
                try:
                    yield Row(where, _mapping(json.loads(line), where))
                except json.JSONDecodeError as error:
                    raise BadFileError(f"{where}: not valid JSON: {error.msg} at character {error.pos + 1}.") from None


def _mapping(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise BadFileError(f"{where}: a row must be an object with named fields; got {type(row).__name__}.")
    return row


def lookup(row: Mapping[str, Any], path: str) -> Any:
    """A value by its name, or by dotted path into nested records; None when it is not there."""
    if path in row:
        return row[path]
    value: Any = row
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _written_list(text: str) -> Any:
    """A list that a csv file holds as text: JSON, or as Python and numpy print one; else the text itself."""
    with suppress(ValueError):
        return json.loads(text)
    quoted = re.sub(r"(?<=['\"])\s+(?=['\"])", ", ", text)  # numpy leaves out the commas
    with suppress(ValueError, SyntaxError):
        return ast.literal_eval(quoted)
    return text


def strings(value: Any) -> list[str]:
    """Non-empty strings in a string, a number, nested lists, or a list written as text (csv files)."""
    if value is None:
        return []
    if isinstance(value, str) and value.startswith("["):
        value = _written_list(value)
    if isinstance(value, list | tuple):
        return [text for item in value for text in strings(item)]
    text = str(value).strip()
    return [text] if text else []
