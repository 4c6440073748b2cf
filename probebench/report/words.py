"""How a report writes numbers, intervals and the words around them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from probebench.report.blocks import Cell, Interval, Link, Number

MINUS = "\u2212"
UNDEFINED = "n/a"


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A number with a true minus sign, or `n/a`."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    if not float(text.replace(",", "")):  # no "-0.000"
        text = f"{0:.{digits}f}"
    return text.replace("-", MINUS)


def interval(ends: Sequence[float | None] | None, *, digits: int = 3, signed: bool = False) -> str:
    """A 95 % interval in brackets, or `n/a`."""
    if ends is None or ends[0] is None or ends[1] is None:
        return UNDEFINED
    low, high = (number(end, digits, signed=signed) for end in ends)
    return f"[{low}, {high}]"


def count(value: int | None) -> str:
    """A number of examples; empty where there is none."""
    return "" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """A share, to a tenth of a percent."""
    return UNDEFINED if value is None or not math.isfinite(value) else f"{value:.1%}".replace("%", "\u00a0%")


def p_value(value: float | None) -> str:
    """A p-value; very small ones by their order of magnitude."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def plain(cell: Cell) -> str:
    """A cell as text."""
    if isinstance(cell, Number):
        return number(cell.value, cell.digits, signed=cell.signed)
    if isinstance(cell, Interval):
        return interval((cell.low, cell.high), signed=cell.signed)
    return cell.text if isinstance(cell, Link) else cell


def between(ends: Sequence[float | None] | None, *, signed: bool = False) -> Interval:
    """A cell with an interval of the record."""
    low, high = ends or (None, None)
    return Interval(low, high, signed)


def name_words(key: str) -> str:
    """A key of the record as words: `question_tokens` is `Question tokens`."""
    text = " ".join(key.split("_")).strip()
    return text[:1].upper() + text[1:]


def value_words(value: Any) -> str:
    """Any value of the record as text: for provenance and for facts that have no form of their own."""
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


def readable_text(text: str) -> str:
    """Foreign text without what a page cannot hold: control characters become pictures, direction marks are dropped."""
    kept = []
    for c in text.replace("\r\n", "\n").replace("\r", "\n"):
        if c in "\n\t":
            kept.append(c)
        elif ord(c) < 32:
            kept.append(chr(0x2400 + ord(c)))
        elif unicodedata.category(c) in ("Cc", "Cs") or c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff":
            kept.append("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else "")
        else:
            kept.append(c)
    return "".join(kept)


def slug(text: str) -> str:
    """A name for anchors and labels: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def defined(value: float | None) -> bool:
    """Is there a number?"""
    return value is not None and math.isfinite(value)
