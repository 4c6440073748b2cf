"""Files of strangers read as data: sizes before contents, contents before meaning. Nothing here
runs what it reads.

Every problem is a `Broken` that names file, field, what was given and what is expected.
"""

from __future__ import annotations

import csv
import json
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probebench.text import cut

JSON_BYTES = 2 * 2**20
JSON_DEPTH = 16
JSON_VALUES = 200_000
TEXT = 4_000
"""Characters of one string."""
WORD = 1_000
"""Bytes of one text of a table, in a column or as a reason."""
INTEGER_DIGITS = 15
"""Digits of a whole number: what a float holds exactly."""
CSV_BYTES = 8 * 2**20
CSV_ROWS = 50_000
STRINGS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""One that does not end goes to the end of the text: looked for again from each of its quotes, a
file of two megabytes would take hours."""
NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,20})?(?:[eE][+-]?\d{1,3})?")
HIDDEN = re.compile(
    "[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
"""Controls, marks that turn the direction of writing, and characters without width: a text with
them is not what it looks like."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth a look."""

    file: str
    field: str
    given: str
    expected: str

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: given {self.given}, expected {self.expected}"


class Broken(Exception):
    """A file that cannot be read as what it should be."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(str(finding))


def shown(value: Any, longest: int = 100) -> str:
    """A stranger's value in messages: ASCII, one line, not long, and without the marks that tables
    and code spans end with."""
    try:
        text = (
            ascii(value)
            if isinstance(value, str)
            else ascii(str(value))
            if not isinstance(value, int | float)
            else repr(value)
        )
    except (ValueError, RecursionError, MemoryError):
        text = f"a {type(value).__name__}"
    text = text.replace("`", "'").replace("|", "/").replace("<", "(").replace(">", ")")
    return cut(text, longest)


def broken(file: str, field: str, given: Any, expected: str) -> Broken:
    """A `Broken` with the given value made safe to show."""
    return Broken(Finding(file, shown(field).strip("'\""), shown(given), expected))


def read_bytes(folder: Path, name: str, most: int) -> bytes:
    """A regular file of at most `most` bytes: no link, no device, no pipe.

    Raises:
        Broken: it is not there, or something else.
    """
    path = folder / name
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            raise broken(name, "file", "a link or special file", "a regular file")
        if facts.st_size > most:
            raise broken(name, "size", facts.st_size, f"at most {most:,} bytes")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise broken(name, "file", "nothing", "a file of this name") from None
    except OSError as error:
        raise broken(name, "file", error.strerror, "a readable file") from None
    if len(content) > most:
        raise broken(name, "size", len(content), f"at most {most:,} bytes")
    return content


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object: UTF-8, no NaN or infinity, no repeated key, no deep nesting, no endless number
    or text.

    Raises:
        Broken: anything else.
    """
    text = _text(name, read_bytes(folder, name, JSON_BYTES))
    _check_depth(name, text)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            if key in found:
                raise broken(name, key, "the key more than once", "each key once")
            found[key] = value
        return found

    def constant(word: str) -> Any:
        raise broken(name, "number", word, "a finite number, or null")

    def whole(digits: str) -> int:
        if len(digits.lstrip("-")) > INTEGER_DIGITS:
            raise broken(name, "number", digits[:40], f"at most {INTEGER_DIGITS} digits")
        return int(digits)

    def real(digits: str) -> float:
        if len(digits) > 64 or not np.isfinite(value := float(digits)):
            raise broken(name, "number", digits[:40], "a finite number of at most 64 characters")
        return value

    try:
        value = json.loads(
            text,
            object_pairs_hook=pairs,
            parse_constant=constant,
            parse_int=whole,
            parse_float=real,
        )
    except (ValueError, RecursionError) as error:
        raise broken(name, "JSON", error, "JSON as of RFC 8259") from None
    if not isinstance(value, dict):
        raise broken(name, "JSON", type(value).__name__, "an object")
    _check_values(name, value)
    return value


def _text(name: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise broken(
            name, f"byte {error.start}", content[error.start : error.end].hex(), "UTF-8"
        ) from None
    if "\0" in text:
        raise broken(name, "text", "a NUL character", "text")
    return text


def _check_depth(name: str, text: str) -> None:
    """Before parsing: parsers recurse."""
    depth = 0
    for mark in re.finditer(r"[\[\]{}]", STRINGS.sub("", text)):
        depth += 1 if mark.group() in "[{" else -1
        if depth > JSON_DEPTH:
            raise broken(
                name,
                "JSON",
                f"more than {JSON_DEPTH} levels",
                f"at most {JSON_DEPTH} levels of nesting",
            )


def _check_values(name: str, value: Any) -> None:
    waiting, n = [("", value)], 0
    while waiting:
        path, item = waiting.pop()
        n += 1
        if n > JSON_VALUES:
            raise broken(
                name, "JSON", f"more than {JSON_VALUES:,} values", f"at most {JSON_VALUES:,} values"
            )
        if isinstance(item, str):
            _check_string(name, path, item)
        elif isinstance(item, Mapping):
            for key, inner in item.items():
                _check_string(name, path, key)
                waiting.append((f"{path}.{key}".lstrip("."), inner))
        elif isinstance(item, list):
            waiting.extend((f"{path}[{i}]", inner) for i, inner in enumerate(item))


def _check_string(name: str, path: str, text: str) -> None:
    if len(text) > TEXT:
        raise broken(name, path, f"{len(text):,} characters", f"at most {TEXT:,}")
    if hidden := HIDDEN.search(text):
        raise broken(
            name,
            path,
            hidden.group(),
            "text without half of a surrogate pair and without characters that nobody sees",
        )


def read_csv(
    folder: Path, name: str, columns: Sequence[str], later: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Rows of a CSV file with exactly these columns; `later` ones are empty in an older file that
    does not have them.

    Raises:
        Broken: anything else.
    """
    text = _text(name, read_bytes(folder, name, CSV_BYTES))
    rows: list[dict[str, str]] = []
    try:
        lines = csv.reader(text.splitlines(), strict=True)
        header = next(lines, [])
        if header not in ([*columns], [*columns, *later]):
            raise broken(name, "header", ",".join(header), ",".join([*columns, *later]))
        for line in lines:
            if len(line) != len(header):
                raise broken(
                    name, f"line {lines.line_num}", f"{len(line)} fields", f"{len(header)} fields"
                )
            if len(rows) == CSV_ROWS:
                raise broken(name, "rows", f"more than {CSV_ROWS:,}", f"at most {CSV_ROWS:,}")
            rows.append(dict.fromkeys(later, "") | dict(zip(header, line, strict=True)))
    except csv.Error as error:
        raise broken(name, "CSV", error, "comma-separated values") from None
    return rows


def number(name: str, field: str, text: str) -> float | None:
    """A number of a CSV file; an empty field is None.

    Raises:
        Broken: anything but a finite decimal number.
    """
    if text == "":
        return None
    if not NUMBER.fullmatch(text) or not np.isfinite(value := float(text)):
        raise broken(name, field, text, "a finite decimal number, or nothing")
    return value
