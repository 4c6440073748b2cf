"""Local files as records, each with where it stands: text in any Unicode encoding, gzip, JSON as
people nest it, tables.

What has one reading is read, what has two is refused with its line: a row with more or fewer values
than the header has names, a name that stands twice, a quote that is never closed. A number that is
none (NaN, infinity) is a missing value, as null is.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from probebench.errors import BadFileError
from probebench.files import is_pointer, leads_nowhere
from probebench.store.arrow import plain_rows

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""All but parquet also with `.gz` behind."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}
OTHER_DELIMITERS = ";\t|"
"""Of tables whose header is one name under the file's own delimiter."""
WHOLE = re.compile(r"-?\d+\.0")
Record = tuple[str, Mapping[str, Any]]
"""Where it stands (`file, line 3`), and its fields."""


class _TwiceError(ValueError):
    """A name that stands twice in one object."""


def suffix_of(path: Path) -> str:
    """The ending that says how a file is read, `.gz` left out."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def data_files(paths: Sequence[str | Path]) -> list[Path]:
    """The files of a list of files and folders; of a folder every data file directly in it, by
    name.

    Raises:
        BadFileError: a folder without any.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        files = [path]
        if path.is_dir():
            files = sorted(
                p
                for p in path.iterdir()
                if p.is_file() and suffix_of(p) in SUFFIXES and p.name[0] not in "._"
            )
            if not files:
                raise BadFileError(
                    f"The folder {str(path)!r} holds no data files ({', '.join(SUFFIXES)})."
                )
        found |= {file.absolute(): file for file in files}
    return list(found.values())


def records(path: Path) -> Iterator[Record]:
    """Records of a jsonl, json, csv, tsv or parquet file.

    Raises:
        BadFileError: a missing, empty or unreadable file, a Git LFS pointer, or a record that has
            no one reading, with its line.
    """
    if (to := leads_nowhere(path)) is not None:
        raise BadFileError(f"{str(path)!r} is a link to nothing: there is no {to}.")
    if not path.is_file():
        raise BadFileError(
            f"{str(path)!r} is a folder, not a file."
            if path.is_dir()
            else f"There is no file {str(path)!r}."
        )
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise BadFileError(
            f"{path.name}: the ending must be one of {', '.join(SUFFIXES)}; got {path.suffix!r}."
        )
    if path.stat().st_size == 0:
        raise BadFileError(f"{path.name} is empty.")
    if is_pointer(path):
        raise BadFileError(
            f"{path} is a Git LFS pointer, not the file itself. Get the content there with: git "
            "lfs pull"
        )
    if suffix == ".parquet":
        found = _parquet(path)
    else:
        text = _text(path)
        if not text.strip():
            raise BadFileError(f"{path.name} is empty.")
        if suffix in DELIMITERS:
            found = _table(text, path.name, DELIMITERS[suffix])
        else:
            found = _json(text, path.name) if suffix == ".json" else _json_lines(text, path.name)
    for where, row in found:
        if not isinstance(row, dict):
            raise BadFileError(
                f"{where}: a row must be an object with named fields; got {type(row).__name__}."
            )
        yield from _flat(where, {name: _clean(value) for name, value in row.items()})


def _text(path: Path) -> str:
    """The text of a file, whatever Unicode encoding it is in."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise BadFileError(
                f"{path.name}: not readable as gzip, cut off or damaged: {error}"
            ) from None
    encoding = json.detect_encoding(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadFileError(
            f"{path.name}, line {line}: the byte 0x{content[error.start]:02x} is not "
            f"{encoding.upper()}. Save the file as UTF-8."
        ) from None


def _parse(text: str, where: str, name: str) -> Any:
    """JSON, with an error that says where."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [key for key, _ in pairs]
            raise _TwiceError(next(key for key in names if names.count(key) > 1))
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except _TwiceError as error:
        raise BadFileError(
            f"{where}: the name {str(error)!r} stands twice in one object."
        ) from None
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if where == name else ""
        raise BadFileError(
            f"{where}{line}: not valid JSON: {error.msg} at character {error.colno}."
        ) from None
    except RecursionError:
        raise BadFileError(f"{where}: not readable as json: nested too deeply.") from None
    except ValueError as error:  # a number of thousands of digits
        raise BadFileError(f"{where}: not readable as json: {str(error).split(';')[0]}.") from None


