"""Rows of local files, with the line each one stands on, and how to look into them."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from probebench.errors import BadFileError
from probebench.tasks.local.formats import DELIMITERS, records, suffix_of

HALF = re.compile("[\ud800-\udfff]")
"""Half of a character beyond the first 65,536, which JSON writes in two parts."""
PANDAS = ("nan", "NaN", "<NA>", "NaT")
"""How pandas writes a missing value as text."""
NOTHING = (*PANDAS, "None", "null", "NULL", "N/A", "#N/A", "NA")
"""The same of Python, databases, spreadsheets and R, where no model has written it."""


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of a source."""

    where: str
    """For messages: file and line."""
    fields: Mapping[str, Any]
    split: Literal["train", "test"] | None = None
    """The publisher's own split."""
    file: str = ""
    """Which of several given files it is of."""


def read_rows(path: Path) -> Iterator[FileRow]:
    """Rows of a jsonl, json, csv, tsv or parquet file, each with where it stands (`file, line 3`).

    Raises:
        BadFileError: a missing, empty or unreadable file, or a row that has no one reading, with
            its line.
    """
    table = suffix_of(path) in DELIMITERS
    return (FileRow(where, _readable(where, fields, table)) for where, fields in records(path))


def _readable(where: str, fields: Mapping[str, Any], table: bool) -> Mapping[str, Any]:
    """A row whose texts are whole.

    Raises:
        BadFileError: half of a character that JSON writes in two parts, which no tokenizer takes,
            or a NUL in a table, which stands for a damaged file.
    """
    for name, value in fields.items():
        for text in (str(name), *_texts(value)):
            half = HALF.search(text)
            if half is not None:
                raise BadFileError(
                    f"{where}: {name!r} holds half a character, \\u{ord(half.group()):04x}, in "
                    f"{text[max(half.start() - 20, 0) : half.end() + 20]!a}: the text was cut "
                    "inside it. Take it out."
                )
            if table and "\0" in text:
                raise BadFileError(
                    f"{where}: {name!r} holds a NUL character in {text[:80]!r}, so the file is "
                    "damaged or no text. Save it as UTF-8 again."
                )
    return fields


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for item in value.values() for text in _texts(item))
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in _texts(item))


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


def written(text: Any) -> Any:
    """A list or record that a csv file holds as text: JSON, or as Python and numpy print one; else
    what was given, to the letter."""
    if not isinstance(text, str) or not text.lstrip().startswith(("[", "{", "array(")):
        return text
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    quoted = re.sub(r"(?<=['\"])\s+(?=['\"])", ", ", text)  # numpy leaves out the commas
    plain = re.sub(r"array\((\[.*?\])(?:,\s*dtype=\w+)?\)", r"\1", quoted, flags=re.DOTALL)
    for written in (plain, re.sub(r"(?<=[\[,\s])nan(?=\s*[\],])", "None", plain)):
        # memory: how Python's parser says that brackets are nested too deeply
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return ast.literal_eval(written)
    return text


def text_of(value: Any) -> str:
    """A value as text: a whole number without the `.0` that it has in a column where one is
    missing."""
    if isinstance(value, float | Decimal) and value == value // 1:
        return str(int(value))
    return str(value).strip()


def strings(value: Any) -> list[str]:
    """Non-empty strings in a string, a number, nested lists, a list written as text (csv files), or
    the `text` of records.

    SQuAD's answers are a record `{text: [...], answer_start: [...]}`, or a list of records with one
    text each.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, str) and value[:1] in ("[", "{"):
        found = written(value)
        value = (
            found
            if isinstance(found, list | tuple) or (isinstance(found, Mapping) and "text" in found)
            else value
        )
    if isinstance(value, list | tuple):
        return [text for item in value for text in strings(item)]
    if isinstance(value, Mapping) and "text" in value:
        return strings(value["text"])
    text = text_of(value)
    return [text] if text else []


def value_of(value: Any, name: str, where: str) -> Any:
    """An answer of a row as it is, if it can be one; a time at midnight is its day.

    Raises:
        BadFileError: a record without a `text`, a map, or a word for a missing value.
    """
    check_there(value, name, where, words=NOTHING)
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, tuple) or (isinstance(item, Mapping) and "text" not in item):
            what = (
                "a map" if isinstance(item, tuple) else f"a record of {', '.join(map(str, item))}"
            )
            raise BadFileError(f"{where}: {name!r} must be text or a list of texts; got {what}.")
    if not any(isinstance(item, datetime) for item in items):
        return value
    return [_day(item) if isinstance(item, datetime) else item for item in items]


def _day(value: datetime) -> date:
    """The day of a time that is its first moment: a column of days has such times. Any other time
    as it is."""
    exact = value.time() == time() and not getattr(value, "nanosecond", 0)
    return value.date() if exact else value


def check_there(
    value: Any, name: str, where: str, *, listed: bool = True, words: Collection[str] = PANDAS
) -> None:
    """Complain about a word for a missing value.

    Args:
        value: of a row.
        name: its column.
        where: file and line.
        listed: the column may hold a list, in which such a word is meant.
        words: those that count as such.

    Raises:
        BadFileError: the value is such a word.
    """
    if isinstance(value, str) and value.strip() in words:
        word = value.strip()
        meant = f'Leave it empty; if it is meant, write a list: ["{word}"].'
        raise BadFileError(
            f"{where}: {name!r} is the text {word!r}, which is how a missing value is written. "
            f"{meant if listed else 'Leave the row out, or say what it holds.'}"
        )
