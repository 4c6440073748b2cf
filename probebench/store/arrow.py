"""Rows of Arrow tables, with the numbers that were meant."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows by the names of the columns. A number of half or single precision has the digits that
    tell it from its neighbours: 0.1, not 0.10000000149011612."""
    kinds = {field.name: field.type for field in table.schema if _narrow(field.type)}
    return [
        {
            name: _meant(value, kinds[name]) if name in kinds else value
            for name, value in row.items()
        }
        for row in table.to_pylist()
    ]


def _narrow(kind: pa.DataType) -> bool:
    """Does a column hold numbers of less than double precision?"""
    import pyarrow.types as types

    if types.is_floating(kind):
        return bool(kind.bit_width < 64)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _narrow(kind.value_type)
    return types.is_struct(kind) and any(_narrow(field.type) for field in kind)


def _meant(value: Any, kind: pa.DataType) -> Any:
    """A value of a column that holds such numbers."""
    if isinstance(value, list):
        return [_meant(item, kind.value_type) for item in value]
    if isinstance(value, dict):
        kinds = {field.name: field.type for field in kind}
        return {name: _meant(item, kinds[name]) for name, item in value.items()}
    if value is None or not _narrow(kind):
        return value
    number = float(value)
    if not math.isfinite(number) or number.is_integer():
        return number
    return float(str(np.float16(value) if kind.bit_width == 16 else np.float32(value)))