def _json_lines(text: str, name: str) -> Iterator[tuple[str, Any]]:
    # a line of text may hold other separators, such as U+2028
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{name}, line {number}", _parse(line, f"{name}, line {number}", name)


def _json(text: str, name: str) -> Iterator[tuple[str, Any]]:
    try:
        content = _parse(text, name, name)
    except BadFileError as error:
        if "Extra data" not in str(error):
            raise
        yield from _json_lines(text, name)  # one object per line, as pandas writes with lines=True
        return
    for i, row in enumerate(_rows_in(content, name), start=1):
        yield f"{name}, row {i}", row


def _rows_in(content: Any, name: str) -> Sequence[Any]:
    """The rows in a JSON document: a list, the one list of objects in it, or columns of one
    length."""
    if isinstance(content, list):
        return content
    if isinstance(content, dict):
        lists = {key: value for key, value in content.items() if isinstance(value, list)}
        if len(lists) == len(content) > 1 and len({len(value) for value in lists.values()}) == 1:
            return [
                dict(zip(lists, values, strict=True))
                for values in zip(*lists.values(), strict=True)
            ]
        tables = [
            value
            for value in lists.values()
            if value and all(isinstance(row, dict) for row in value)
        ]
        if len(tables) == 1:
            return tables[0]
    raise BadFileError(
        f"{name}: a json file must hold a list of rows; got {type(content).__name__}."
    )


def _flat(where: str, row: Mapping[str, Any]) -> Iterator[Record]:
    """Questions of nested records (`paragraphs` of `qas`, as SQuAD has them), one by one; else the
    row itself."""
    for key, what in (("paragraphs", "paragraph"), ("qas", "question")):
        if isinstance(row.get(key), list):
            outer = {name: value for name, value in row.items() if name != key}
            for i, inner in enumerate(row[key], start=1):
                if not isinstance(inner, dict):
                    raise BadFileError(
                        f"{where}, {what} {i}: must be an object with named fields; got "
                        f"{type(inner).__name__}."
                    )
                yield from _flat(f"{where}, {what} {i}", {**outer, **inner})
            return
    yield where, row


def _table(text: str, name: str, delimiter: str) -> Iterator[Record]:
    """Rows of a table by the names in its header."""
    lines = _cells(text, name, delimiter)
    _, header = next(lines)
    other = (
        next((d for d in OTHER_DELIMITERS if d in header[0]), None) if len(header) == 1 else None
    )
    if other is not None:
        lines = _cells(text, name, other)
        _, header = next(lines)
    header = [column.strip() for column in header]
    twice = next((column for column in header if column and header.count(column) > 1), None)
    if twice is not None:
        raise BadFileError(f"{name}, line 1: the column {twice!r} stands twice in the header.")
    rows = []
    for line, cells in lines:
        extra = [cell for cell in cells[len(header) :] if cell.strip()]
        if extra or len(cells) < len(header):
            raise BadFileError(
                f"{name}, line {line}: {_count(cells, 'value')}, {_count(header, 'column')} "
                f"({', '.join(header)}). "
                f"A value that holds the separator {other or delimiter!r} stands in double quotes."
            )
        rows.append((f"{name}, line {line}", dict(zip(header, cells, strict=False))))
    for column in header:
        values = [row[column] for _, row in rows if row[column].strip()]
        # whole numbers, in a column where one was missing
        if values and all(WHOLE.fullmatch(value) for value in values):
            for _, row in rows:
                row[column] = row[column].removesuffix(".0")
    yield from rows


def _cells(text: str, name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The values of each row that holds any, with the line where it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise BadFileError(
            f"{name}, line {line}: {error}. A value with quotes in it stands in double quotes, and "
            "its own quotes are doubled."
        ) from None


def _count(items: Sequence[str], word: str) -> str:
    return f"{len(items)} {word}{'' if len(items) == 1 else 's'}"


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow.parquet as pq

    try:
        rows = plain_rows(pq.read_table(path))
    except (OSError, ValueError) as error:  # what arrow cannot read is a ValueError
        raise BadFileError(
            f"{path.name}: not readable as parquet: {' '.join(str(error).split())}"
        ) from None
    for i, row in enumerate(rows, start=1):
        yield f"{path.name}, row {i}", row


def _clean(value: Any) -> Any:
    """A value without numbers that are none, and with text where a file holds bytes of it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, list | tuple):  # a pair of an Arrow map stays one
        return type(value)(_clean(item) for item in value)
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items()}
    return value
