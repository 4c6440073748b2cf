"""How a report writes numbers, intervals and the words around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from probebench import text as words
from probebench.report.blocks import Link, Number, Range, TableCell
from probebench.text import UNDEFINED, defined

MINUS = "\u2212"


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A number with a true minus sign, or `n/a`."""
    return words.number(value, digits, signed=signed).replace("-", MINUS)


def interval(ends: Sequence[float | None] | None, *, signed: bool = False) -> str:
    """A 95 % interval in brackets, or `n/a`."""
    return words.interval(ends, signed=signed).replace("-", MINUS)


def count(value: int | None) -> str:
    """A number of examples; empty where there is none."""
    return "" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """A share, to a tenth of a percent."""
    return f"{value:.1%}".replace("%", "\u00a0%") if defined(value) else UNDEFINED


def p_value(value: float | None) -> str:
    """A p-value; very small ones by their order of magnitude."""
    if not defined(value):
        return UNDEFINED
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def plain(cell: TableCell) -> str:
    """A cell as text."""
    if isinstance(cell, Number):
        return number(cell.value, cell.digits, signed=cell.signed)
    if isinstance(cell, Range):
        return interval((cell.low, cell.high), signed=cell.signed)
    return cell.text if isinstance(cell, Link) else cell


def between(ends: Sequence[float | None] | None, *, signed: bool = False) -> Range:
    """A cell with an interval of the record."""
    low, high = ends or (None, None)
    return Range(low, high, signed)


def name_words(key: str) -> str:
    """A key of the record as words: `question_tokens` is `Question tokens`."""
    text = " ".join(key.split("_")).strip()
    return text[:1].upper() + text[1:]


def value_words(value: Any) -> str:
    """Any value of the record as text: for provenance and for facts that have no form of their
    own."""
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {value_words(v)}" for k, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(value_words(v) for v in value) or "none"
    return str(value)
