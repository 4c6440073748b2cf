"""Parquet files of strangers as columns: what the footer claims before anything is unpacked, then
flat columns of known types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.leaderboard.submission.strict import WORD, broken, read_bytes

PARQUET_BYTES = 16 * 2**20
PARQUET_UNPACKED = 256 * 2**20
PARQUET_ROWS = 100_000
PARQUET_COLUMNS = 256
PARQUET_GROUPS = 64
FLOATS = ("float", "double")
PLAIN = frozenset(
    ["PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"]
)
"""Encodings in which a value takes its own bytes or one entry of a dictionary; the others can
unfold without bound."""


def read_parquet(
    folder: Path, name: str, kinds: Mapping[str, Sequence[str]], others: re.Pattern[str]
) -> dict[str, NDArray[Any]]:
    """Flat columns of a parquet file as arrays, NaN where a number is null.

    Args:
        folder: where.
        name: file name.
        kinds: columns that must be there, without nulls, and their allowed Arrow types.
        others: names of further columns; they hold real numbers.

    Raises:
        Broken: anything else. Sizes are read from the footer before any column is.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = read_bytes(folder, name, PARQUET_BYTES)
    if len(content) < 12 or content[:4] != b"PAR1" or content[-4:] != b"PAR1":
        raise broken(name, "file", content[:4].hex(), "a parquet file")
    try:
        limits = {"thrift_string_size_limit": 2**20, "thrift_container_size_limit": 10**5}
        file = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False, **limits)
        _check_footer(name, file.metadata)
        _check_columns(name, file.schema_arrow, kinds, others)
        # a long text that stands in every row is one entry of a dictionary in the file, and stays
        # one in memory
        words = [
            field.name
            for field in file.schema_arrow
            if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        ]
        file = pq.ParquetFile(
            pa.BufferReader(content),
            pre_buffer=False,
            read_dictionary=words,
            metadata=file.metadata,
            **limits,
        )
        table = file.read(use_threads=False)
        table.validate(full=True)
        if table.num_rows != file.metadata.num_rows:
            raise broken(
                name, "rows", table.num_rows, f"the {file.metadata.num_rows} that the footer says"
            )
        return {
            c: _column(name, c, table.column(c), real=c not in kinds) for c in table.column_names
        }
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
        MemoryError,
        OverflowError,
        KeyError,
        IndexError,
    ) as error:
        raise broken(name, "parquet", str(error).split("\n")[0], "a whole parquet file") from None


def _check_footer(name: str, facts: Any) -> None:
    """What the footer claims, before anything is unpacked."""
    for field, given, most in (
        ("rows", facts.num_rows, PARQUET_ROWS),
        ("columns", facts.num_columns, PARQUET_COLUMNS),
        ("row groups", facts.num_row_groups, PARQUET_GROUPS),
    ):
        if not 0 < given <= most:
            raise broken(name, field, given, f"1 to {most:,}")
    if facts.metadata:
        raise broken(
            name,
            "metadata",
            sorted(k.decode("ascii", "replace") for k in facts.metadata),
            "no key-value metadata",
        )
    unpacked, rows = 0, 0
    for g in range(facts.num_row_groups):
        group, field = facts.row_group(g), f"row group {g}"
        rows += group.num_rows
        last = g == facts.num_row_groups - 1
        if group.num_rows < 0 or rows > facts.num_rows or (last and rows != facts.num_rows):
            due = f"{facts.num_rows:,} in all, as the footer says"
            raise broken(name, field, f"{rows:,} rows so far", due)
        if group.num_columns != facts.num_columns:
            raise broken(name, field, f"{group.num_columns} columns", f"{facts.num_columns}")
        unpacked = _check_group(name, field, group, unpacked)
    for c in range(facts.num_columns):
        column = facts.schema.column(c)
        if (
            column.max_repetition_level
            or column.max_definition_level > 1
            or column.path != column.name
        ):
            raise broken(name, column.path, "a nested column", "a flat column")


def _check_group(name: str, field: str, group: Any, unpacked: int) -> int:
    """Values and encodings of one row group; the bytes of all groups so far, once unpacked."""
    for c in range(group.num_columns):
        column = group.column(c)
        size = column.total_uncompressed_size
        unpacked += size
        if column.num_values != group.num_rows or not set(column.encodings) <= PLAIN:
            given = f"{column.num_values:,} values, {', '.join(column.encodings)}"
            due = f"{group.num_rows:,} values, plain or by dictionary"
            raise broken(name, f"{field}, {column.path_in_schema}", given, due)
        if size < 0 or unpacked > PARQUET_UNPACKED:
            due = f"at most {PARQUET_UNPACKED:,}"
            raise broken(name, field, f"{unpacked:,} bytes unpacked", due)
    return unpacked


def _check_columns(
    name: str, schema: Any, kinds: Mapping[str, Sequence[str]], others: re.Pattern[str]
) -> None:
    if repeated := {c for c in schema.names if schema.names.count(c) > 1}:
        raise broken(name, min(repeated), "the column more than once", "each column once")
    for column in kinds:
        if column not in schema.names:
            raise broken(name, column, "no such column", "a column of this name")
    for field in schema:
        allowed = kinds.get(field.name) or (FLOATS if others.fullmatch(field.name) else None)
        if allowed is None:
            raise broken(
                name, field.name, "a column", f"only {', '.join(kinds)} and {others.pattern}"
            )
        if str(field.type) not in allowed:
            raise broken(name, field.name, field.type, " or ".join(allowed))


def _check_words(name: str, column: str, values: Any) -> None:
    """The distinct texts of a column, before each row gets its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for part in values.chunks:
        if pa.types.is_dictionary(part.type):
            longest = pc.max(pc.binary_length(part.dictionary)).as_py() or 0
            if longest > WORD:
                raise broken(name, column, f"a text of {longest:,} bytes", f"at most {WORD:,}")


def _column(name: str, column: str, values: Any, *, real: bool) -> NDArray[Any]:
    """One column as an array."""
    if not real:
        if values.null_count:
            raise broken(name, column, f"{values.null_count} nulls", "a value in every row")
        _check_words(name, column, values)
        return np.asarray(values.to_numpy(zero_copy_only=False))
    found = np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
    if (~np.isfinite(found)).sum() > values.null_count:
        raise broken(name, column, "NaN or infinity", "finite numbers, null where there is none")
    return found
